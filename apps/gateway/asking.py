"""Ask one target once: what it begins to answer, or why it does not.

A whole answer counts once it is read and is JSON; a stream once there is something in it that somebody would read. What
comes before that (who speaks, empty words, keep-alives) is held back, so that an upstream which fails there can still be
replaced by another: nothing has been promised to the client yet.
"""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import msgspec

from apps.gateway import filtering, runtime
from apps.gateway.call import PATHS
from apps.gateway.errors import (
    AnswerTimeout,
    FirstByteTimeout,
    TotalTimeout,
    UpstreamBusy,
    UpstreamCut,
    UpstreamDown,
    UpstreamError,
)
from apps.gateway.fitting import fitted
from apps.gateway.registry import UPSTREAMS
from apps.gateway.retrying import LONGEST_PAUSE_SECONDS
from apps.gateway.sse import EventSplitter, data_of
from apps.gateway.upstreams import Attempt
from apps.gateway.vectors import in_base64
from apps.gateway.wire import DONE, billed_of, characters_of, error_said, loaded, read_chunk, read_envelope, usage_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from apps.gateway.breaker import Breaker
    from apps.gateway.call import Call, ResolvedTarget
    from apps.gateway.hangup import Watch
    from apps.gateway.settle import Tally
    from apps.gateway.upstreams import UpstreamResponse
    from apps.gateway.wire import Chunk

MAX_ANSWER_BYTES = 64 * 1024 * 1024
MOST_HELD_EVENTS = 64
"""An upstream that says nothing so often is passed on as it is."""
TOO_MANY_REQUESTS = 429


class Answer(msgspec.Struct):
    """An upstream that has begun: the whole body, or the first events of a stream and where the rest comes from."""

    target: ResolvedTarget
    context: AbstractAsyncContextManager[UpstreamResponse] | None
    chunks: AsyncIterator[bytes]
    body: bytes = b""
    pending: list[bytes] = []
    first: Chunk | None = None
    splitter: EventSplitter = msgspec.field(default_factory=EventSplitter)

    async def close(self) -> None:
        """Give the connection back; an upstream that is still talking is hung up on. Twice does nothing."""
        context, self.context = self.context, None
        if context is None:
            return
        try:
            # An async generator left in the middle would be finished by the garbage collector, some other time.
            aclose = getattr(self.chunks, "aclose", None)
            if aclose is not None:
                await aclose()
        finally:
            await context.__aexit__(None, None, None)


async def ask(call: Call, target: ResolvedTarget, tally: Tally, watch: Watch) -> Answer:
    """Give the answer that has begun; raises UpstreamError. What is learnt of the target is remembered in its breaker."""
    tally.attempts += 1
    tally.target = target
    tally.taken = True
    breaker = target.health.breaker
    claim = 0 if breaker.calm else breaker.claim()
    watch.allow(_patience(call, target))
    began = tally.asked = time.perf_counter()
    answer: Answer | None = None
    try:
        context = UPSTREAMS[target.kind].open(_attempt(call, target))
        response = await context.__aenter__()
        answer = Answer(target, context, response.chunks())
        if call.stream:
            await _begin(answer, tally, watch)
        else:
            await _read(answer, call, tally)
    except BaseException as e:  # noqa: BLE001 - raised again below, or what it means
        if answer is not None:
            await answer.close()
        elif isinstance(e, UpstreamError):
            tally.taken = False
        raise _learnt(call, target, watch, e, claim=claim, began=began) from e.__cause__
    finally:
        watch.deadline = 0.0
        tally.waited += time.perf_counter() - began
    if not breaker.calm:
        breaker.succeeded()
    if call.trace is not None and call.trace.sampled:
        tally.said = answer.first if call.stream else read_chunk(answer.body)
    return answer


def _learnt(call: Call, target: ResolvedTarget, watch: Watch, error: BaseException, *, claim: int, began: float) -> BaseException:
    """Remember what a failure says of the target; give what to raise, which for a time that ran out is another error."""
    breaker = target.health.breaker
    if isinstance(error, UpstreamError):
        _remember(breaker, error, claim)
    elif isinstance(error, asyncio.CancelledError) and watch.expired():
        if watch.left() <= 0 and not _had_time(call, target, time.perf_counter() - began):
            breaker.released(claim)
        else:
            breaker.failed(time.monotonic(), claim)
        return _too_late(call, target, watch)
    else:
        breaker.released(claim)
    return error


def _patience(call: Call, target: ResolvedTarget) -> float:
    return target.first_byte_timeout_seconds if call.stream else target.answer_timeout_seconds


def _had_time(call: Call, target: ResolvedTarget, seconds: float) -> bool:
    """Whether a target had its own time, or half of what its route allows for everything: else others had used it up."""
    total = call.route.total_timeout_seconds if call.route is not None else None
    return seconds >= _patience(call, target) or (total is not None and seconds >= total / 2)


def _too_late(call: Call, target: ResolvedTarget, watch: Watch) -> UpstreamError:
    if watch.left() <= 0:
        return TotalTimeout()
    if call.stream:
        return FirstByteTimeout(
            f"The upstream `{target.provider}` did not begin to answer within {target.first_byte_timeout_seconds:g} seconds."
        )
    return AnswerTimeout(f"The upstream `{target.provider}` did not answer within {target.answer_timeout_seconds:g} seconds.")


def _remember(breaker: Breaker, error: UpstreamError, claim: int) -> None:
    if isinstance(error, UpstreamDown):
        breaker.failed(time.monotonic(), claim)
    elif isinstance(error, UpstreamBusy):
        patience = error.retry_after_seconds
        if patience is not None and patience > LONGEST_PAUSE_SECONDS:
            breaker.rest(time.monotonic(), patience, claim)
        elif error.upstream_status == TOO_MANY_REQUESTS:
            breaker.released(claim)  # it is well, only asked too often
        else:
            breaker.failed(time.monotonic(), claim)
    elif error.upstream_status is None:
        breaker.released(claim)  # nobody was asked
    elif not breaker.calm:
        breaker.succeeded()  # whoever refuses a request is there to do so


def _attempt(call: Call, target: ResolvedTarget) -> Attempt:
    body = fitted(call, target)
    return Attempt(
        operation=call.operation,
        path=PATHS[call.operation],
        body=body,
        raw=call.raw if body is call.body else None,
        stream=call.stream,
        target=target,
        request_id=call.request_id,
        trace=call.trace,
        session=runtime.session(),
        max_output_tokens=call.route.max_output_tokens if call.route is not None else None,
    )


async def _begin(answer: Answer, tally: Tally, watch: Watch) -> None:
    """Wait for the first content. Whatever comes before is a sign of life, for as long as a whole answer may take at most."""
    target = answer.target
    held: list[bytes] = []
    latest = 0.0
    async for data in answer.chunks:
        events = answer.splitter.feed(data)
        for number, event in enumerate(events):
            said = data_of(event)
            if said is None:
                continue
            chunk = _chunk(said, answer, tally)
            if answer.first is None:
                answer.first = chunk
            if tally.elsewhere and filtering.is_withheld(chunk, tally):
                pass
            elif is_content(chunk, said) or len(held) >= MOST_HELD_EVENTS:
                answer.pending = held + events[number:] if held else events[number:]
                return
            held.append(event)
        watch.allow(target.first_byte_timeout_seconds)
        latest = latest or asyncio.get_running_loop().time() + target.answer_timeout_seconds
        watch.deadline = min(watch.deadline, latest)
    if tally.filtered:
        raise filtering.nothing_said(target)
    raise UpstreamCut(f"The upstream `{target.provider}` broke off before it said anything.")


def _chunk(said: bytes, answer: Answer, tally: Tally) -> Chunk:
    target = answer.target
    if said == DONE:
        if tally.filtered:
            raise filtering.nothing_said(target)
        raise UpstreamCut(f"The upstream `{target.provider}` ended its answer before it began.")
    try:
        chunk = read_chunk(said)
    except ValueError as e:
        raise UpstreamDown(f"The upstream `{target.provider}` answered with something that is not JSON.") from e
    if chunk.error:
        raise error_said(chunk.error)
    return chunk


def is_content(chunk: Chunk, said: bytes) -> bool:
    """Tell whether a chunk holds anything that a client would miss.

    >>> role = b'{"choices": [{"index": 0, "delta": {"role": "assistant", "content": "", "refusal": null}, "finish_reason": null}]}'
    >>> word = b'{"choices": [{"index": 0, "delta": {"content": "A"}}]}'
    >>> sound = b'{"choices": [{"index": 0, "delta": {"audio": {"data": "UklGRg=="}}}]}'
    >>> [is_content(read_chunk(said), said) for said in (role, word, sound, b'{"choices": [], "prompt_filter_results": []}')]
    [False, True, True, False]
    """
    for choice in chunk.choices or ():
        delta = choice.delta
        if choice.finish_reason or (delta is not None and (delta.content or delta.tool_calls)):
            return True
    if chunk.usage is not None:
        return True
    # None of the members that nearly every chunk has: look for one that we do not know.
    known = loaded(said)
    listed = known.get("choices") if isinstance(known, dict) else None
    if not isinstance(listed, list):
        return True  # of a shape that is none of our business
    return any(_says(choice) for choice in listed)


def _says(choice: Any) -> bool:
    if not isinstance(choice, dict) or not isinstance(delta := choice.get("delta"), dict):
        return True
    return any(value for name, value in delta.items() if name != "role")


async def _read(answer: Answer, call: Call, tally: Tally) -> None:
    """Read a whole answer to its end, and its bill."""
    target = answer.target
    parts: list[bytes] = []
    size = 0
    async for data in answer.chunks:
        parts.append(data)
        size += len(data)
        if size > MAX_ANSWER_BYTES:
            raise UpstreamDown(f"The upstream `{target.provider}` answered with more than {MAX_ANSWER_BYTES} bytes.")
    body = parts[0] if len(parts) == 1 else b"".join(parts)
    if call.operation == "embeddings" and call.body.get("encoding_format") == "base64":
        body = in_base64(body)
    answer.body = body
    _bill(body, target, tally)
    if tally.elsewhere and filtering.is_filtered(body):
        raise filtering.nothing_said(target)
    context, answer.context = answer.context, None
    if context is not None:  # read to its end: there is nothing left to close but the exchange
        await context.__aexit__(None, None, None)


def _bill(body: bytes, target: ResolvedTarget, tally: Tally) -> None:
    try:
        envelope = read_envelope(body)
    except ValueError as e:
        raise UpstreamDown(f"The upstream `{target.provider}` answered with something that is not JSON.") from e
    if envelope.error:
        raise error_said(envelope.error)
    tally.usage = usage_of(envelope.usage) if envelope.meta is None else usage_of(envelope.usage) or billed_of(envelope.meta)
    if tally.usage is None:
        tally.characters = characters_of(read_chunk(body))
