"""The way back to the client: bytes as they come, read along for what the ledger must know.

Events pass through untouched. Three are never passed on at once: `[DONE]` and an error end the stream, and the end is
sent only after settlement; the usage chunk stays here when the client did not ask for it.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from math import inf
from typing import TYPE_CHECKING, Any, Literal

import orjson

from apps.gateway.errors import GatewayError, GuardrailError, IdleTimeout, TotalTimeout, UpstreamCut, UpstreamDown, UpstreamError
from apps.gateway.hangup import UNREAD_SECONDS, HungUp
from apps.gateway.settle import milliseconds_since
from apps.gateway.sse import data_of
from apps.gateway.wire import DONE, DONE_EVENT, characters_of, error_event, error_said, loaded, preface_event, read_chunk, usage_of

if TYPE_CHECKING:
    from decimal import Decimal

    from apps.gateway.call import Call, Respond
    from apps.gateway.dispatch import Answer
    from apps.gateway.hangup import Watch
    from apps.gateway.settle import Tally
    from apps.gateway.wire import Choice

Headers = list[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Ending:
    """How a stream ended: the bytes that say so, held back until the call is settled."""

    last: bytes
    outcome: Literal["completed", "failed"]
    error_code: str | None = None
    broke: bool = False
    """The upstream's doing, and held against it."""


async def stream(call: Call, answer: Answer, respond: Respond, tally: Tally, watch: Watch) -> Ending:
    """Promise 200 and pass on everything but the end.

    Raises HungUp when the client left or does not read on, GuardrailError while nothing is promised.
    """
    shield = call.guard.stream(respond) if call.guard is not None else None
    if shield is None:
        return await _pass_on(call, answer, respond, tally, watch, unread=UNREAD_SECONDS)
    try:
        # What is sent through the shield takes its rules' time, too, so no more than the whole call's is set to that.
        ending = await _pass_on(call, answer, shield, tally, watch, unread=inf)
        await shield.end()
    except GuardrailError as e:
        if not shield.started:
            raise
        await answer.close()  # nobody will read on: the upstream is told at once
        return Ending(error_event(e), "failed", e.reason)
    except OSError as e:
        raise HungUp from e
    return ending


async def _pass_on(call: Call, answer: Answer, respond: Respond, tally: Tally, watch: Watch, *, unread: float) -> Ending:
    reader = Reader(call, tally)
    out = reader.take(answer.pending)
    if call.preface is not None and answer.first is not None:
        out = preface_event(answer.first, call.preface) + out
    patience = answer.target.idle_timeout_seconds
    sending = True
    try:
        watch.allow(unread)
        await respond.start(200, stream_headers(call, tally))
        while True:
            if out:
                await respond.send(out, True)
            if reader.ending is not None:
                return reader.ending
            sending = False
            watch.allow(patience)
            began = time.perf_counter()
            try:
                data = await anext(answer.chunks, None)
            finally:
                tally.waited += time.perf_counter() - began
            if data is None:
                return reader.closed(answer.splitter.rest)
            sending = True
            watch.allow(unread)
            out = reader.take(answer.splitter.feed(data))
    except UpstreamError as e:
        return failed(e)
    except OSError as e:
        raise HungUp from e
    except asyncio.CancelledError:
        if not watch.expired():
            raise
        return _too_late(answer, watch, reads=not sending or unread == inf)
    finally:
        watch.deadline = 0.0


def _too_late(answer: Answer, watch: Watch, *, reads: bool) -> Ending:
    if not reads:
        raise HungUp from None  # there is nobody to tell
    if watch.left() <= 0:
        return failed(TotalTimeout())
    target = answer.target
    return failed(IdleTimeout(f"The upstream `{target.provider}` fell silent for {target.idle_timeout_seconds:g} seconds."))


class Reader:
    """Reads a stream along: usage, how much was generated, and how it ends."""

    __slots__ = ("_begun", "_call", "_finished", "_latest", "_tally", "ending")

    def __init__(self, call: Call, tally: Tally) -> None:
        self._call = call
        self._tally = tally
        self._latest: Any = None
        self._begun: set[int] = set()
        self._finished: dict[int, Any] = {}
        tally.finished = self._finished
        self.ending: Ending | None = None

    def take(self, events: list[bytes]) -> bytes:
        """Give what of these events goes to the client now; `ending` is set when one of them was the last."""
        passed: list[bytes] = []
        for event in events:
            said = data_of(event)
            if said is None:
                passed.append(event)
            elif said == DONE:
                self.ending = Ending(event, "completed")
                break
            elif self._passes(event, said):
                passed.append(event)
            if self.ending is not None:
                break
        return passed[0] if len(passed) == 1 else b"".join(passed)

    def closed(self, rest: bytes) -> Ending:
        """Judge a connection that closed without `[DONE]`: complete only when every choice had said that it was finished."""
        if (self._finished and self._finished.keys() >= self._begun) or data_of(rest) == DONE:
            return Ending(DONE_EVENT, "completed")
        return failed(UpstreamCut())

    def _passes(self, event: bytes, said: bytes) -> bool:
        try:
            chunk = read_chunk(said)
        except ValueError:
            self.ending = failed(UpstreamCut("The upstream sent something that is not JSON."))
            return False
        if chunk.error:
            error = error_said(chunk.error)
            self.ending = Ending(event, "failed", error.code, broke=isinstance(error, UpstreamDown))
            return False
        tally = self._tally
        for choice in chunk.choices or ():
            if choice.index != self._latest:
                self._latest = choice.index
                self._begun.add(_index_of(choice))
            if choice.finish_reason:
                self._finished[_index_of(choice)] = choice.finish_reason
        if generated := characters_of(chunk):
            tally.characters += generated
            if tally.first_token_ms is None:
                tally.first_token_ms = milliseconds_since(self._call.received)
        if chunk.usage is None:
            return True
        tally.usage = usage_of(chunk.usage) or tally.usage
        return self._call.wants_usage or bool(chunk.choices)


def _index_of(choice: Choice) -> int:
    return choice.index if type(choice.index) is int else 0


def failed(error: GatewayError) -> Ending:
    """The end of a stream that broke: an error event, and no `[DONE]`."""
    return Ending(error_event(error), "failed", error.code, broke=isinstance(error, UpstreamDown))


async def whole(call: Call, body: bytes, respond: Respond, tally: Tally, *, cost: Decimal, cached: bool = False) -> None:
    """Send an answer that is complete and settled."""
    if call.preface is not None:
        body = orjson.dumps({**loaded(body), "menhir": call.preface})
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
        *_ours(call, tally),
        (b"x-menhir-cost", format(cost, "f").encode()),
    ]
    if cached:
        headers.append((b"x-menhir-cache", b"hit"))
    await respond.start(200, headers)
    await respond.send(body, False)


def stream_headers(call: Call, tally: Tally) -> Headers:
    """The headers of a stream: nothing on the way may buffer or keep it."""
    return [
        (b"content-type", b"text/event-stream; charset=utf-8"),
        (b"cache-control", b"no-cache"),
        (b"x-accel-buffering", b"no"),
        *_ours(call, tally),
    ]


def _ours(call: Call, tally: Tally) -> Headers:
    elapsed = time.perf_counter() - call.received
    headers = [
        (b"x-menhir-route", (call.route.name if call.route is not None else call.model).encode("latin-1", "replace")),
        (b"x-menhir-upstream", (tally.target.provider if tally.target is not None else "").encode("latin-1", "replace")),
        (b"x-menhir-attempts", str(tally.attempts).encode()),
        (b"openai-processing-ms", str(int(elapsed * 1000)).encode()),
        (b"x-menhir-overhead-ms", f"{max(0.0, elapsed - tally.waited) * 1000:.2f}".encode()),
    ]
    if call.prompt_version is not None:
        headers.append((b"x-menhir-prompt-version", call.prompt_version.encode("latin-1", "replace")))
    if call.headers is not None:
        headers += call.headers
    return headers
