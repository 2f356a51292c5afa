"""Migrations that several processes may start at once: one of them migrates, the others wait and find it done."""

from __future__ import annotations

import pkgutil
from importlib.util import find_spec
from typing import Any, LiteralString

import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.recorder import MigrationRecorder
from psycopg import sql

from menhir.postgres import partitions, roles

LOCK = "SELECT pg_advisory_lock(hashtext('menhir:migrate'))"
OLDEST_SERVER, OLDEST_VECTOR = 16, (0, 8)
THIRD_PARTY = ("contenttypes", "auth", "sessions", "admin", "account", "mfa", "socialaccount", "procrastinate")


class CannotMigrate(Exception):
    """The database, or what we may do in it, is not what Menhir needs; the message says what to change."""


def migrate() -> None:
    """Bring the database up to date as its owner: roles, migrations, grants on other people's tables.

    Raises CannotMigrate where a person must change something first, and else whatever failed: a process that migrates must not exit with 0
    over a half-migrated database.
    """
    try:
        connection = psycopg.connect(roles.conninfo("owner"), autocommit=True)
    except (psycopg.OperationalError, RuntimeError) as e:
        raise CannotMigrate(f"No connection to the database: {_one_line(e)}") from e
    with connection:
        connection.execute(LOCK)  # held until this connection closes
        _must_be_ours(connection)
        _must_have_vector(connection)
        try:
            roles.ensure(connection, secret=settings.SECRET_KEY)
        except PermissionError as e:
            raise CannotMigrate(str(e)) from e
        call_command("migrate", database="owner", interactive=False, verbosity=0)
        _grant_third_party(connection)
        for table, days in settings.MENHIR_KEEP_DAYS.items():
            partitions.keep_for(connection, table, days=days)


def _must_be_ours(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """Refuse a server that is too old, a database that is somebody else's, and one in which we may make nothing."""
    info = connection.info
    if info.server_version // 10_000 < OLDEST_SERVER:
        raise CannotMigrate(f"PostgreSQL {OLDEST_SERVER} or newer is needed; {info.host} runs {info.server_version // 10_000}.")
    (may,) = _row(
        connection,
        "SELECT has_database_privilege(current_database(), 'CREATE') AND has_schema_privilege('public', 'CREATE')",
    )
    if not may:
        raise CannotMigrate(
            f"{info.user} may not make tables in the database {info.dbname}. "
            f"Let a superuser run: ALTER DATABASE {info.dbname} OWNER TO {info.user};"
        )
    (known,) = _row(connection, "SELECT to_regclass('public.django_migrations')")
    if known is not None:
        (ours,) = _row(
            connection, "SELECT NOT EXISTS (SELECT FROM django_migrations) OR EXISTS (SELECT FROM django_migrations WHERE app = 'tenancy')"
        )
        if not ours:
            raise CannotMigrate(f"The database {info.dbname} belongs to another Django project. Give Menhir one of its own.")


def _must_have_vector(connection: psycopg.Connection[tuple[Any, ...]]) -> None:
    """See to it that pgvector is there, or say who must do what."""
    database = connection.info.dbname
    installed, available = _row(
        connection,
        "SELECT (SELECT extversion FROM pg_extension WHERE extname = 'vector'),"
        " (SELECT default_version FROM pg_available_extensions WHERE name = 'vector')",
    )
    if installed is None and available is None:
        version = connection.info.server_version // 10_000
        raise CannotMigrate(f"The PostgreSQL server lacks pgvector. Install it there (Debian: postgresql-{version}-pgvector).")
    if installed is None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg.errors.InsufficientPrivilege as e:
            raise CannotMigrate(f"Let a superuser run in the database {database}: CREATE EXTENSION vector;") from e
        installed = available
    if tuple(int(part) for part in installed.split(".")[:2]) < OLDEST_VECTOR:
        raise CannotMigrate(
            f"pgvector {installed} is too old: 0.8 or newer is needed. "
            f"Install it, and let a superuser run in the database {database}: ALTER EXTENSION vector UPDATE;"
        )


def _row(connection: psycopg.Connection[tuple[Any, ...]], query: LiteralString) -> tuple[Any, ...]:
    row = connection.execute(query).fetchone()
    assert row is not None  # noqa: S101  # a SELECT without FROM has one
    return row


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def pending() -> list[str]:
    """The migrations that the database lacks, as the running role sees it; none when it is ready.

    By their names: to load them takes half a second and 2 MB, which a process that serves would never give back.
    """
    from django.db import connection

    applied = MigrationRecorder(connection).applied_migrations().keys()
    return [f"{label}.{name}" for label, name in sorted(_written() - applied)]


def _written() -> set[tuple[str, str]]:
    """Label and name of every migration that an installed app has."""
    written = set()
    for app in apps.get_app_configs():
        module, _said = MigrationLoader.migrations_module(app.label)
        spec = find_spec(module) if module is not None else None
        folders = spec.submodule_search_locations if spec is not None else None
        for found in pkgutil.iter_modules(folders or ()):
            if not found.ispkg and found.name[0] not in "_~":  # as Django's own loader
                written.add((app.label, found.name))
    return written


def _grant_third_party(connection: psycopg.Connection[tuple[object, ...]]) -> None:
    """Libraries make their tables without a word about roles; they hold no tenant's rows (procrastinate's hold ids only)."""
    app = sql.Identifier(roles.APP)
    for label in THIRD_PARTY:
        for model in apps.get_app_config(label).get_models(include_auto_created=True):
            table = sql.Identifier(model._meta.db_table)  # noqa: SLF001  # Django's documented name for it
            connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(table, app))
    for table_name in ("procrastinate_jobs", "procrastinate_events", "procrastinate_periodic_defers", "procrastinate_workers"):
        connection.execute(sql.SQL("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {}").format(sql.Identifier(table_name), app))
    connection.execute(sql.SQL("GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO {}").format(app))
    connection.execute(sql.SQL("GRANT SELECT ON django_migrations TO {}").format(app))
