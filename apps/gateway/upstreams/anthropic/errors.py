"""What a refusal of Anthropic's means: Busy, Down, Refused or Unauthorized."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from apps.gateway.errors import UpstreamUnfit, UpstreamUnusable
from apps.gateway.upstreams.openai.errors import error_of as error_in_openais_shape
from apps.gateway.wire import error_said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from apps.gateway.errors import UpstreamError

UNPAID = ("credit balance is too low", "spend limit", "usage limits")


class Refusal(msgspec.Struct, frozen=True):
    """The error in an answer's body."""

    type: str = ""
    message: str = ""


class Body(msgspec.Struct):
    """The body of an answer that is not 2xx."""

    error: Refusal = Refusal()


def error_of(status: int, headers: Mapping[str, str], body: bytes, *, provider: str) -> UpstreamError:
    """Give the error for an answer that is not 2xx.

    >>> error_of(529, {}, b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}', provider="a").code
    'upstream_busy'
    """
    try:
        said = msgspec.json.decode(body, type=Body).error
    except (msgspec.DecodeError, UnicodeDecodeError):
        said = Refusal()
    if _is_unpaid(said):
        # Our account's trouble, not the client's: another target may have money left, the same one has not.
        return UpstreamUnusable(
            f"The account at the upstream `{provider}` is spent.", upstream_status=status, upstream_code="billing_error"
        )
    return _named(error_in_openais_shape(status, headers, body, provider=provider))


def error_in(error: Any) -> UpstreamError:
    """Give the error that stands where a message, or an event of one, should be."""
    return _named(error_said(error))


def _named(error: UpstreamError) -> UpstreamError:
    if isinstance(error, UpstreamUnfit):
        error.upstream_code = error.code  # Anthropic calls all of them `invalid_request_error`; clients know OpenAI's word
    return error


def _is_unpaid(said: Refusal) -> bool:
    return said.type == "billing_error" or any(words in said.message.lower() for words in UNPAID)
