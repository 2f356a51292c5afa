"""The request as it goes out: the client's own bytes where nothing has to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from apps.gateway.upstreams import Attempt


def body_of(attempt: Attempt) -> bytes:
    """Give the body to send: with the model's name there, and asking for usage where the answer is streamed."""
    body = attempt.body
    renamed = body.get("model") != attempt.target.upstream_model
    asks = attempt.stream and attempt.operation == "chat"
    options = body.get("stream_options") if asks else None
    silent = asks and not (isinstance(options, dict) and options.get("include_usage") is True)
    if attempt.raw is not None and not renamed and not silent:
        return attempt.raw
    changed = {**body, "model": attempt.target.upstream_model}
    if silent:
        changed["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return orjson.dumps(changed)


def headers_of(attempt: Attempt) -> dict[str, str]:
    """Give the headers: the provider's own ones may add, but never replace, what the exchange rests on."""
    target = attempt.target
    headers = {
        **target.headers,
        "Content-Type": "application/json",
        "Accept": "text/event-stream" if attempt.stream else "application/json",
        # A compressed stream arrives when its window is full, not when its event is.
        "Accept-Encoding": "identity",
        "User-Agent": "menhir",
        "X-Request-Id": attempt.request_id,
    }
    if target.credential:
        headers["Authorization"] = f"Bearer {target.credential}"
    return headers
