"""The body as it goes out: the client's own bytes where nothing has to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from apps.gateway.upstreams import Attempt

STREAMED = frozenset({"chat", "completions"})
"""Operations whose streams tell their usage when they are asked to."""


def body_of(attempt: Attempt) -> bytes:
    """Give the body to send: with the model's name there, and asking for usage where the answer is streamed."""
    body = attempt.body
    renamed = body.get("model") != attempt.target.upstream_model
    asks = attempt.stream and attempt.operation in STREAMED
    options = body.get("stream_options") if asks else None
    silent = asks and not (isinstance(options, dict) and options.get("include_usage") is True)
    if attempt.raw is not None and not renamed and not silent:
        return attempt.raw
    changed = {**body, "model": attempt.target.upstream_model}
    if silent:
        changed["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    return orjson.dumps(changed)
