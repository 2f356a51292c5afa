"""The request as it goes out: the client's own bytes where nothing has to change."""

from __future__ import annotations

from typing import TYPE_CHECKING

import orjson

if TYPE_CHECKING:
    from apps.gateway.session import Endpoint
    from apps.gateway.upstreams import Attempt

OURS = frozenset(
    {
        "host",
        "content-type",
        "content-length",
        "accept",
        "accept-encoding",
        "user-agent",
        "x-request-id",
        # How the message is framed and the connection kept is no provider's to say.
        "transfer-encoding",
        "connection",
        "upgrade",
        "expect",
        "te",
        "trailer",
    }
)


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


def head_of(attempt: Attempt, to: Endpoint, *, length: int) -> bytes:
    """Give the request's first line and headers; raises ValueError for a header with a line break in it.

    The provider's own headers may add, but never replace, what the exchange rests on.
    """
    target = attempt.target
    lines = [
        f"POST {to.target} HTTP/1.1",
        f"Host: {to.authority}",
        "Content-Type: application/json",
        f"Content-Length: {length}",
        "Accept: text/event-stream" if attempt.stream else "Accept: application/json",
        # A compressed stream arrives when its window is full, not when its event is.
        "Accept-Encoding: identity",
        "User-Agent: menhir",
        f"X-Request-Id: {attempt.request_id}",
    ]
    if target.credential:
        lines.append(f"Authorization: Bearer {target.credential}")
    if target.headers:
        taken = OURS | {"authorization"} if target.credential else OURS
        lines += [f"{name}: {value}" for name, value in target.headers.items() if name.strip().lower() not in taken]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
        raise ValueError("A header has a line break in it.")
    return f"{head}\r\n\r\n".encode()
