"""Settings that are missing or nonsense are named before anything is started."""

from __future__ import annotations

import os
import subprocess
import sys

import psycopg
import pytest
from django.core.exceptions import ImproperlyConfigured
from procrastinate.exceptions import ConnectorException

from menhir.wiring import environment
from menhir.wiring.refusals import status_for

from stage.servers import ROOT


def _said(*command: str, **environment: str) -> str:
    """The one line of a command that cannot start."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MENHIR_", "DATABASE_URL"))}
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), *command],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 1
    (line,) = (done.stdout + done.stderr).splitlines()
    return line


def test_processes_with_homes_of_their_own_must_be_given_the_keys(tmp_path):
    database = "postgresql://menhir_app:secret@db.example.com/menhir"
    said = _said("web", MENHIR_HOME=str(tmp_path), MENHIR_APP_DATABASE_URL=database)
    assert "MENHIR_SECRET_KEY is not set" in said
    said = _said("web", MENHIR_HOME=str(tmp_path), MENHIR_APP_DATABASE_URL=database, MENHIR_SECRET_KEY="x" * 50)
    assert "MENHIR_MASTER_KEYS is not set" in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "abc"),
        ("PORT", "70000"),
        ("MENHIR_LOG_LEVEL", "loud"),
        ("MENHIR_MASTER_KEYS", "c2hvcnQ="),
        ("MENHIR_WORKER_METRICS", "here"),
        ("MENHIR_WORKER_METRICS", "70000"),
        ("MENHIR_EMBEDDER_METRICS", "metrics.example.com:9101"),
    ],
)
def test_nonsense_is_named(tmp_path, name, value):
    assert name in _said("web", **{"MENHIR_HOME": str(tmp_path), name: value})


def test_a_tenant_is_made_only_where_there_is_a_database(tmp_path):
    assert "set DATABASE_URL, or run `make up`" in _said(
        "tenant", "create", "acme", "--owner", "alice@example.com", MENHIR_HOME=str(tmp_path)
    )


def test_a_job_that_cannot_be_queued_while_the_database_is_away_is_no_fault_of_ours():
    error = ConnectorException()
    error.__cause__ = psycopg.OperationalError("the connection is closed")
    assert (status_for(error), status_for(ConnectorException())) == (503, None)


@pytest.mark.parametrize(
    ("given", "address"),
    [("", None), ("9101", ("127.0.0.1", 9101)), ("10.0.0.7:9101", ("10.0.0.7", 9101)), ("[::1]:9101", ("::1", 9101))],
)
def test_an_address_is_this_machines_unless_it_says_otherwise(monkeypatch, given, address):
    monkeypatch.setenv("MENHIR_WORKER_METRICS", given)
    assert environment.address("MENHIR_WORKER_METRICS") == address


@pytest.mark.parametrize("given", ["handbook", ""])
def test_a_folder_is_there_or_refused(monkeypatch, tmp_path, given):
    monkeypatch.setenv("MENHIR_DOCUMENTATION", given and str(tmp_path / given))
    if given:
        with pytest.raises(ImproperlyConfigured, match="MENHIR_DOCUMENTATION must be a folder"):
            environment.folder("MENHIR_DOCUMENTATION")
        (tmp_path / given).mkdir()
    assert environment.folder("MENHIR_DOCUMENTATION") == (tmp_path / given if given else None)
