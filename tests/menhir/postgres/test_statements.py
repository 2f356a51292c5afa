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
        if statement.gives:
            _executes(connection, statement)


def _known(connection, name):
    return connection.execute("SELECT %s::regtype::text", [name]).fetchone()[0]


def _executes(connection, statement):
    """Plan it with nulls: the role must have the privileges, and the columns must have the names."""
    nulls = ", ".join("NULL" for _column in statement.takes)
    call = f"EXECUTE examined({nulls})" if nulls else "EXECUTE examined"
    if not statement.text.lstrip().upper().startswith(("SELECT", "WITH")):
        return
    with connection.transaction(force_rollback=True):
        try:
            cursor = connection.execute(call.encode())
        except psycopg.errors.InsufficientPrivilege:
            raise
        except psycopg.Error:
            return  # nulls are not what it is made for
        assert [column.name for column in cursor.description or []] == [column.name for column in statement.gives]
