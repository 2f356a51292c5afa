"""Group commit: many callers, one writer, one statement for all who wait.

While one batch is on its way to the disk the next gathers; so a lone caller waits for one round trip, and a thousand callers
share a commit. Nothing lingers on purpose: a batch is whatever is there when the writer is free.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import psycopg
import structlog

from menhir.errors import Unavailable
from menhir.telemetry import meters

BATCH_ROWS = 500
STATEMENT_TIMEOUT_SECONDS = 10.0
FIRST_BACKOFF_SECONDS = 0.05
LAST_BACKOFF_SECONDS = 1.0
WATCH_SECONDS = 0.25
NEVER = float("inf")
REFUSED = (psycopg.DataError, psycopg.IntegrityError, UnicodeEncodeError, OverflowError, TypeError)
"""What is raised for what a row says, by the database or by the encoder: it would be refused again. Whatever else is raised is no
judgement on the row: a standby that only reads, a pooler that has forgotten a statement, a privilege that is missing for a while.
"""

BATCH = meters.histogram("menhir_ledger_batch_rows", "Rows that shared a commit.", (1, 2, 5, 10, 20, 50, 100, 200, 500)).of()
COMMIT = meters.histogram("menhir_ledger_commit_seconds", "From a batch's dispatch to its commit.", meters.SECONDS).of()

log = structlog.get_logger(__name__)
Row = TypeVar("Row")


@dataclass(eq=False, slots=True)
class Waiting(Generic[Row]):
    """A row and the caller who waits for its commit, until his patience ends."""

    row: Row
    committed: asyncio.Future[None]
    until: float

    @property
    def is_given_up(self) -> bool:
        """Whether nobody wants the row any more. One without a limit to its patience is wanted whoever leaves."""
        return self.until != NEVER and self.committed.done()


class BatchWriter(Generic[Row]):
    """Writes rows with `write`, which must be safe to repeat: after a lost connection nobody knows what was committed.

    A caller with `patience_seconds` is told `Unavailable` after that long; a row that may be on its way then is still seen through,
    and `orphaned` is called when it turns out written with nobody waiting. The others wait until it is written.
    """

    def __init__(self, write: Callable[[Sequence[Row]], Awaitable[None]], *, name: str, orphaned: Callable[[Row], None]) -> None:
        self._write = write
        self._name = name
        self._orphaned = orphaned
        self._queue: deque[Waiting[Row]] = deque()
        self._writing: list[Waiting[Row]] = []
        self._tasks: list[asyncio.Task[None]] = []
        self._open = False

    @property
    def depth(self) -> int:
        """How many rows wait or are on their way."""
        return len(self._queue) + len(self._writing)

    def start(self) -> None:
        self._wake = asyncio.Event()
        self._idle = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        self._open = True
        self._tasks = [
            self._loop.create_task(self._run(), name=f"{self._name} writer"),
            self._loop.create_task(self._watch(), name=f"{self._name} watch"),
        ]

    async def stop(self, *, within_seconds: float) -> int:
        """Write what waits, for so long at most; how many rows could not be written."""
        self._open = False
        try:
            async with asyncio.timeout(within_seconds):
                while self._queue or self._writing:
                    self._idle.clear()
                    self._wake.set()
                    await self._idle.wait()
        except TimeoutError:
            log.warning("ledger.not_drained", table=self._name, rows=self.depth)
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        left = [*self._writing, *self._queue]
        for waiting in left:
            _fail(waiting, Unavailable("The ledger is closing."))
        self._queue.clear()
        self._writing = []
        self._tasks = []
        return len(left)

    async def put(self, row: Row, *, capacity: int, patience_seconds: float | None = None) -> None:
        """Return once the row is committed. A caller who is cancelled meanwhile does not take the row back.

        Raises `Unavailable` at once when `capacity` rows already wait: so much is kept while the database is away.
        """
        if not self._open or len(self._queue) >= capacity:
            raise Unavailable("The ledger cannot take more calls at the moment. Try again shortly.")
        waiting = Waiting(row, self._loop.create_future(), NEVER if patience_seconds is None else self._loop.time() + patience_seconds)
        self._queue.append(waiting)
        self._wake.set()
        try:
            await waiting.committed
        except asyncio.CancelledError:
            # Committed and cancelled in the same breath: nobody will take it further.
            if not waiting.committed.cancelled() and waiting.committed.exception() is None and patience_seconds is not None:
                self._orphaned(row)
            raise

    def keep(self, row: Row) -> None:
        """Write the row with nobody waiting for it."""
        self._queue.append(Waiting(row, self._loop.create_future(), NEVER))
        self._wake.set()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while batch := self._take():
                self._writing = batch
                await self._commit(batch)
                self._writing = []
            self._idle.set()

    def _take(self) -> list[Waiting[Row]]:
        """The next batch. Callers who lost their patience are gone: their rows were never on the way."""
        batch: list[Waiting[Row]] = []
        while self._queue and len(batch) < BATCH_ROWS:
            waiting = self._queue.popleft()
            if not waiting.is_given_up:
                batch.append(waiting)
        return batch

    async def _commit(self, batch: Sequence[Waiting[Row]]) -> None:
        """Write the batch, again and again until the database takes it; a row that is refused does not take others with it."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                began = self._loop.time()
                async with asyncio.timeout(STATEMENT_TIMEOUT_SECONDS):
                    await self._write([waiting.row for waiting in batch])
            except REFUSED as error:
                if len(batch) > 1:
                    for waiting in batch:
                        await self._commit([waiting])
                else:
                    log.exception("ledger.refused", table=self._name, row=repr(batch[0].row))
                    _fail(batch[0], error)
                return
            except Exception as error:  # noqa: BLE001 - whatever it is, it is not about the rows, and they must be written
                log.warning("ledger.away", table=self._name, rows=len(batch), error=str(error).strip(), kind=type(error).__name__)
                await asyncio.sleep(backoff)
                backoff = min(backoff * 2, LAST_BACKOFF_SECONDS)
            else:
                COMMIT.observe(self._loop.time() - began)
                BATCH.observe(len(batch))
                for waiting in batch:
                    self._done(waiting)
                return

    def _done(self, waiting: Waiting[Row]) -> None:
        if not waiting.committed.done():
            waiting.committed.set_result(None)
        elif waiting.is_given_up:
            self._orphaned(waiting.row)

    async def _watch(self) -> None:
        """Tell those who waited too long. A tick of its own, since the writer itself may be stuck in a statement."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            now = self._loop.time()
            for waiting in (*self._writing, *self._queue):
                if waiting.until < now:
                    _fail(waiting, Unavailable("The ledger cannot be written at the moment. Try again shortly."))


def _fail(waiting: Waiting[Row], error: Exception) -> None:
    if not waiting.committed.done():
        waiting.committed.set_exception(error)
        waiting.committed.exception()  # read once here: a caller may be gone, and nobody else would
