"""Doorbells: NOTIFY from the application (there are no triggers on tenant tables).

A payload says that something happened and where to look, never what: it must stay under 8,000 bytes, and nobody re-reads a lost one.
"""

from __future__ import annotations

from typing import Any

from django.db import connection
from psycopg import AsyncConnection

MOST_BYTES = 7_999


def now(channel: str, payload: str = "") -> None:
    """Ring at the commit of Django's current transaction, at once outside of one."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [channel, payload])


async def send(conn: AsyncConnection[Any], channel: str, payload: str = "") -> None:
    """Ring at the commit of `conn`'s transaction, at once outside of one."""
    await conn.execute("SELECT pg_notify(%s, %s)", [channel, payload])
