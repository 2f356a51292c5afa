"""Stored responses: what `/v1/responses` keeps, so that a later call may go on from there.

A response is one row, written whole once it has ended and before its client has the last byte; whoever reads it finds all of it or
nothing. A row holds its own input and output and points at the response before it: a conversation is traced back from its last one.

Keys see every response of their tenant, as keys of one project do at OpenAI. A person somebody vouches for (a member who is signed in, an
end user with a token) sees his own alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

import orjson
import psycopg
from django.conf import settings

from apps.assistants.errors import ConversationTooLong, UnknownResponse
from menhir.postgres import partitions, pools, sql
from menhir.postgres.line import Line
from menhir.tenancy.principal import Principal

TABLE: Final = "assistants_response"
DAYS_AHEAD: Final = 7
MOST_TURNS: Final = 2_000

KEEP: Final = sql.load(__package__, "keep_response")
FIND: Final = sql.load(__package__, "find_responses")
TRACE: Final = sql.load(__package__, "trace_conversation")
DELETE: Final = sql.load(__package__, "delete_response")

PREFIX: Final = "resp_"
WRITTEN: Final = re.compile(r"resp_([0-9a-f]{32})")
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
LAST_MILLISECOND: Final = 4_102_444_800_000
"""Of 2099: an id from beyond it was made up."""

Item = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Stored:
    """A response as it is kept: its own input, its output, and the object that clients know, without the output."""

    id: UUID
    input: list[Item]
    output: list[Item]
    response: dict[str, Any]

    @property
    def whole(self) -> dict[str, Any]:
        """The object that clients know."""
        return {**self.response, "output": self.output}


@dataclass(frozen=True, slots=True)
class Conversation:
    """All items up to a response and including its output."""

    items: list[Item]
    before_output: int
    """How many of them led to that response."""
    missing: UUID | None
    """The response where the trace ends because it is stored no longer."""


def written(response_id: UUID) -> str:
    """The id as clients know it."""
    return PREFIX + response_id.hex


def read_id(text: object) -> UUID | None:
    """The id that a client wrote; None when it can be no response's.

    >>> read_id("resp_0198c0a8f2b07c3e9d6f3b1f2a4c5d6e")
    UUID('0198c0a8-f2b0-7c3e-9d6f-3b1f2a4c5d6e')
    >>> read_id("resp_1"), read_id(7), read_id("resp_ffffffffffff7c3e9d6f3b1f2a4c5d6e")
    (None, None, None)
    """
    match = WRITTEN.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        return None
    found = UUID(match[1])
    return found if found.version == 7 and found.int >> 80 < LAST_MILLISECOND else None  # noqa: PLR2004 - RFC 9562's version


def owner_of(who: Principal) -> str | None:
    """Whose alone the responses of this caller are; None for a key, whose responses are its tenant's.

    An end user is somebody's word for a person: another issuer's word for the same name is another person.
    """
    if who.kind in {"key", "system"} and who.unit is None:
        return None
    return f"{who.kind}:{who.id}:{who.unit or ''}"


async def keep(who: Principal, stored: Stored, *, previous: UUID | None) -> None:
    """Commit a response that has ended. Raises `Unavailable` when the database is away."""
    values = {
        "tenant_id": who.tenant_id,
        "created_at": made_at(stored.id),
        "id": stored.id,
        "owner": owner_of(who),
        "previous_id": previous,
        "previous_at": made_at(previous) if previous is not None else None,
        "input": _dumped(stored.input),
        "output": _dumped(stored.output),
        "response": _dumped(stored.response),
    }
    async with pools.gateway.connection() as conn:
        try:
            await KEEP.run(conn, **values)
        except psycopg.errors.CheckViolation:  # no partition of that day: no worker has made one ahead
            await partitions.ENSURE.one(conn, parent=TABLE, days_ahead=DAYS_AHEAD)
            await KEEP.run(conn, **values)


async def find(who: Principal, response_id: UUID) -> Stored | None:
    """Give a stored response, or None: absent, another tenant's, and another person's look alike."""
    return (await find_all(who, [response_id])).get(response_id)


async def find_all(who: Principal, ids: Iterable[UUID]) -> Mapping[UUID, Stored]:
    """Give those of these responses that are stored, by their ids."""
    wanted = {found: made_at(found) for found in ids}
    if not wanted:
        return {}
    async with pools.app.tenant(who.tenant_id) as conn:
        rows = await FIND.all(conn, tenant_id=who.tenant_id, times=list(wanted.values()), ids=list(wanted), owner=owner_of(who))
    loads = orjson.loads
    return {row.id: Stored(row.id, loads(row.input), loads(row.output), loads(row.response)) for row in rows}


async def trace(who: Principal, response_id: UUID) -> Conversation | None:
    """Give the conversation up to this response, or None when it is not stored. Raises `ConversationTooLong`."""
    limit: int = settings.MENHIR_BODY_LIMIT_BYTES
    async with pools.app.tenant(who.tenant_id) as conn:
        rows = await TRACE.all(
            conn,
            tenant_id=who.tenant_id,
            created_at=made_at(response_id),
            id=response_id,
            owner=owner_of(who),
            most_turns=MOST_TURNS,
            most_bytes=limit,
        )
    if not rows:
        return None
    if rows[0].bytes > limit or (len(rows) == MOST_TURNS and rows[0].previous_id is not None):
        raise ConversationTooLong(
            f"The conversation up to `{written(response_id)}` is larger than {limit:,} bytes or {MOST_TURNS:,} turns."
        )
    items: list[Item] = []
    before_output = 0
    for row in rows:
        items += orjson.loads(row.input)
        before_output = len(items)
        items += orjson.loads(row.output)
    return Conversation(items, before_output, missing=rows[0].previous_id)


async def delete(who: Principal, response_id: UUID) -> None:
    """Delete a stored response; raise `UnknownResponse` when there is none."""
    async with pools.app.tenant(who.tenant_id) as conn:
        gone = await DELETE.run(conn, tenant_id=who.tenant_id, created_at=made_at(response_id), id=response_id, owner=owner_of(who))
    if not gone:
        raise UnknownResponse(f"There is no response `{written(response_id)}`.", param="id")


async def keep_house(line: Line) -> None:
    """Make the coming days' partitions, and drop the old ones; where somebody reads one just now, it goes an hour later."""
    await partitions.ensure(line, TABLE, days_ahead=DAYS_AHEAD)
    with suppress(psycopg.errors.LockNotAvailable):
        await partitions.drop_old(line, TABLE)


def made_at(response_id: UUID) -> datetime:
    """When an id was made: the first 48 bits of a UUIDv7 are milliseconds. Raises OverflowError beyond the year 9999."""
    return EPOCH + timedelta(milliseconds=response_id.int >> 80)


def _dumped(value: object) -> str:
    return orjson.dumps(value).decode()
