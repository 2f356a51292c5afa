r"""What speaks to a model: one port, and a folder of adapters, one per kind of provider.

An adapter is a package `upstreams/<kind>/` whose `__init__` offers one instance called `adapter`:

    adapter: Upstream = Embedder()

It gets an `Attempt` and answers in OpenAI's wire, whatever the other side speaks: JSON bytes, or the bytes of an event
stream when `attempt.stream`. What it may rely on and what it must keep:

- `open()` returns only once the other side has accepted the request (its status line is there and is no error);
  everything else is raised from `apps.gateway.errors`: `UpstreamBusy` (503, 529, and as `UpstreamLimited` 429: another try helps),
  `UpstreamDown` (no connection, 5xx, an answer that is no answer), `UpstreamUnauthorized` (401, 403),
  `UpstreamRefused` (any other 4xx: the same request will fail again), `UpstreamUnfit` (this one cannot do it, another may).
- What a client wrote wrongly is refused before anybody is connected to: it says nothing of the other side.
- `chunks()` raises `UpstreamCut` when the other side breaks off. It need not cut at event boundaries.
- A chat stream ends in `data: [DONE]\n\n`, and the chunk before it carries `usage` (with `choices: []`): usage is
  always asked for; the relay keeps that chunk from a client who did not ask.
- Leaving the context before the end, or cancelling, stops the work on the other side.
- Time-outs are the caller's: it cancels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import msgspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from contextlib import AbstractAsyncContextManager

    from apps.gateway.call import Operation, ResolvedTarget
    from apps.gateway.session import Session
    from menhir.telemetry.tracing import Trace


class Attempt(msgspec.Struct, frozen=True):
    """One request to one target."""

    operation: Operation
    path: str
    """`/chat/completions`, `/embeddings`, …: below the target's `base_url`."""
    body: Mapping[str, Any]
    """The client's parsed request. Its `model` is the client's word: send `target.upstream_model`. Never change it in place."""
    raw: bytes | None
    """The same as bytes, when nobody changed them."""
    stream: bool
    target: ResolvedTarget
    request_id: str
    session: Session
    trace: Trace | None = None
    """Where the call stands in a trace: sent on as `traceparent`."""
    max_output_tokens: int | None = None
    """What the route allows an answer to take when the client sets no limit."""


class UpstreamResponse(Protocol):
    """An answer that has begun."""

    status: int

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, by their names in lower case."""

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as it arrives, without holding anything back."""


class Upstream(Protocol):
    """Whoever can turn an attempt into an answer."""

    def open(self, attempt: Attempt) -> AbstractAsyncContextManager[UpstreamResponse]:
        """Send the request; the answer is read inside the context, and given up by leaving it."""
