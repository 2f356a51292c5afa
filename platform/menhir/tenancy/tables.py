"""Migration operations that turn a bare table into a tenant's: composite keys, row-level security, grants (DESIGN §5 and §9)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from django.db.migrations.operations.base import Operation

from menhir.postgres.roles import APP, DEFINER, GATEWAY
from menhir.tenancy.models.fields import TenantForeignKey

ALL = "SELECT, INSERT, UPDATE, DELETE"
POLICY = "tenant_isolation"
Distribute = Callable[[Any, str], None]


def nowhere(schema_editor: Any, table: str) -> None:
    """Without Citus a table stays where it is."""


class _DatabaseOnly(Operation):
    """An operation on the database that Django's state does not know of."""

    reversible = True

    def state_forwards(self, app_label: str, state: Any) -> None:
        pass

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        """Nothing: the table itself goes next."""


class TenantTables(_DatabaseOnly):
    """Make composite keys, policies and grants for models of this migration, after their CreateModel.

    `app`, `gateway` and `definer` are the privileges of those roles on the tables. The gateway and the definer look across tenants:
    they get a permissive policy for exactly what they are granted.
    """

    def __init__(self, *models: str, app: str = ALL, gateway: str = "", definer: str = "", distribute: Distribute = nowhere) -> None:
        self.models, self.app, self.gateway, self.definer, self.distribute = models, app, gateway, definer, distribute

    def deconstruct(self) -> tuple[str, Any, Any]:
        return type(self).__name__, list(self.models), {"app": self.app, "gateway": self.gateway, "definer": self.definer}

    def describe(self) -> str:
        return f"Tenant tables: {', '.join(self.models)}"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        models = [to_state.apps.get_model(app_label, name) for name in self.models]
        # The order is Citus': bare tables, distribution, foreign keys between them, then the rest.
        for model in models:
            schema_editor.execute(f'ALTER TABLE "{model._meta.db_table}" DROP CONSTRAINT "{model._meta.db_table}_pkey"')
            schema_editor.execute(f'ALTER TABLE "{model._meta.db_table}" ADD PRIMARY KEY (tenant_id, id)')
        for model in models:
            self.distribute(schema_editor, model._meta.db_table)
        for model in models:
            for statement in foreign_keys(model):
                schema_editor.execute(statement)
        for model in models:
            for statement in row_security(model._meta.db_table, app=self.app, gateway=self.gateway, definer=self.definer):
                schema_editor.execute(statement)


class TenantForeignKeys(_DatabaseOnly):
    """Add the composite constraint of TenantForeignKeys that a later migration added to a table."""

    def __init__(self, model: str, *fields: str) -> None:
        self.model, self.fields = model, fields

    def deconstruct(self) -> tuple[str, Any, Any]:
        return type(self).__name__, [self.model, *self.fields], {}

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        for statement in foreign_keys(to_state.apps.get_model(app_label, self.model), only=self.fields):
            schema_editor.execute(statement)


class RowSecurity(_DatabaseOnly):
    """Policies and grants for a table made by RunSQL, such as a partitioned one. Its keys are that SQL's own affair."""

    def __init__(self, table: str, *, app: str = ALL, gateway: str = "", definer: str = "") -> None:
        self.table, self.app, self.gateway, self.definer = table, app, gateway, definer

    def deconstruct(self) -> tuple[str, Any, Any]:
        return type(self).__name__, [self.table], {"app": self.app, "gateway": self.gateway, "definer": self.definer}

    def describe(self) -> str:
        return f"Row-level security of {self.table}"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        for statement in row_security(self.table, app=self.app, gateway=self.gateway, definer=self.definer):
            schema_editor.execute(statement)


class Grant(_DatabaseOnly):
    """Privileges on a table that belongs to no tenant."""

    def __init__(self, table: str, *, app: str = "", gateway: str = "", definer: str = "") -> None:
        self.table, self.app, self.gateway, self.definer = table, app, gateway, definer

    def deconstruct(self) -> tuple[str, Any, Any]:
        return type(self).__name__, [self.table], {"app": self.app, "gateway": self.gateway, "definer": self.definer}

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        for statement in grants(self.table, app=self.app, gateway=self.gateway, definer=self.definer):
            schema_editor.execute(statement)


class DefinerFunction(_DatabaseOnly):
    """Create a SECURITY DEFINER function, hand it to `menhir_definer`, and let only the named roles execute it.

    `signature` is what ALTER FUNCTION wants: `menhir.find_key(bytea)`.
    """

    def __init__(self, signature: str, sql: str, *, execute: str = APP) -> None:
        self.signature, self.sql, self.execute = signature, sql, execute

    def deconstruct(self) -> tuple[str, Any, Any]:
        return type(self).__name__, [self.signature, self.sql], {"execute": self.execute}

    def describe(self) -> str:
        return f"Function {self.signature}"

    def database_forwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        schema_editor.execute(self.sql, params=None)
        schema_editor.execute(f"REVOKE ALL ON FUNCTION {self.signature} FROM PUBLIC")
        schema_editor.execute(f"GRANT EXECUTE ON FUNCTION {self.signature} TO {self.execute}")
        # A new owner needs CREATE on the schema at the moment he becomes it, and at no other.
        schema_editor.execute(f"GRANT CREATE ON SCHEMA menhir TO {DEFINER}")
        schema_editor.execute(f"ALTER FUNCTION {self.signature} OWNER TO {DEFINER}")
        schema_editor.execute(f"REVOKE CREATE ON SCHEMA menhir FROM {DEFINER}")

    def database_backwards(self, app_label: str, schema_editor: Any, from_state: Any, to_state: Any) -> None:
        schema_editor.execute(f"DROP FUNCTION {self.signature}")


def foreign_keys(model: Any, *, only: tuple[str, ...] = ()) -> Iterator[str]:
    """The constraints from a tenant's row to its tenant and to rows of the same tenant, each with its index."""
    table = model._meta.db_table
    if not only:
        yield f'ALTER TABLE "{table}" ADD CONSTRAINT "{table}_tenant_fk" FOREIGN KEY (tenant_id) REFERENCES tenancy_tenant (id)'
    for field in model._meta.local_fields:
        if isinstance(field, TenantForeignKey) and (not only or field.name in only):
            name = f"{table}_{field.name}"[:56]
            yield f'CREATE INDEX "{name}_idx" ON "{table}" (tenant_id, {field.column})'
            yield (
                f'ALTER TABLE "{table}" ADD CONSTRAINT "{name}_fk" FOREIGN KEY (tenant_id, {field.column}) '
                f'REFERENCES "{field.related_model._meta.db_table}" (tenant_id, id)'
            )


def row_security(table: str, *, app: str, gateway: str, definer: str) -> Iterator[str]:
    """Row-level security for everybody, the owner included; wider sight for the roles that are granted it."""
    yield f'ALTER TABLE "{table}" ENABLE ROW LEVEL SECURITY'
    yield f'ALTER TABLE "{table}" FORCE ROW LEVEL SECURITY'
    own = "tenant_id = menhir.current_tenant()"
    yield f'CREATE POLICY {POLICY} ON "{table}" USING ({own}) WITH CHECK ({own})'
    for role, privileges in ((GATEWAY, gateway), (DEFINER, definer)):
        for verb in (word.strip().upper() for word in privileges.split(",") if word.strip()):
            clause = {"SELECT": "USING (true)", "DELETE": "USING (true)", "INSERT": "WITH CHECK (true)"}.get(
                verb, "USING (true) WITH CHECK (true)"
            )
            yield f'CREATE POLICY {role}_{verb.lower()} ON "{table}" FOR {verb} TO {role} {clause}'
    yield from grants(table, app=app, gateway=gateway, definer=definer)


def grants(table: str, *, app: str, gateway: str, definer: str) -> Iterator[str]:
    """The privileges of each role on a table."""
    for role, privileges in ((APP, app), (GATEWAY, gateway), (DEFINER, definer)):
        if privileges:
            yield f'GRANT {privileges} ON "{table}" TO {role}'
