"""The wrapper that Django loads by `ENGINE = "menhir.postgres.backend"`."""

from __future__ import annotations

from django.db.backends.postgresql import base
from django.db.backends.postgresql.features import DatabaseFeatures as PostgresFeatures
from django.db.backends.postgresql.operations import DatabaseOperations as PostgresOperations
from django.db.backends.postgresql.schema import DatabaseSchemaEditor as PostgresSchemaEditor


class DatabaseFeatures(PostgresFeatures):
    """Grouping names every selected column."""

    # Django takes `id` for the primary key, from which the other columns would follow; in the database the key is (tenant_id, id).
    allows_group_by_selected_pks = False


class DatabaseOperations(PostgresOperations):
    """Foreign keys are checked at once; bulk inserts are plain VALUES."""

    compiler_module = "menhir.postgres.backend.compiler"

    def deferrable_sql(self) -> str:
        """Nothing: Citus has no deferrable foreign keys, and an error at the statement names the statement."""
        return ""


class DatabaseSchemaEditor(PostgresSchemaEditor):
    """Leaves out the foreign keys that `TenantTables` makes on both columns."""

    # Django defers a foreign key by adding it after a SET CONSTRAINTS that an immediate one does not need.
    sql_update_with_default = PostgresSchemaEditor.sql_update_with_default.replace("; SET CONSTRAINTS ALL IMMEDIATE", "")
    sql_create_column_inline_fk = None  # type: ignore[assignment]  # a constraint of its own, with a name that errors can quote


class DatabaseWrapper(base.DatabaseWrapper):
    """One connection of a login role; which one is said by its settings."""

    features_class = DatabaseFeatures
    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor
