"""The response object: how it begins, and the four ways in which it ends."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from apps.gateway.wire import usage_of

INCOMPLETE: Final = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""What a chat calls its end, when that is too early, and what a response calls it."""


def begun(response_id: str, *, at: datetime, asked: Mapping[str, Any]) -> dict[str, Any]:
    """Give a response that has begun, with nothing in it yet; `asked` is what it repeats of the request."""
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(at.timestamp()),
        "status": "in_progress",
        "completed_at": None,
        "error": None,
        "incomplete_details": None,
        "model": "",
        "output": [],
        "usage": None,
        **asked,
    }


def ended(response: Mapping[str, Any], *, finish_reason: str | None, usage: object, at: datetime) -> dict[str, Any]:
    """Give the response as it ended: completed, or incomplete and why.

    >>> from datetime import UTC
    >>> ended({}, finish_reason="length", usage=None, at=datetime(2026, 1, 1, tzinfo=UTC))["incomplete_details"]
    {'reason': 'max_output_tokens'}
    """
    reason = INCOMPLETE.get(finish_reason or "")
    how: dict[str, Any] = {"status": "completed", "completed_at": int(at.timestamp())}
    if reason is not None:
        how = {"status": "incomplete", "incomplete_details": {"reason": reason}}
    return {**response, **how, "usage": usage_shown(usage)}


def failed(response: Mapping[str, Any], error: Mapping[str, Any]) -> dict[str, Any]:
    """Give the response that broke off; `error` is what the chat wire says of it."""
    code = "rate_limit_exceeded" if error.get("type") == "rate_limit_error" else "server_error"
    said = {"code": code, "message": str(error.get("message") or ""), "param": error.get("param"), "type": error.get("type")}
    return {**response, "status": "failed", "completed_at": None, "incomplete_details": None, "error": said}


def usage_shown(said: object) -> dict[str, Any] | None:
    """Write a chat's usage in the words of a response; None when there is none, or none that can be believed.

    >>> usage_shown({"prompt_tokens": 7, "completion_tokens": 2})["total_tokens"]
    9
    """
    usage = usage_of(said)
    if usage is None:
        return None
    return {
        "input_tokens": usage.input_tokens,
        "input_tokens_details": {"cached_tokens": usage.cached_input_tokens, "cache_write_tokens": usage.cache_write_tokens},
        "output_tokens": usage.output_tokens,
        "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens},
        "total_tokens": usage.input_tokens + usage.output_tokens,
    }
