"""Fan-out: several targets are asked at once, the first good answer wins, and the others are hung up on and paid.

Every leg that was asked has a row in the ledger. The client's own call is one of them: its row is settled with the winner, so
that it says what the client got and what that cost; the other rows name it as their `parent_id` and carry the other legs,
whichever those turn out to be. A row is opened before its leg is asked. Each leg has one try: the others are its retries.
"""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec

from apps.gateway import afterwards
from apps.gateway.asking import Answer, ask
from apps.gateway.errors import TotalTimeout, UpstreamBusy
from apps.gateway.hangup import HungUp, Watch
from apps.gateway.settle import HUNG_UP_STATUS, INTERNAL_STATUS, Tally, open_call, settle
from menhir.errors import MenhirError, status_of
from menhir.postgres.ids import uuid7

if TYPE_CHECKING:
    from collections.abc import Sequence

    from apps.gateway.call import Call, ResolvedRoute, ResolvedTarget

OUTRUN = "outrun"
"""The error code of a leg that was asked and not waited for."""


@dataclass(eq=False, slots=True)
class Leg:
    """One target in the race."""

    target: ResolvedTarget
    tally: Tally = field(default_factory=Tally)
    task: asyncio.Task[Answer] | None = None

    @property
    def answer(self) -> Answer | None:
        """What it has come to, when that is good."""
        task = self.task
        return task.result() if task is not None and task.done() and not task.cancelled() and task.exception() is None else None

    @property
    def failure(self) -> BaseException | None:
        """What it has come to, when that is not."""
        task = self.task
        if task is None or not task.done():
            return None
        return asyncio.CancelledError() if task.cancelled() else task.exception()


async def race(call: Call, route: ResolvedRoute, targets: Sequence[ResolvedTarget], tally: Tally, watch: Watch) -> Answer:
    """Give the first good answer; raises the UpstreamError that helps the client most when there is none."""
    runners = _Race(call, route, [Leg(target, Tally(elsewhere=True)) for target in targets], watch)
    began = time.perf_counter()
    winner: Leg | None = None
    try:
        winner = await runners.run()
        answer = winner.answer
        if answer is None:
            raise runners.why_not()
        return answer
    finally:
        first = winner or runners.legs[0]
        for name in ("target", "attempts", "taken", "usage", "characters"):
            setattr(tally, name, getattr(first.tally, name))
        tally.waited += time.perf_counter() - began
        runners.stop(first, winner)


class _Race:
    def __init__(self, call: Call, route: ResolvedRoute, legs: list[Leg], watch: Watch) -> None:
        self.legs = legs
        self._call = call
        self._route = route
        self._watch = watch
        self._rows: list[Call] = []

    async def run(self) -> Leg:
        """Give the leg that won, or the first when none did."""
        hedge = self._route.hedge_seconds
        ahead = iter(self.legs)
        running: set[asyncio.Task[Answer]] = set()
        waiting: Leg | None = next(ahead)
        while waiting is not None or running:
            while waiting is not None:
                running.add(self._start(waiting))
                waiting = next(ahead, None)
                if hedge is not None:
                    break
            done, running = await asyncio.wait(running, timeout=hedge if waiting is not None else None, return_when=asyncio.FIRST_COMPLETED)
            for leg in self.legs:
                if leg.task in done and leg.answer is not None:
                    return leg
            # Here a leg failed, or was slow. Either way it is the next one's turn.
        return self.legs[0]

    def _start(self, leg: Leg) -> asyncio.Task[Answer]:
        first = leg is self.legs[0]
        leg.task = asyncio.get_running_loop().create_task(self._ask(leg, opens=not first), name=f"leg to {leg.target.provider}")
        return leg.task

    async def _ask(self, leg: Leg, *, opens: bool) -> Answer:
        call = self._call
        with Watch(self._watch.gone) as watch:
            watch.limit = self._watch.limit
            if opens:
                row = msgspec.structs.replace(
                    call, id=uuid7(), parent_id=call.id, opened_at=datetime.now(UTC), received=time.perf_counter()
                )
                if call.hold is not None:
                    row.hold = call.hold.branch()
                try:
                    await open_call(row, self._route, target=leg.target)
                except BaseException:
                    if row.hold is not None:
                        row.hold.release()
                    raise
                self._rows.append(row)
            return await ask(call, leg.target, leg.tally, watch)

    def why_not(self) -> BaseException:
        """What the client is told: to try again, when that may help; else why the first target did not answer."""
        failures = [leg.failure for leg in self.legs if leg.failure is not None]
        for kind in (TotalTimeout, UpstreamBusy, MenhirError):
            for failure in failures:
                if isinstance(failure, kind):
                    return failure
        return next((failure for failure in failures if not isinstance(failure, HungUp)), HungUp())

    def stop(self, first: Leg, winner: Leg | None) -> None:
        """Hang up on everybody but the winner, and leave it to be settled; `first` is settled with the client's call."""
        tasks = [leg.task for leg in self.legs if leg.task is not None]
        for task in tasks:
            task.cancel()  # does nothing to those who are through
        afterwards.begin(self._settle([leg for leg in self.legs if leg is not first], winner, tasks), name="settling the legs of a fan-out")

    async def _settle(self, others: list[Leg], winner: Leg | None, tasks: list[asyncio.Task[Answer]]) -> None:
        await asyncio.gather(*tasks, return_exceptions=True)
        # A leg that was cancelled before its row was there has none, and asked nobody.
        asked = [leg for leg in others if leg.tally.attempts]
        work = [leg.answer.close() for leg in self.legs if leg is not winner and leg.answer is not None]
        work += [_settle_leg(leg, row) for leg, row in zip(asked, self._rows, strict=False)]
        work += [_settle_unasked(row) for row in self._rows[len(asked) :]]
        try:
            failures = [e for e in await asyncio.gather(*work, return_exceptions=True) if isinstance(e, Exception)]
        finally:
            for row in self._rows:
                if row.hold is not None:
                    row.hold.release()  # unless it is settled
        if failures:
            raise ExceptionGroup("Legs of a fan-out are not settled.", failures)


async def _settle_unasked(row: Call) -> None:
    await settle(row, Tally(), outcome="cancelled", status=HUNG_UP_STATUS, error_code=OUTRUN)


async def _settle_leg(leg: Leg, row: Call) -> None:
    failure = leg.failure
    if isinstance(failure, MenhirError):
        await settle(row, leg.tally, outcome="failed", status=status_of(failure), error_code=failure.code)
    elif failure is None or isinstance(failure, asyncio.CancelledError | HungUp):
        await settle(row, leg.tally, outcome="cancelled", status=HUNG_UP_STATUS, error_code=OUTRUN)
    else:
        await settle(row, leg.tally, outcome="failed", status=INTERNAL_STATUS, error_code="internal_error")
