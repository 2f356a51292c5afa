"""What a refusal of Gemini's means: Busy, Down, Refused or Unauthorized."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from apps.gateway.errors import UpstreamUnauthorized, UpstreamUnfit, UpstreamUnusable
from apps.gateway.upstreams.openai.errors import error_of as error_in_openais_shape

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.gateway.errors import UpstreamError

KEYS = frozenset({"API_KEY_INVALID", "API_KEY_EXPIRED", "API_KEY_SERVICE_BLOCKED", "API_KEY_IP_ADDRESS_BLOCKED", "ACCESS_TOKEN_EXPIRED"})
"""What is wrong with a credential, and told with the status 400."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, *, provider: str) -> UpstreamError:
    """Give the error for an answer that is not 2xx.

    >>> error_of(503, {}, b'[{"error": {"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"}}]', provider="g").code
    'upstream_busy'
    """
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        said = None
    if isinstance(said, list) and said:  # so a stream is refused that did not ask for events
        said = said[0]
    return _error(said.get("error") if isinstance(said, dict) else None, status, headers, provider=provider)


def error_in(error: Any, *, provider: str) -> UpstreamError:
    """Give the error that stands where an answer should be."""
    code = error.get("code") if isinstance(error, dict) else None
    return _error(error, code if isinstance(code, int) else HTTPStatus.INTERNAL_SERVER_ERROR, {}, provider=provider)


def _error(error: Any, status: int, headers: Mapping[str, str], *, provider: str) -> UpstreamError:
    said: dict[str, Any] = error if isinstance(error, dict) else {}
    word, message = said.get("status"), said.get("message")
    listed = said.get("details")
    details = [detail for detail in listed if isinstance(detail, dict)] if isinstance(listed, list) else []
    if any(detail.get("reason") in KEYS for detail in details):
        return UpstreamUnauthorized(f"The upstream `{provider}` does not accept the credential configured for it.", upstream_status=status)
    if word == "FAILED_PRECONDITION":
        # The account's trouble (no billing, a country that is not served), not the client's.
        return UpstreamUnusable(
            f"The upstream `{provider}` does not serve this account: {message}", upstream_status=status, upstream_code=word
        )
    if (patience := _patience(details)) is not None:
        headers = {"retry-after": patience, **headers}
    known = error_in_openais_shape(status, headers, orjson.dumps({"error": {"message": message, "code": word}}), provider=provider)
    if isinstance(known, UpstreamUnfit):
        known.upstream_code = known.code  # Gemini calls all of them `INVALID_ARGUMENT`; clients know OpenAI's word
    return known


def _patience(details: list[dict[str, Any]]) -> str | None:
    """Give the seconds that a `RetryInfo` asks to wait, such as `34.07` of `34.07s`."""
    delays = (detail["retryDelay"] for detail in details if isinstance(detail.get("retryDelay"), str))
    return next((delay.removesuffix("s") for delay in delays), None)
