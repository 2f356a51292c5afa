"""Migrations that several processes may start at once: one of them migrates, the others wait and find it done."""

from __future__ import annotations

import psycopg
from django.apps import apps
from django.conf import settings
from django.core.management import call_command
from psycopg import sql

from menhir.postgres import roles

LOCK = "SELECT pg_advisory_lock(hashtext('menhir:migrate'))"
THIRD_PARTY = ("contenttypes", "auth", "sessions", "admin", "account", "mfa", "socialaccount", "procrastinate")


def migrate() -> None:
    """Bring the database up to date as its owner: roles, migrations, grants on other people's tables.

    Raises whatever failed: a process that migrates must not exit with 0 over a half-migrated database.
    """
    with psycopg.connect(roles.conninfo("owner"), autocommit=True) as connection:
        connection.execute(LOCK)  # held until this connection closes
        roles.ensure(connection, secret=settings.SECRET_KEY)
        call_command("migrate", database="owner", interactive=False, verbosity=0)
        _grant_third_party(connection)


def pending() -> list[str]:
    """The migrations that the database lacks, as the running role sees it; none when it is ready."""
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    return [
        f"{migration.app_label}.{migration.name}" for migration, _backwards in executor.migration_plan(executor.loader.graph.leaf_nodes())
    ]


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
