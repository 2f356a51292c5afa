"""Notes: calls that no upstream was asked for, written a moment later, with nobody waiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest

from menhir.metering import notes as module
from menhir.metering.notes import Note, Notes
from menhir.postgres.ids import uuid7


def note() -> Note:
    now = datetime.now(UTC)
    return Note(uuid7(), uuid7(), now, now, "chat", "m", "r", None, None, None, None, False, "u", 1)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(module, "LINGER_SECONDS", 0.001)
    monkeypatch.setattr(module, "PAUSE_SECONDS", 0.001)


async def test_what_comes_together_is_written_together(quick):
    batches = []

    async def write(batch):
        batches.append(list(batch))

    notes = Notes(write)
    given = [note() for _ in range(5)]
    for each in given:
        notes.put(each)
    await notes.written()
    assert batches == [given]
    notes.put(given[0])
    await notes.written()
    assert len(batches) == 2


async def test_while_the_database_is_away_they_wait(quick, monkeypatch):
    monkeypatch.setattr(module, "MOST_KEPT", 3)
    written, tries = [], 0

    async def write(batch):
        nonlocal tries
        tries += 1
        if tries < 3:
            raise psycopg.OperationalError("away")
        written.extend(batch)

    notes = Notes(write)
    given = [note() for _ in range(5)]
    for each in given:
        notes.put(each)
    await notes.written()
    assert written == given[:3], "the first that fit, once each"


async def test_what_is_refused_does_not_hold_up_the_rest(quick):
    written = []

    async def write(batch):
        if not written:
            written.append("refused")
            raise psycopg.errors.InvalidTextRepresentation("no")
        written.extend(batch)

    notes = Notes(write)
    notes.put(note())
    await notes.written()
    last = note()
    notes.put(last)
    await notes.written()
    assert written == ["refused", last]


async def test_stopping_writes_what_waits(monkeypatch):
    monkeypatch.setattr(module, "LINGER_SECONDS", 3600)
    written = []

    async def write(batch):
        written.extend(batch)

    notes = Notes(write)
    given = note()
    notes.put(given)
    await asyncio.sleep(0)
    await notes.stop(within_seconds=1)
    assert written == [given]
