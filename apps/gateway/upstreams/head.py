"""The first line and the headers of a request to a provider."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateway.session import Unaddressable

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
        "traceparent",
        # How the message is framed and the connection kept is no provider's to say.
        "transfer-encoding",
        "connection",
        "upgrade",
        "expect",
        "te",
        "trailer",
    }
)


def head_of(attempt: Attempt, to: Endpoint, *, length: int, credential: tuple[str, str], more: tuple[str, ...] = ()) -> bytes:
    """Give the request's head; raises Unaddressable for a header with a line break in it.

    `credential` is the name of the header that carries it, and what stands before it there; `more` are headers
    of the wire. The provider's own headers may add, but never replace, what the exchange rests on.
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
        *more,
    ]
    if attempt.trace is not None:
        lines.append(f"Traceparent: {attempt.trace.header}")
    if target.credential:
        lines.append(f"{credential[0]}: {credential[1]}{target.credential}")
    if target.headers:
        taken = OURS | {credential[0].lower()} if target.credential else OURS
        lines += [f"{name}: {value}" for name, value in target.headers.items() if name.strip().lower() not in taken]
    head = "\r\n".join(lines)
    if head.count("\n") != len(lines) - 1 or head.count("\r") != len(lines) - 1 or "\0" in head:
        raise Unaddressable("A header has a line break in it.")
    return f"{head}\r\n\r\n".encode()
