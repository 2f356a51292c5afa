"""The stage of every test: a real PostgreSQL, a migrated database of one's own, and the cast.

The server is embedded (or `MENHIR_TEST_DATABASE_URL` names a superuser's database on another). A template database is migrated once
for each state of the migrations; every test process works in a copy of it. Tests commit for real and share that copy: each makes tenants
of its own, which is how the product keeps its users apart, too.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import sys
import tempfile
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

ROOT = Path(__file__).resolve().parents[1]
SECRET = "a secret that only tests know, and long enough for everyone"


def _server() -> str:
    """A superuser's connection string."""
    if given := os.environ.get("MENHIR_TEST_DATABASE_URL"):
        return given
    from menhir.postgres import embedded

    folder = ROOT / ".menhir" / "test-postgres"
    os.environ["MENHIR_TEST_KEEPS_SERVER"] = str(folder)
    embedded.start(
        folder, secret=SECRET, extra={"fsync": "off", "synchronous_commit": "on", "max_connections": "400", "full_page_writes": "off"}
    )
    return embedded.superuser_conninfo(folder, secret=SECRET)


def _fingerprint() -> str:
    """Changes when a migration, or the code that migrations call, does."""
    digest = hashlib.sha256()
    for path in sorted(
        [
            *ROOT.glob("migrations/*/*.py"),
            ROOT / "platform/menhir/tenancy/tables.py",
            ROOT / "platform/menhir/postgres/roles.py",
            ROOT / "platform/menhir/postgres/partitions.py",
        ]
    ):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def _create(superuser: str, name: str, *, template: str | None = None) -> None:
    with psycopg.connect(superuser, autocommit=True) as connection:
        words = sql.SQL("CREATE DATABASE {} OWNER menhir_owner").format(sql.Identifier(name))
        if template:
            words += sql.SQL(" TEMPLATE {}").format(sql.Identifier(template))
        connection.execute(words)
    if not template:
        with psycopg.connect(superuser, dbname=name, autocommit=True) as inside:
            inside.execute("CREATE EXTENSION IF NOT EXISTS vector")


def _prepare() -> None:
    superuser = _server()
    template, name = f"menhir_template_{_fingerprint()}", f"menhir_test_{os.getpid()}_{secrets.token_hex(3)}"
    parts = psycopg.conninfo.conninfo_to_dict(superuser)
    owner = {**parts, "user": "menhir_owner", "password": _owner_password()}
    with psycopg.connect(superuser, autocommit=True) as guard:
        guard.execute("SELECT pg_advisory_lock(hashtext('menhir:test-template'))")
        exists = guard.execute("SELECT datistemplate FROM pg_database WHERE datname = %s", [template]).fetchone()
        if exists is None or not exists[0]:
            guard.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(template)))
            for (old,) in guard.execute(
                "SELECT datname FROM pg_database WHERE datname LIKE 'menhir_template_%' AND datistemplate"
            ).fetchall():
                if not os.environ.get("MENHIR_TEST_KEEP_TEMPLATES"):
                    guard.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE false").format(sql.Identifier(old)))
                    guard.execute(sql.SQL("DROP DATABASE IF EXISTS {}").format(sql.Identifier(old)))
            _create(superuser, template)
            _migrate(make_conninfo(**{**owner, "dbname": template}))
            guard.execute(sql.SQL("ALTER DATABASE {} IS_TEMPLATE true").format(sql.Identifier(template)))
        _create(superuser, name, template=template)
    os.environ.pop("MENHIR_APP_DATABASE_URL", None)
    os.environ.pop("MENHIR_GATEWAY_DATABASE_URL", None)
    os.environ.update(
        DATABASE_URL=make_conninfo(**{**owner, "dbname": name}),
        MENHIR_SECRET_KEY=SECRET,
        MENHIR_HOME=tempfile.mkdtemp(prefix="menhir-test-"),
        MENHIR_TEST_SUPERUSER=superuser,
        MENHIR_TEST_DATABASE=name,
        MENHIR_LOG_LEVEL="WARNING",
    )


def _owner_password() -> str:
    from menhir.postgres import embedded, roles

    return roles.password_of(embedded.OWNER, secret=SECRET)


def _migrate(owner: str) -> None:
    """In a process of its own, as a deployment does: this one must not read settings that name the template."""
    import subprocess

    home = tempfile.mkdtemp(prefix="menhir-test-")
    subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "migrate_all"],
        env={**os.environ, "DATABASE_URL": owner, "MENHIR_SECRET_KEY": SECRET, "MENHIR_HOME": home},
        check=True,
        cwd=ROOT,
    )


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """What is no test is not looked into for doctests: some of it is a program of its own."""
    is_support = collection_path.suffix == ".py" and not collection_path.name.startswith("test_") and collection_path.name != "conftest.py"
    return True if is_support and collection_path.is_relative_to(ROOT / "tests") else None


def pytest_unconfigure(config: pytest.Config) -> None:
    """Drop our copy; the server stops with the last test process that uses it."""
    if name := os.environ.get("MENHIR_TEST_DATABASE"):
        with psycopg.connect(os.environ["MENHIR_TEST_SUPERUSER"], autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


_prepare()
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "menhir.wiring.settings")
import django  # noqa: E402

django.setup()

pytest_plugins = ["stage.cast", "stage.fresh", "stage.served", "stage.servers"]


@pytest.fixture(scope="session")
def superuser() -> str:
    """A superuser's connection to this process's database: for tests that cut connections or look behind row-level security."""
    return make_conninfo(os.environ["MENHIR_TEST_SUPERUSER"], dbname=os.environ["MENHIR_TEST_DATABASE"])


@pytest.fixture(scope="session")
def documents_folder() -> Path:
    """Real files to read; skips where the shared data is absent."""
    folder = Path(os.environ.get("MENHIR_TEST_DATA") or ROOT.parent / "shared" / "data") / "documents"
    if not folder.is_dir():
        pytest.skip("the shared test data is not on this machine (MENHIR_TEST_DATA)")
    return folder
