"""The first tenant: made whole, described truly, whatever happens in between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from menhir.tenancy.models.key import hash_of

from stage.servers import ROOT, eventually

pytestmark = pytest.mark.slow


@pytest.fixture
def database(superuser):
    """A migrated database without a tenant; its name."""
    name = f"{os.environ['MENHIR_TEST_DATABASE']}_first"
    with psycopg.connect(superuser, autocommit=True) as connection:
        (template,) = connection.execute(
            "SELECT datname FROM pg_database WHERE datname LIKE 'menhir_template_%' AND datistemplate"
        ).fetchone()
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))
        connection.execute(
            sql.SQL("CREATE DATABASE {} OWNER menhir_owner TEMPLATE {}").format(sql.Identifier(name), sql.Identifier(template))
        )
        yield name
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture
def prepare(database, tmp_path):
    """Begins `manage.py prepare` in a home of its own."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OPENAI_")}
    environment |= {
        "DATABASE_URL": make_conninfo(os.environ["DATABASE_URL"], dbname=database),
        "MENHIR_HOME": str(tmp_path),
        "PORT": "8123",
    }
    running = []

    def begin(**more: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, str(ROOT / "manage.py"), "prepare"]
        running.append(subprocess.Popen(command, env={**environment, **more}, stderr=subprocess.PIPE))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def _finish(process: subprocess.Popen[bytes]) -> None:
    _output, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors.decode()


def _tenants_and_people(superuser: str, database: str) -> tuple[int, int, int]:
    with psycopg.connect(superuser, dbname=database) as connection:
        return connection.execute(
            "SELECT (SELECT count(*) FROM tenancy_tenant), (SELECT count(*) FROM identity_user), (SELECT count(*) FROM tenancy_apikey)"
        ).fetchone()


def _is_true(superuser: str, database: str, home: Path) -> bool:
    """Whether the description's key is in the database."""
    key = json.loads((home / "first-tenant.json").read_text())["api_key"]
    with psycopg.connect(superuser, dbname=database) as connection:
        return connection.execute("SELECT FROM tenancy_apikey WHERE hash = %s", [hash_of(key)]).fetchone() is not None


def test_killed_in_the_middle_it_leaves_nothing_and_the_next_completes_it(prepare, superuser, database, tmp_path):
    with psycopg.connect(superuser, dbname=database) as blocking:
        blocking.execute("LOCK TABLE assistants_assistant IN ACCESS EXCLUSIVE MODE")
        process = prepare()
        with psycopg.connect(superuser, autocommit=True) as watching:
            waiting = "SELECT 1 FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock' AND usename = 'menhir_app'"
            eventually(lambda: watching.execute(waiting, [database]).fetchone(), what="the provisioning being stuck")
        process.send_signal(signal.SIGKILL)
        process.wait()
    eventually(lambda: _tenants_and_people(superuser, database) == (0, 0, 0), what="everything being taken back")
    assert not (tmp_path / "first-tenant.json").exists()
    _finish(prepare())
    assert _tenants_and_people(superuser, database) == (1, 1, 1)
    assert _is_true(superuser, database, tmp_path)


def test_killed_right_after_the_commit_the_description_is_found(prepare, superuser, database, tmp_path):
    _finish(prepare())
    described = (tmp_path / "first-tenant.json").read_text()
    (tmp_path / "first-tenant.json").rename(tmp_path / "first-tenant.draft")  # what a kill between commit and renaming leaves
    _finish(prepare())
    assert (tmp_path / "first-tenant.json").read_text() == described
    assert (tmp_path / "first-tenant.json").stat().st_mode & 0o777 == 0o600
    assert _tenants_and_people(superuser, database) == (1, 1, 1)


def test_a_description_of_another_database_is_put_aside(prepare, superuser, database, tmp_path):
    stale = {"base_url": "http://127.0.0.1:8123", "tenant": "first", "email": "a@b.c", "password": "x", "api_key": "mh_live_of-another"}
    (tmp_path / "first-tenant.json").write_text(json.dumps(stale))
    _finish(prepare())
    assert _is_true(superuser, database, tmp_path)
    assert json.loads((tmp_path / "first-tenant.old.json").read_text()) == stale


def test_the_next_start_says_where_it_can_be_reached_now(prepare, tmp_path):
    _finish(prepare())
    before = json.loads((tmp_path / "first-tenant.json").read_text())
    _finish(prepare(PORT="8124"))
    assert json.loads((tmp_path / "first-tenant.json").read_text()) == {**before, "base_url": "http://127.0.0.1:8124"}


def test_two_at_once_make_one(prepare, superuser, database, tmp_path):
    for process in [prepare(), prepare()]:
        _finish(process)
    assert _tenants_and_people(superuser, database) == (1, 1, 1)
    assert _is_true(superuser, database, tmp_path)


def test_its_assistant_answers_from_the_operators_documentation(prepare, superuser, database, tmp_path):
    pages = tmp_path / "handbook"
    (pages / "more").mkdir(parents=True)
    (pages / "keys.md").write_text("# Keys\n\nThey hang in the hall.")
    (pages / "more" / "doors.md").write_text("They stand open.")
    (pages / "notes.txt").write_text("Not a page.")
    _finish(prepare(MENHIR_DOCUMENTATION=str(pages)))
    with psycopg.connect(superuser, dbname=database) as connection:
        found = connection.execute("SELECT external_id, title FROM knowledge_document ORDER BY 1").fetchall()
        (variables,) = connection.execute("SELECT variables FROM assistants_assistant").fetchone()
    assert found == [("keys.md", "Keys"), ("more/doors.md", "doors")]
    assert variables == {"product": "First tenant"}
