"""Notes: calls that no upstream was asked for, written a moment later, with nobody waiting."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

import psycopg
import pytest
from msgspec import structs

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


async def test_what_is_refused_takes_no_other_with_it_and_does_not_hold_up_the_rest(quick, acme, ledger, look):
    given = [structs.replace(note(), tenant_id=acme.id) for _ in range(7)]
    given[4] = structs.replace(given[4], model="a\x00b")
    for each in given:
        ledger.note(each)
    await ledger.noted()
    last = structs.replace(note(), tenant_id=acme.id)
    ledger.note(last)
    await ledger.noted()
    written = {row.id for row in look("SELECT id FROM metering_call WHERE tenant_id = %s", acme.id)}
    assert written == {each.call_id for each in (*given[:4], *given[5:], last)}


@pytest.mark.parametrize("error", [psycopg.errors.ReadOnlySqlTransaction, psycopg.errors.InvalidSqlStatementName])
async def test_an_error_that_is_not_about_the_notes_loses_none(quick, error):
    written, tries = [], 0

    async def write(batch):
        nonlocal tries
        tries += 1
        if tries < 3:
            raise error("not now")
        written.extend(batch)

    notes = Notes(write)
    given = [note() for _ in range(3)]
    for each in given:
        notes.put(each)
    await notes.written()
    assert written == given


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
