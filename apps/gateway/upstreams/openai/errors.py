"""What a refusal means: which of Busy, Down and Refused a status line and its body are."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import orjson

from apps.gateway.errors import UpstreamBusy, UpstreamDown, UpstreamError, UpstreamLimited, UpstreamUnauthorized, UpstreamUnusable
from apps.gateway.refusals import refused
from apps.gateway.wire import MOST_MESSAGE_CHARACTERS

if TYPE_CHECKING:
    from collections.abc import Mapping

BUSY = frozenset({408, 409, 429, 503, 529})
REFUSED = frozenset({400, 413, 415, 422})
LASTING = frozenset({402, 404})
"""What is so until somebody pays, or writes another model or address into the target."""
WHY = ("message", "detail", "msg")
DEEPEST_REASON = 6
SPENT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""A 429 that no patience helps: the account behind the credential has no money left."""


def error_of(status: int, headers: Mapping[str, str], body: bytes, *, provider: str) -> UpstreamError:
    """Give the error for an answer that is not 2xx.

    >>> type(error_of(429, {"retry-after": "3"}, b"", provider="openai")).__name__
    'UpstreamLimited'
    >>> error_of(400, {}, b'{"error": {"message": "too long", "param": "messages"}}', provider="openai").param
    'messages'
    """
    said = _said(body)
    message, code = _reason(said), _text(said.get("code")) or _text(said.get("type"))
    if status in BUSY and code not in SPENT:
        busy = UpstreamLimited if status == HTTPStatus.TOO_MANY_REQUESTS else UpstreamBusy
        return busy(
            message or f"The upstream `{provider}` is busy.",
            upstream_status=status,
            upstream_code=code,
            retry_after_seconds=_retry_after(headers),
        )
    if status in REFUSED:
        return refused(
            message or f"The upstream `{provider}` refused the request with status {status}.",
            code=code,
            param=_text(said.get("param")) or _place(said),
            status=status,
        )
    if status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        # What it says of our credential (OpenAI quotes a part of it) is for the operator, not for the client.
        return UpstreamUnauthorized(f"The upstream `{provider}` does not accept the credential configured for it.", upstream_status=status)
    kind = UpstreamUnusable if status in LASTING or code in SPENT else UpstreamDown
    return kind(
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


def _reason(said: Any, *, depth: int = DEEPEST_REASON) -> str | None:
    """Give why, wherever it stands: OpenAI's `message`, or what FastAPI's servers (vLLM, Mistral, TGI) say in `detail`, which may hold it.

    >>> _reason({"detail": "No such thing"}), _reason({"message": {"detail": [{"loc": ["body", "top_p"], "msg": "A number, please"}]}})
    ('No such thing', 'top_p: A number, please')
    """
    if not depth:
        return None
    if isinstance(said, dict):
        known = (said[name] for name in WHY if said.get(name))
        where = _place({"detail": [said]}) if "msg" in said else None
        reason = next((reason for value in known if (reason := _reason(value, depth=depth - 1))), None)
        return f"{where}: {reason}" if where and reason else reason
    if isinstance(said, list):
        return _text("; ".join(reason for value in said if (reason := _reason(value, depth=depth - 1))))
    return _text(said)


def _place(said: Any) -> str | None:
    """Give the member that FastAPI says is wrong, as OpenAI would name it: `messages.0.content`."""
    while isinstance(said, dict) and "loc" not in said:
        said = said.get("detail") or said.get("message")
        said = said[0] if isinstance(said, list) and said else said
    located = said.get("loc") if isinstance(said, dict) else None
    names = [str(name) for name in located if name != "body"] if isinstance(located, list) else []
    return _text(".".join(names))


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
