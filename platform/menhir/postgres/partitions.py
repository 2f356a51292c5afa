"""Tables cut by day: partitions are made before their day comes and dropped when it is long gone.

`DayPartitions` in a migration registers a table that is PARTITION BY RANGE over a date or a timestamptz (days are UTC days). From then
on any running role may call `ensure` and `drop_old`: SECURITY DEFINER functions that belong to the tables' owner, touch registered
tables only, and take the number of days to keep from the register, never from the caller. There is no DEFAULT partition: what falls
into it would keep the day's own partition from being made.

A partition gets no grants, and row-level security without a policy: whoever goes around its parent finds nothing.
"""

from __future__ import annotations

from typing import Any

import psycopg
from django.db.migrations.operations.base import Operation

from menhir.postgres import sql
from menhir.postgres.line import Line
from menhir.postgres.roles import APP, GATEWAY

DAYS_AHEAD = 3

ENSURE = sql.load(__package__, "ensure_day_partitions")
DROP_OLD = sql.load(__package__, "drop_old_day_partitions")

REGISTER = """
CREATE TABLE IF NOT EXISTS menhir.day_partitions (
    parent text PRIMARY KEY,
    keep_days integer NOT NULL CHECK (keep_days > 0)
)
"""
ENSURE_FUNCTION = """
CREATE OR REPLACE FUNCTION menhir.ensure_day_partitions(parent text, days_ahead integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '5s' AS $$
DECLARE
    day date;
    last_day CONSTANT date := current_date + least(days_ahead, 366);
    partition text;
    made integer := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM menhir.day_partitions AS p WHERE p.parent = ensure_day_partitions.parent) THEN
        RAISE EXCEPTION '% is not registered as partitioned by day', parent USING ERRCODE = 'insufficient_privilege';
    END IF;
    FOR day IN SELECT d::date FROM generate_series(current_date - 1, last_day, '1 day') AS d LOOP
        partition := format('%s_%s', parent, to_char(day, 'YYYYMMDD'));
        CONTINUE WHEN to_regclass(format('public.%I', partition)) IS NOT NULL;
        -- Many processes start at once; only the first of them makes it. The lock is on a table, not an advisory one: taking it makes
        -- this session hear what others did to the catalogue, or the look below would be answered by what it remembers.
        LOCK TABLE menhir.day_partitions IN SHARE ROW EXCLUSIVE MODE;
        CONTINUE WHEN to_regclass(format('public.%I', partition)) IS NOT NULL;
        -- Made apart and then attached: PARTITION OF would lock out readers of the parent.
        EXECUTE format(
            'CREATE TABLE public.%I (LIKE public.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING STORAGE)', partition, parent);
        EXECUTE format('ALTER TABLE public.%I ENABLE ROW LEVEL SECURITY', partition);
        EXECUTE format('ALTER TABLE public.%I FORCE ROW LEVEL SECURITY', partition);
        EXECUTE format('ALTER TABLE public.%I ATTACH PARTITION public.%I FOR VALUES FROM (%L) TO (%L)', parent, partition, day, day + 1);
        made := made + 1;
    END LOOP;
    RETURN made;
END
$$
"""
DROP_OLD_FUNCTION = """
CREATE OR REPLACE FUNCTION menhir.drop_old_day_partitions(parent text) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = public, pg_temp SET timezone = 'UTC' SET lock_timeout = '2s' AS $$
DECLARE
    oldest CONSTANT date := current_date - (
        SELECT p.keep_days FROM menhir.day_partitions AS p WHERE p.parent = drop_old_day_partitions.parent);
    partition text;
    dropped integer := 0;
BEGIN
    FOR partition IN
        SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
        WHERE i.inhparent = to_regclass(format('public.%I', parent))
            AND to_date(right(c.relname, 8), 'YYYYMMDD') < oldest
    LOOP
        EXECUTE format('DROP TABLE public.%I', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END
$$
"""
FUNCTIONS = {
    "menhir.ensure_day_partitions(text, integer)": ENSURE_FUNCTION,
    "menhir.drop_old_day_partitions(text)": DROP_OLD_FUNCTION,
}


class DayPartitions(Operation):
    """Register a table as cut by day, and make its first partitions. `keep_days` is how long a day is kept after it has passed."""

    reversible = True

    def __init__(self, table: str, *, keep_days: int) -> None:
        self.table, self.keep_days = table, keep_days

    def deconstruct(self) -> tuple[str, Any, Any]:
        return type(self).__name__, [self.table], {"keep_days": self.keep_days}

    def describe(self) -> str:
        return f"Day partitions of {self.table}"

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        # Whichever table comes first brings the functions with it.
        schema_editor.execute(REGISTER)
        for signature, text in FUNCTIONS.items():
            schema_editor.execute(text, params=None)
            schema_editor.execute(f"REVOKE ALL ON FUNCTION {signature} FROM PUBLIC")
            schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {signature} TO {APP}, {GATEWAY}")
        schema_editor.execute(
            "INSERT INTO menhir.day_partitions VALUES (%s, %s) ON CONFLICT (parent) DO UPDATE SET keep_days = excluded.keep_days",
            [self.table, self.keep_days],
        )
        schema_editor.execute("SELECT menhir.ensure_day_partitions(%s, %s)", [self.table, DAYS_AHEAD])

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        schema_editor.execute("DELETE FROM menhir.day_partitions WHERE parent = %s", [self.table])


def keep_for(connection: psycopg.Connection[Any], table: str, *, days: int) -> None:
    """Say, as the owner, for how long a registered table keeps a day."""
    connection.execute("UPDATE menhir.day_partitions SET keep_days = %s WHERE parent = %s", [days, table])


async def ensure(line: Line, table: str, *, days_ahead: int = DAYS_AHEAD) -> int:
    """Make the partitions from yesterday to so many days ahead where they are missing; how many were made."""
    row = await line.one(ENSURE, parent=table, days_ahead=days_ahead)
    return int(row.made) if row else 0


async def drop_old(line: Line, table: str) -> int:
    """Drop the partitions of days that need no longer be kept; how many were dropped."""
    row = await line.one(DROP_OLD, parent=table)
    return int(row.dropped) if row else 0
