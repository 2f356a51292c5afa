"""What a refusal means: which of Busy, Down and Refused a status line and its body are."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from apps.gateway.errors import UpstreamBusy, UpstreamDown, UpstreamError, UpstreamUnauthorized
from apps.gateway.refusals import refused
from apps.gateway.wire import MOST_MESSAGE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

BUSY = frozenset({408, 409, 429, 503, 529})
REFUSED = frozenset({400, 413, 415, 422})
SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""A 429 that no patience helps: the account behind the credential has no money left."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, *, provider: str) -> UpstreamError:
    """Give the error for an answer that is not 2xx.

    >>> type(error_of(429, {"retry-after": "3"}, b"", provider="openai")).__name__
    'UpstreamBusy'
    >>> error_of(400, {}, b'{"error": {"message": "too long", "param": "messages"}}', provider="openai").param
    'messages'
    """
    said = _said(body)
    message, code = _text(said.get("message")), _text(said.get("code")) or _text(said.get("type"))
    if status in BUSY and code not in SPENT:
        return UpstreamBusy(
            message or f"The upstream `{provider}` is busy.",
            upstream_status=status,
            upstream_code=code,
            retry_after_seconds=_retry_after(headers),
        )
    if status in REFUSED:
        return refused(
            message or f"The upstream `{provider}` refused the request with status {status}.",
            code=code,
            param=_text(said.get("param")),
            status=status,
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        # What it says of our credential (OpenAI quotes a part of it) is for the operator, not for the client.
        return UpstreamUnauthorized(f"The upstream `{provider}` does not accept the credential configured for it.", upstream_status=status)
    return UpstreamDown(
        f"The upstream `{provider}` failed with status {status}" + (f": {message}" if message else "."),
        upstream_status=status,
        upstream_code=code,
    )


def _said(body: bytes) -> dict[str, Any]:
    try:
        parsed = orjson.loads(body)
    except orjson.JSONDecodeError:
        return {}
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else None
    if isinstance(error, str):
        return {"message": error}
    return error if isinstance(error, dict) else {}


def _text(value: object) -> str | None:
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    return value[:MOST_MESSAGE_CHARACTERS] if isinstance(value, str) and value else None


def _retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait; a date is no use to a call that will not wait as long as a clock's error."""
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        try:
            seconds = float(headers.get(name, "")) * unit
        except ValueError:
            continue
        if 0 <= seconds < float("inf"):
            return seconds
    return None
