"""Every statement in a `.sql` file is prepared against the migrated schema, as the role that runs it; its header must tell the truth."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from menhir.postgres import sql
from menhir.postgres.roles import conninfo

ROOT = Path(__file__).resolve().parents[3]
FILES = sorted(path for folder in ("platform", "apps") for path in (ROOT / folder).rglob("queries/*.sql"))
PREPARED = "SELECT parameter_types::text[], result_types::text[] FROM pg_prepared_statements WHERE name = 'examined'"


def test_there_are_statements():
    assert FILES


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parents[1].name}/{path.stem}")
def test_header_tells_the_truth(path):
    statement = sql.parse(path.stem, path.read_text(encoding="utf-8"))
    assert path.read_text(encoding="utf-8").startswith("-- "), "a sentence above says what it is for"
    with psycopg.connect(conninfo(statement.role)) as connection:
        declared = ", ".join(column.type for column in statement.takes)
        types = f"({declared})" if declared else ""
        connection.execute(f"PREPARE examined{types} AS {statement.text}".encode())
        parameters, results = connection.execute(PREPARED).fetchone()
        assert len(parameters) == len(statement.takes)
        assert [_known(connection, column.type) for column in statement.gives] == [_known(connection, name) for name in results or []]
        described = connection.pgconn.describe_prepared(b"examined")
        assert [described.fname(column).decode() for column in range(described.nfields)] == [column.name for column in statement.gives]
        _is_allowed(connection, statement)


def _known(connection, name):
    return connection.execute("SELECT %s::regtype::text", [name]).fetchone()[0]


def _is_allowed(connection, statement):
    """Planning it for real asks for the privileges of its role; nothing is executed."""
    nulls = ", ".join("NULL" for _column in statement.takes)
    connection.execute(f"EXPLAIN EXECUTE examined{f'({nulls})' if nulls else ''}".encode())
