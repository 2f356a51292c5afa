"""From what went by to a row: personal data is taken out, batches are written."""

from __future__ import annotations

import asyncio
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any
from uuid import UUID

import orjson
import psycopg

from apps.gateway.aside import AsideWriter
from apps.gateway.capture.assembling import assembled
from apps.gateway.guardrails import texts
from apps.gateway.guardrails.budget import Budget, Exhausted
from apps.gateway.guardrails.placeholders import Placeholders
from apps.gateway.guardrails.sieve import Span, replaced, searched
from menhir.postgres import partitions, sql
from menhir.postgres.line import Line

if TYPE_CHECKING:
    from apps.gateway.guardrails.places import Place
    from apps.gateway.guardrails.sieve import Finder

TABLE = "gateway_capture"
MOST_STEPS = 10_000
"""What may be spent on one call's texts: less than when it was made, for all captures go one after the other."""
INSERT_CAPTURES = sql.load(__package__, "insert_captures")
NUL = re.compile(rb"(?<!\\)((?:\\\\)*)\\u0000")


@dataclass(slots=True)
class Taken:
    """One call's texts, as bytes."""

    tenant_id: UUID
    call_id: UUID
    opened_at: datetime
    keep_until: datetime
    request: bytes
    answer: bytes
    stream: bool
    truncated: bool
    finder: Finder | None


def row_of(taken: Taken) -> dict[str, Any]:
    """Read the texts and take out what is not to be kept. Raises Exhausted: what could not be looked at to its end is not kept."""
    request, answer = _read(taken.request), assembled(taken.answer) if taken.stream else _read(taken.answer)
    if taken.finder is not None:
        places = texts.of_request(request) if isinstance(request, dict) else []
        if isinstance(answer, dict):
            places += [place for _, found in texts.of_answer(answer) for place in found]
        _redact(places, taken.finder)
    return {
        "tenant_id": taken.tenant_id,
        "opened_at": taken.opened_at,
        "id": taken.call_id,
        "keep_until": taken.keep_until,
        "request": request,
        "answer": answer,
        "truncated": taken.truncated,
    }


def _redact(places: list[Place], finder: Finder) -> None:
    found = searched(finder, [place.text for place in places], Budget(MOST_STEPS))
    if found.exhausted:
        raise Exhausted
    placeholders = Placeholders()

    def put(span: Span, text: str) -> str:
        return placeholders.of(span.kind, text, restore=False)

    for place, spans in zip(places, found.spans, strict=True):
        if spans:
            place.write(replaced(place.text, spans, put))


def _read(said: bytes) -> Any:
    try:
        return orjson.loads(said) if said else None
    except orjson.JSONDecodeError:
        return None


def _encoded(taken: Taken) -> bytes:
    # PostgreSQL's text holds no U+0000.
    return NUL.sub(rb"\1\\ufffd", orjson.dumps(row_of(taken)))


async def _made(taken: Taken) -> bytes:
    return await asyncio.get_running_loop().run_in_executor(_thread, _encoded, taken)


async def _write(line: Line, captures: bytes) -> None:
    try:
        await line.write(INSERT_CAPTURES, captures=captures)
    except psycopg.errors.CheckViolation:  # no partition of that day yet
        await partitions.ensure(line, TABLE)
        await line.write(INSERT_CAPTURES, captures=captures)


_thread = ThreadPoolExecutor(1, thread_name_prefix="captures")
writer: AsideWriter[Taken] = AsideWriter(_made, _write, name=TABLE)
