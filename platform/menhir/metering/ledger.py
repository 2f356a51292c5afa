"""The ledger of a process: open a call before it is made, settle it before its last byte goes out.

`open` and `settle` return once their row is committed. When the database is away, `open` says so within two seconds, so that no
upstream is asked for what cannot be written down; `settle` keeps its row and tries again until the database is back, since the
upstream's work is done and must be paid. The first settlement of a call wins, whoever writes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from uuid import UUID

import structlog

from menhir.errors import Unavailable
from menhir.metering import prices, rows
from menhir.metering.entries import NO_USAGE, Opening, Settlement, Usage
from menhir.metering.notes import Note, Notes
from menhir.metering.process import Process
from menhir.metering.writer import REFUSED, BatchWriter
from menhir.postgres.line import Line
from menhir.telemetry import gauges

__all__ = ["Ledger", "Note", "Opening", "Settlement", "Usage", "ledger"]

OPEN_PATIENCE_SECONDS = 2.0
OPENINGS_KEPT = 20_000
SETTLEMENTS_KEPT = 100_000
DRAIN_SECONDS = 10.0

log = structlog.get_logger(__name__)


class Ledger:
    """One batch writer for both tables, so that calls that begin and calls that end share a commit; and the heartbeat that lets others
    settle for us when we die.
    """

    def __init__(self) -> None:
        self._unsettled: dict[UUID, datetime] = {}
        self._process: Process | None = None
        self._writer: BatchWriter[Opening | Settlement] = BatchWriter(self._write, name="metering", orphaned=self._settle_orphan)
        self._line = Line("gateway")
        self._notes = Notes(self._write_notes)
        self._notes_line = Line("gateway")

    async def start(self) -> None:
        """Make the days' partitions, register this process and begin to write. Calls are refused until the database is there."""
        prices.load()
        self._unsettled.clear()
        self._process = Process(oldest_unsettled=self._oldest_unsettled)
        self._writer.start()
        await self._process.start()

    async def stop(self) -> None:
        """Write what waits, then leave; what could not be written is left to the sweeper of the next process."""
        left = await self._writer.stop(within_seconds=DRAIN_SECONDS)
        await self._notes.stop(within_seconds=OPEN_PATIENCE_SECONDS)
        await self._notes_line.close()
        if self._process is not None:
            await self._process.stop(clean=not self._unsettled and not left)
            self._process = None
        await self._line.close()

    @property
    def process_id(self) -> UUID | None:
        """Under which this process is registered; new with each start."""
        return self._process.id if self._process is not None else None

    @property
    def depth(self) -> int:
        """How many rows wait to be written."""
        return self._writer.depth

    @property
    def unsettled(self) -> int:
        """How many calls are open."""
        return len(self._unsettled)

    async def open(self, opening: Opening) -> None:
        """Return once the call is on the disk; raise `Unavailable` after two seconds.

        Whoever is cancelled here, or given up on, makes no call: should the row have been written all the same, it is settled
        at no cost.
        """
        if self._process is None:
            raise Unavailable("The ledger is not open.")
        await self._writer.put(opening, capacity=OPENINGS_KEPT, patience_seconds=OPEN_PATIENCE_SECONDS)

    async def settle(self, settlement: Settlement) -> None:
        """Return once the settlement is on the disk, however long that takes; a caller who leaves does not take it back.

        Raises `Unavailable` only when 100,000 settlements already wait; the call is then written to the log, and settled by
        the sweeper at its estimate after this process has ended.
        """
        try:
            await self._writer.put(settlement, capacity=SETTLEMENTS_KEPT)
        except Unavailable:
            log.exception("ledger.full", settlement=repr(settlement))
            raise

    def note(self, note: Note) -> None:
        """Write down, in a moment, a call that no upstream was asked for; returns at once."""
        self._notes.put(note)

    async def noted(self) -> None:
        """Return once every note so far is on the disk."""
        await self._notes.written()

    async def registered(self) -> None:
        """Return once others can see that this process lives; raises `Unavailable` while the ledger is not open."""
        if self._process is None:
            raise Unavailable("The ledger is not open.")
        await self._process.registered(since=datetime.now(UTC))

    async def _write_notes(self, notes: Sequence[Note]) -> None:
        if self._process is None:
            raise Unavailable("The ledger is not open.")
        await rows.write_notes(self._notes_line, notes, process_id=self._process.id)

    async def _write(self, entries: Sequence[Opening | Settlement]) -> None:
        if self._process is None:
            raise Unavailable("The ledger is not open.")
        openings = [entry for entry in entries if type(entry) is Opening]
        settlements = [entry for entry in entries if type(entry) is Settlement]
        self._unsettled.update((opening.call_id, opening.opened_at) for opening in openings)
        try:
            await self._process.registered(since=min((opening.opened_at for opening in openings), default=datetime.now(UTC)))
            await rows.write(self._line, openings, settlements, process_id=self._process.id)
        except REFUSED:
            # Not there. After any other error nobody knows, and what is written again comes back here.
            for opening in openings:
                self._unsettled.pop(opening.call_id, None)
            raise
        for settlement in settlements:
            self._unsettled.pop(settlement.call_id, None)

    def _settle_orphan(self, orphan: Opening | Settlement) -> None:
        """A call whose row was written after its caller had left: no upstream was asked, nothing is owed."""
        if not isinstance(orphan, Opening):
            return
        now = datetime.now(UTC)
        self._writer.keep(
            Settlement(
                tenant_id=orphan.tenant_id,
                call_id=orphan.call_id,
                opened_at=orphan.opened_at,
                settled_at=now,
                outcome="cancelled",
                status=503,
                provider="",
                upstream_model="",
                attempts=0,
                usage=NO_USAGE,
                cost=Decimal(0),
                first_token_ms=None,
                latency_ms=max(0, int((now - orphan.opened_at).total_seconds() * 1000)),
                error_code="not_opened_in_time",
            )
        )

    def _oldest_unsettled(self) -> datetime | None:
        return min(self._unsettled.values(), default=None)


ledger = Ledger()
"""The ledger of this process. Wiring starts and stops it."""
gauges.register("menhir_ledger_waiting_rows", "Rows that wait to be written.", lambda: ledger.depth)
gauges.register("menhir_calls_open", "Calls that are opened and not settled.", lambda: ledger.unsettled)
