"""Migrating: once for many, and never a success that was none."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

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
