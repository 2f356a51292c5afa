"""The task that writes an answer: it asks the model through our own front door and puts what comes into the stream journal.

It belongs to the process, not to a socket: whoever asked may leave, and others may read along. It holds no database connection
while the model talks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import structlog
from django.db import DatabaseError

from apps.chat.draft import PASSAGES, TEXT, Draft
from apps.chat.models import Failure, Status
from apps.chat.rows import in_tenant
from apps.chat.settlement import settle
from apps.chat.turns import Turn
from apps.gateway.client import client_for
from menhir.errors import Unavailable
from menhir.realtime.journal import Outcome, Run
from menhir.tenancy.principal import Principal

if TYPE_CHECKING:  # it is heavy: a process that answers nobody need not hold it
    from openai import APIError, AsyncStream
    from openai.types.chat import ChatCompletionChunk, ChatCompletionMessageParam

SETTLE_ATTEMPTS = 6  # waiting 0.5, 1, 2, 4, 8 s between them: a restarting database is back by then
FAILURES: dict[int, Failure] = {
    400: Failure.REFUSED,
    401: Failure.FORBIDDEN,
    403: Failure.FORBIDDEN,
    404: Failure.GONE,
    422: Failure.REFUSED,
    429: Failure.LIMITED,
}
OUTCOMES: dict[Status, Outcome] = {
    Status.COMPLETE: "completed",
    Status.STOPPED: "stopped",
    Status.FAILED: "failed",
    Status.INTERRUPTED: "interrupted",
}

log = structlog.get_logger(__name__)


class Answers:
    """The answers that this process is writing."""

    def __init__(self) -> None:
        self._writing: set[asyncio.Task[None]] = set()

    def begin(self, principal: Principal, turn: Turn, run: Run) -> None:
        """Write this answer in the background."""
        task = asyncio.create_task(write(principal, turn, run), name=f"answer {turn.answer_id}")
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def start(self) -> None:
        """Nothing is held open; here so that a process treats all its parts alike."""

    async def stop(self) -> None:
        """Break off every answer, keeping what came; for the end of the process."""
        writing = list(self._writing)
        for task in writing:
            task.cancel()
        await asyncio.gather(*writing, return_exceptions=True)


answers = Answers()


async def write(principal: Principal, turn: Turn, run: Run) -> None:
    """Stream the answer into its run, write it into its message, and only then end the run."""
    draft = Draft()
    reading = asyncio.create_task(_read(principal, turn, run, draft))
    stopping = asyncio.create_task(run.stop_requested.wait())
    status, failure = Status.INTERRUPTED, None
    try:
        await asyncio.wait({reading, stopping}, return_when=asyncio.FIRST_COMPLETED)
        status, failure = _outcome(reading, run, draft)
    finally:
        stopping.cancel()
        reading.cancel()
        await asyncio.wait({reading, stopping})
        await _keep(principal.tenant_id, turn.answer_id, draft, status, failure)
        await _end(run, OUTCOMES[status])


async def _read(principal: Principal, turn: Turn, run: Run, draft: Draft) -> None:
    """Ask, and journal what comes as it comes."""
    stream: AsyncStream[ChatCompletionChunk] = await client_for(principal).chat.completions.create(
        model=turn.model,
        messages=cast("list[ChatCompletionMessageParam]", turn.history),
        metadata={"session_id": str(turn.conversation_id)},
        stream=True,
        # Who asks for another answer to the same question does not want the one that a cache has.
        extra_headers={"Cache-Control": "no-cache"} if turn.question_id is None else None,
    )
    async with stream:
        async for chunk in stream:
            if (told := (chunk.model_extra or {}).get("menhir")) and PASSAGES in told:
                await _journal(run, draft, {"kind": PASSAGES, "passages": told[PASSAGES]})
            if chunk.choices and (text := chunk.choices[0].delta.content):
                await _journal(run, draft, {"kind": TEXT, "text": text})


async def _journal(run: Run, draft: Draft, event: Mapping[str, Any]) -> None:
    draft.take(event)
    await run.append(dict(event))


def _outcome(reading: asyncio.Task[None], run: Run, draft: Draft) -> tuple[Status, Failure | None]:
    if run.ending is not None or run.outcome is not None:
        return Status.INTERRUPTED, None  # the journal of this process is closing, or others took us for dead
    if not reading.done():
        return Status.STOPPED, None
    error = reading.exception()
    if error is None:
        return Status.COMPLETE, None
    from openai import APIError

    if not isinstance(error, APIError):
        log.error("chat.answer_failed", run=str(run.id), exc_info=error)
        return Status.FAILED, Failure.OURS
    log.info("chat.answer_refused", run=str(run.id), code=error.code, reason=str(error))
    return Status.FAILED, failure_of(error, began=bool(draft.text))


def failure_of(error: APIError, *, began: bool) -> Failure:
    """The sentence for an error of our own front door; `began` says that some of the answer had come."""
    if error.code == "context_length_exceeded":
        return Failure.TOO_LONG
    failure = FAILURES.get(getattr(error, "status_code", 0), Failure.UNREACHABLE)
    if failure is Failure.LIMITED and error.type == "upstream_error":
        failure = Failure.UNREACHABLE  # the limit is the provider's: nobody here can raise it
    return Failure.BROKE_OFF if began and failure is Failure.UNREACHABLE else failure


async def _keep(tenant_id: UUID, answer_id: UUID, draft: Draft, status: Status, failure: Failure | None) -> None:
    """Make the answer durable. Should the database stay away, the next reader settles it from the journal."""
    for attempt in range(SETTLE_ATTEMPTS):
        try:
            return await in_tenant(tenant_id, lambda: settle(tenant_id, answer_id, draft, status, failure))
        except DatabaseError as error:
            log.warning("chat.settle_failed", answer=str(answer_id), attempt=attempt, reason=str(error))
            await asyncio.sleep(0.5 * 2**attempt)
    return None


async def _end(run: Run, outcome: Outcome) -> None:
    try:
        await run.end(outcome)
    except Unavailable:
        log.warning("chat.end_unwritten", run=str(run.id))  # the journal writes it once the database is back
