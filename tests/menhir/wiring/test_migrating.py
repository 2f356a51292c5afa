"""Migrating: once for many, and never a success that was none."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from stage.servers import Server, answers, eventually, free_port

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def empty(superuser):
    """A database with nothing in it, and the environment of a process that shall migrate it."""
    name = f"{os.environ['MENHIR_TEST_DATABASE']}_empty"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(name)))
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER menhir_owner").format(sql.Identifier(name)))
        with psycopg.connect(superuser, dbname=name, autocommit=True) as inside:
            inside.execute("CREATE EXTENSION vector")
        yield {**os.environ, "DATABASE_URL": make_conninfo(os.environ["DATABASE_URL"], dbname=name)}
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


def _migrate(environment):
    return subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "migrate_all"], env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE
    )


@pytest.mark.slow
def test_several_at_once_migrate_once(empty):
    processes = [_migrate(empty) for _number in range(3)]
    results = [(process.communicate(timeout=120), process.returncode) for process in processes]
    assert [code for _output, code in results] == [0, 0, 0], results
    with psycopg.connect(empty["DATABASE_URL"]) as connection:
        twice = connection.execute("SELECT app, name FROM django_migrations GROUP BY 1, 2 HAVING count(*) > 1").fetchall()
    assert twice == []


@pytest.mark.slow
def test_how_long_days_are_kept_is_a_setting(empty):
    for days in ("7", "3"):
        process = _migrate({**empty, "MENHIR_RESPONSES_KEEP_DAYS": days, "MENHIR_LEDGER_KEEP_DAYS": f"10{days}"})
        output = process.communicate(timeout=120)
        assert process.returncode == 0, output
        with psycopg.connect(empty["DATABASE_URL"]) as connection:
            kept = dict(connection.execute("SELECT parent, keep_days FROM menhir.day_partitions").fetchall())
        assert kept["assistants_response"] == int(days)
        assert kept["metering_call"] == kept["metering_settlement"] == int(f"10{days}")


@pytest.mark.slow
def test_a_failing_migration_exits_with_an_error(empty):
    with psycopg.connect(empty["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE tenancy_tenant (in_the_way int)")
    process = _migrate(empty)
    _output, errors = process.communicate(timeout=120)
    assert process.returncode != 0
    assert b"tenancy_tenant" in errors


def test_a_folder_of_migrations_that_is_no_package_is_refused(settings_root):
    from menhir.postgres.checks import migrations_are_packages

    (settings_root / "migrations" / "forgotten").mkdir(parents=True)
    assert ["forgotten" in str(message) for message in migrations_are_packages(None)] == [True]


@pytest.fixture
def settings_root(tmp_path):
    """The project's root, moved to an empty folder for one test."""
    from django.test import override_settings

    with override_settings(BASE_DIR=tmp_path):
        yield tmp_path


def test_models_and_migrations_agree():
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "makemigrations", "--check", "--dry-run"],
        env=os.environ,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout.decode()


def _refusal(environment):
    """The one line of a process that may not migrate."""
    process = _migrate(environment)
    _output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    (line,) = errors.decode().splitlines()
    return line


def _as(environment, role):
    return {**environment, "DATABASE_URL": make_conninfo(environment["DATABASE_URL"], user=role, password="x")}


@pytest.fixture
def somebody(empty, superuser):
    """A login role that may do nothing in particular, and the environment of a process that migrates as it."""
    role = f"somebody_{os.getpid()}"
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE ROLE {} LOGIN PASSWORD 'x'").format(sql.Identifier(role)))
        yield role, _as(empty, role)
        with psycopg.connect(
            superuser, dbname=psycopg.conninfo.conninfo_to_dict(empty["DATABASE_URL"])["dbname"], autocommit=True
        ) as inside:
            inside.execute(sql.SQL("REASSIGN OWNED BY {} TO menhir_owner").format(sql.Identifier(role)))
            inside.execute(sql.SQL("DROP OWNED BY {}").format(sql.Identifier(role)))
        connection.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(role)))


def _own(superuser, environment, role):
    name = psycopg.conninfo.conninfo_to_dict(environment["DATABASE_URL"])["dbname"]
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER DATABASE {} OWNER TO {}").format(sql.Identifier(name), sql.Identifier(role)))


def test_a_database_that_is_not_there_is_named(empty):
    assert 'database "nowhere" does not exist' in _refusal(
        {**empty, "DATABASE_URL": make_conninfo(empty["DATABASE_URL"], dbname="nowhere")}
    )


def test_a_user_who_may_make_no_tables_is_told_what_to_do(somebody):
    role, environment = somebody
    assert f"OWNER TO {role};" in _refusal(environment)


def test_an_owner_who_may_not_make_roles_is_told_what_to_do(somebody, superuser):
    role, environment = somebody
    _own(superuser, environment, role)
    assert f'ALTER ROLE "{role}" CREATEROLE;' in _refusal(environment)


def test_the_roles_of_another_installation_are_not_taken_over(somebody, superuser):
    role, environment = somebody
    _own(superuser, environment, role)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute(sql.SQL("ALTER ROLE {} CREATEROLE").format(sql.Identifier(role)))
    assert "made by somebody else" in _refusal(environment)


def test_who_must_install_pgvector_is_said(empty, superuser):
    with psycopg.connect(empty["DATABASE_URL"], autocommit=True) as connection:
        name = connection.info.dbname
    with psycopg.connect(superuser, dbname=name, autocommit=True) as connection:
        connection.execute("DROP EXTENSION vector")
    assert f"in the database {name}: CREATE EXTENSION vector;" in _refusal(empty)


def test_somebody_elses_project_is_left_alone(empty):
    with psycopg.connect(empty["DATABASE_URL"], autocommit=True) as connection:
        connection.execute("CREATE TABLE django_migrations (id bigserial PRIMARY KEY, app text, name text, applied timestamptz)")
        connection.execute("INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0001_initial', now())")
    assert "belongs to another Django project" in _refusal(empty)


@pytest.mark.slow
def test_an_owner_of_ones_own_without_superuser_is_enough(tmp_path):
    from menhir.postgres import embedded, guard

    folder = tmp_path / "postgres"
    embedded.start(folder, secret="another server's secret")
    try:
        superuser = embedded.superuser_conninfo(folder, secret="another server's secret")
        with psycopg.connect(superuser, autocommit=True) as connection:
            connection.execute("CREATE ROLE acme_dba LOGIN CREATEROLE NOSUPERUSER PASSWORD 'x'")
            connection.execute("CREATE DATABASE acme OWNER acme_dba")
        with psycopg.connect(superuser, dbname="acme", autocommit=True) as connection:
            connection.execute("CREATE EXTENSION vector")
        environment = {**os.environ, "DATABASE_URL": make_conninfo(superuser, dbname="acme", user="acme_dba", password="x")}
        for _time in range(2):
            process = _migrate(environment)
            _output, errors = process.communicate(timeout=120)
            assert process.returncode == 0, errors.decode()
        asked = subprocess.run(
            [sys.executable, str(ROOT / "manage.py"), "tenant", "create", "acme", "--owner", "alice@example.com", "--json"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert '"tenant": "acme"' in asked.stdout, asked.stderr
    finally:
        guard.stop(folder)


@pytest.mark.slow
def test_web_waits_for_the_migrations_and_begins_by_itself(empty, tmp_path):
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    server = Server("web", ["--port", str(port)], {**empty, "MENHIR_LOG_LEVEL": "INFO"}, f"{url}/healthz", tmp_path / "web.log")
    server.start()
    try:
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(f"{url}/readyz", timeout=10)
        assert refused.value.code == 503
        assert json.loads(refused.value.read())["checks"]["migrations"] is False
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(urllib.request.Request(f"{url}/v1/models", headers={"Authorization": "Bearer mh_live_x"}), timeout=10)
        assert refused.value.code in {401, 503}
        said = [line for line in server.log.read_text().splitlines() if "migrate_all" in line]
        assert len(said) == 1, server.log.read_text()
        assert _migrate(empty).wait(timeout=120) == 0
        eventually(lambda: answers(f"{url}/readyz"), what="web being ready")
    finally:
        server.stop()
    assert server.process.returncode == 0
