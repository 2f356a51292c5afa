"""Who answers: the route's targets in their order, until one has begun.

Of a failure only three things are asked. Busy: once more here, after a moment, then the next target. Down: the next
target at once. Refused: stop, it would be refused everywhere. A whole answer counts once it is read and is JSON; a
stream once its first event is there and is no error. Until then nothing has been promised to the client.
"""

from __future__ import annotations

import asyncio
import random
import time
from typing import TYPE_CHECKING

import msgspec

from apps.gateway import runtime
from apps.gateway.call import PATHS
from apps.gateway.errors import UnknownModel, UpstreamBusy, UpstreamCut, UpstreamDown, UpstreamError
from apps.gateway.registry import UPSTREAMS
from apps.gateway.sse import EventSplitter, data_of
from apps.gateway.upstreams import Attempt
from apps.gateway.wire import DONE, characters_of, error_said, read_chunk, read_envelope, usage_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AbstractAsyncContextManager

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget
    from apps.gateway.hangup import Watch
    from apps.gateway.settle import Tally
    from apps.gateway.upstreams import UpstreamResponse
    from apps.gateway.wire import Chunk

RETRY_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
"""An upstream that asks for more patience than this is passed over in favour of the next target."""
MAX_ANSWER_BYTES = 64 * 1024 * 1024


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
            await _close(self.chunks)
        finally:
            await context.__aexit__(None, None, None)


async def dispatch(call: Call, route: ResolvedRoute, tally: Tally, watch: Watch) -> Answer:
    """Ask the targets in order; raises the last one's UpstreamError when none of them answers."""
    failure: UpstreamError | None = None
    for target in route.targets:
        try:
            return await _ask(call, target, tally, watch)
        except UpstreamBusy as busy:
            failure = busy
            pause = busy.retry_after_seconds if busy.retry_after_seconds is not None else RETRY_PAUSE_SECONDS
            if pause <= LONGEST_PAUSE_SECONDS:
                await asyncio.sleep(pause * random.uniform(1.0, 1.5))  # noqa: S311 - spreads callers, hides nothing
                try:
                    return await _ask(call, target, tally, watch)
                except (UpstreamBusy, UpstreamDown) as again:
                    failure = again
        except UpstreamDown as down:
            failure = down
    raise failure or UnknownModel(f"The model `{route.name}` has nowhere to run.", param="model")


async def _ask(call: Call, target: ResolvedTarget, tally: Tally, watch: Watch) -> Answer:
    tally.attempts += 1
    tally.target = target
    tally.taken = True
    patience = target.first_byte_timeout_seconds if call.stream else target.answer_timeout_seconds
    watch.allow(patience)
    began = time.perf_counter()
    try:
        return await _open(call, target, tally, watch)
    except asyncio.CancelledError:
        if watch.expired():
            raise UpstreamDown(f"The upstream `{target.provider}` did not answer within {patience:g} seconds.") from None
        raise
    finally:
        watch.deadline = 0.0
        tally.waited += time.perf_counter() - began


async def _open(call: Call, target: ResolvedTarget, tally: Tally, watch: Watch) -> Answer:
    attempt = Attempt(
        operation=call.operation,
        path=PATHS[call.operation],
        body=call.body,
        raw=call.raw,
        stream=call.stream,
        target=target,
        request_id=call.request_id,
        session=runtime.session(),
    )
    context = UPSTREAMS[target.kind].open(attempt)
    try:
        response = await context.__aenter__()
    except UpstreamError:
        tally.taken = False
        raise
    answer = Answer(target, context, response.chunks())
    try:
        if call.stream:
            await _begin(answer, watch)
        else:
            answer.body = await _whole(answer.chunks, target)
            _bill(answer.body, target, tally)
            await answer.close()
    except BaseException:
        await answer.close()
        raise
    return answer


async def _begin(answer: Answer, watch: Watch) -> None:
    """Wait for the first event that says something; keep-alives before it show that the upstream lives, and are dropped."""
    target = answer.target
    async for data in answer.chunks:
        watch.allow(target.first_byte_timeout_seconds)
        events = answer.splitter.feed(data)
        for number, event in enumerate(events):
            said = data_of(event)
            if said is None:
                continue
            if said == DONE:
                raise UpstreamCut(f"The upstream `{target.provider}` ended its answer before it began.")
            try:
                first = read_chunk(said)
            except ValueError as e:
                raise UpstreamDown(f"The upstream `{target.provider}` answered with something that is not JSON.") from e
            if first.error:
                raise error_said(first.error)
            answer.first = first
            answer.pending = events[number:]
            return
    raise UpstreamCut(f"The upstream `{target.provider}` broke off before it said anything.")


async def _whole(chunks: AsyncIterator[bytes], target: ResolvedTarget) -> bytes:
    parts: list[bytes] = []
    size = 0
    async for data in chunks:
        parts.append(data)
        size += len(data)
        if size > MAX_ANSWER_BYTES:
            raise UpstreamDown(f"The upstream `{target.provider}` answered with more than {MAX_ANSWER_BYTES} bytes.")
    return b"".join(parts)


def _bill(body: bytes, target: ResolvedTarget, tally: Tally) -> None:
    try:
        envelope = read_envelope(body)
    except ValueError as e:
        raise UpstreamDown(f"The upstream `{target.provider}` answered with something that is not JSON.") from e
    if envelope.error:
        raise error_said(envelope.error)
    tally.usage = usage_of(envelope.usage)
    if tally.usage is None:
        tally.characters = characters_of(read_chunk(body))


async def _close(chunks: object) -> None:
    # An async generator left in the middle would be finished by the garbage collector, some other time.
    aclose = getattr(chunks, "aclose", None)
    if aclose is not None:
        await aclose()
