"""Statements that matter live in files: one statement a file, a sentence above it, and a header that a test checks.

    -- One live key by its hash; nothing when it is unknown.
    -- takes: key_hash bytea
    -- gives: tenant_id uuid, key_id uuid
    -- role: gateway
    SELECT …  WHERE hash = $1

`takes` names the parameters $1, $2, … in order with their types, `gives` the columns; `role` is who runs it (app when unsaid).
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any, NamedTuple, TypeVar

from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.rows import namedtuple_row

HEADER = re.compile(r"^--\s*(takes|gives|role):\s*(.+)$")
COLUMN = re.compile(r"(\w+)\s+([\w .\[\]]+?)(?:,|$)")
V = TypeVar("V")


class Column(NamedTuple):
    """A parameter or result column, and its type as Postgres writes it."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement, prepared by psycopg after a few uses."""

    name: str
    text: str
    takes: tuple[Column, ...] = ()
    gives: tuple[Column, ...] = ()
    role: str = "app"
    names: tuple[str, ...] = field(default=())

    async def all(self, connection: AsyncConnection[Any], /, **values: object) -> list[Any]:
        """Every row, as named tuples."""
        async with AsyncRawCursor(connection, row_factory=namedtuple_row) as cursor:
            await cursor.execute(self.text.encode(), self.ordered(values))
            return await cursor.fetchall()

    async def one(self, connection: AsyncConnection[Any], /, **values: object) -> Any | None:
        """The first row, or None."""
        async with AsyncRawCursor(connection, row_factory=namedtuple_row) as cursor:
            await cursor.execute(self.text.encode(), self.ordered(values))
            return await cursor.fetchone()

    async def run(self, connection: AsyncConnection[Any], /, **values: object) -> int:
        """How many rows it touched."""
        async with AsyncRawCursor(connection) as cursor:
            await cursor.execute(self.text.encode(), self.ordered(values))
            return cursor.rowcount

    def ordered(self, values: Mapping[str, V]) -> Sequence[V]:
        """The values in the order of the parameters; raises TypeError unless they are those it takes."""
        if values.keys() != set(self.names):
            raise TypeError(f"{self.name} takes {', '.join(self.names) or 'nothing'}; got {', '.join(values) or 'nothing'}")
        return [values[name] for name in self.names]


@cache
def load(package: str, name: str) -> Statement:
    """The statement in `<package>/queries/<name>.sql`."""
    return parse(f"{package}.{name}", files(package).joinpath("queries", f"{name}.sql").read_text(encoding="utf-8"))


def parse(name: str, text: str) -> Statement:
    r"""Read a statement and its header.

    >>> parse("x", "-- Adds.\n-- takes: a integer, b timestamp with time zone\nSELECT $1").takes
    (Column(name='a', type='integer'), Column(name='b', type='timestamp with time zone'))
    """
    header = {match[1]: match[2].strip() for line in text.splitlines() if (match := HEADER.match(line))}
    takes = columns(header.get("takes", ""))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("--")).strip().rstrip(";")
    return Statement(
        name=name,
        text=body,
        takes=takes,
        gives=columns(header.get("gives", "")),
        role=header.get("role", "app"),
        names=tuple(column.name for column in takes),
    )


def columns(declared: str) -> tuple[Column, ...]:
    """The columns of a header line."""
    return tuple(Column(match[1], match[2].strip()) for match in COLUMN.finditer(declared))
