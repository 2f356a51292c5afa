"""What the catalogue must say of every table that has a `tenant_id` (DESIGN §5 and §9), as a list of faults in plain words."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg.rows import namedtuple_row

RUNNING = {"menhir_app", "menhir_gateway"}
UNLOGGED = {"gateway_cached_answer", "realtime_message"}
"""Written without WAL, for what a crash takes can be had again, or was a doorbell; nothing else is (DESIGN §9)."""
WIDER = {"menhir_gateway", "menhir_definer"}

TABLES = """
SELECT c.oid, c.relname AS name, c.relkind AS kind, c.relispartition AS is_partition, c.relrowsecurity AS enabled, c.relforcerowsecurity AS forced,
       pg_get_userbyid(c.relowner) AS owner
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'p')
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'tenant_id' AND NOT a.attisdropped)
ORDER BY c.relname
"""
PERSISTENCE = """
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname NOT IN ('pg_catalog', 'information_schema') AND c.relkind IN ('r', 'p', 'm') AND c.relpersistence = 'u'
"""
POLICIES = """
SELECT p.polname AS name, p.polcmd AS command, p.polpermissive AS permissive, pg_get_expr(p.polqual, p.polrelid) AS using,
       pg_get_expr(p.polwithcheck, p.polrelid) AS check, ARRAY(SELECT coalesce(r.rolname, 'public') FROM unnest(p.polroles) AS x LEFT JOIN pg_roles r ON r.oid = x) AS roles
FROM pg_policy p WHERE p.polrelid = %s
"""
UNIQUES = """
SELECT i.indexrelid::regclass::text AS name, i.indisprimary AS is_primary, pg_get_indexdef(i.indexrelid, 1, true) AS first
FROM pg_index i WHERE i.indrelid = %s AND i.indisunique
"""
FOREIGN_KEYS = """
SELECT k.conname AS name, k.confrelid::regclass::text AS target, k.condeferrable AS deferrable, k.confdeltype AS on_delete,
       ARRAY(SELECT attname FROM unnest(k.conkey) WITH ORDINALITY AS c(n, o) JOIN pg_attribute ON attrelid = k.conrelid AND attnum = n ORDER BY o)::text[] AS local,
       EXISTS (SELECT FROM pg_attribute WHERE attrelid = k.confrelid AND attname = 'tenant_id' AND NOT attisdropped) AS to_tenant_table
FROM pg_constraint k WHERE k.conrelid = %s AND k.contype = 'f' AND k.conparentid = 0
"""
GRANTS = """
SELECT g.rolname AS role, a.privilege_type AS privilege
FROM pg_class c, aclexplode(c.relacl) a JOIN pg_roles g ON g.oid = a.grantee WHERE c.oid = %s AND a.grantee <> c.relowner
"""
PUBLIC_GRANTS = "SELECT 1 FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s AND a.grantee = 0"
TRIGGERS = "SELECT tgname AS name FROM pg_trigger WHERE tgrelid = %s AND NOT tgisinternal"
SEQUENCES = "SELECT attname AS name FROM pg_attribute WHERE attrelid = %s AND attidentity <> ''"
DEFINERS = """
SELECT p.oid::regprocedure::text AS name, pg_get_userbyid(p.proowner) AS owner, coalesce(array_to_string(p.proconfig, ' '), '') AS config,
       (p.proacl IS NULL OR EXISTS (SELECT FROM aclexplode(p.proacl) a WHERE a.grantee = 0)) AS public
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE p.prosecdef AND n.nspname IN ('menhir', 'public')
"""
VIEWS = """
SELECT c.relname AS name FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'v' AND n.nspname IN ('menhir', 'public') AND NOT coalesce('security_invoker=true' = ANY(c.reloptions), false)
"""


def faults(connection: psycopg.Connection[Any]) -> list[str]:
    """Everything the catalogue says that it must not; empty when tenancy holds."""
    found: list[str] = []
    with connection.cursor(row_factory=namedtuple_row) as cursor:

        def rows(query: str, *values: Any) -> list[Any]:
            return cursor.execute(query, values or None).fetchall()

        for table in rows(TABLES):
            if table.is_partition:
                if rows(GRANTS, table.oid) or rows(PUBLIC_GRANTS, table.oid):
                    found.append(f"{table.name}: a partition has grants of its own, and its parent's policies do not guard it")
                continue
            found += [f"{table.name}: {fault}" for fault in _faults_of(table, rows)]
        for function in rows(DEFINERS):
            if function.public:
                found.append(f"{function.name}: SECURITY DEFINER and everybody may execute it")
            if "search_path=" not in function.config:
                found.append(f"{function.name}: SECURITY DEFINER without a search_path of its own")
            if function.owner in RUNNING:
                found.append(f"{function.name}: owned by a running role")
        unlogged = {table.name for table in rows(PERSISTENCE)}
        found += [f"{name}: unlogged" for name in sorted(unlogged - UNLOGGED)]
        found += [f"{name}: a cache that is logged" for name in sorted(UNLOGGED - unlogged)]
        found += [f"{view.name}: a view without security_invoker" for view in rows(VIEWS)]
    return found


def _faults_of(table: Any, rows: Any) -> list[str]:
    found = []
    if not table.enabled:
        found.append("row-level security is not enabled")
    if not table.forced:
        found.append("row-level security is not forced on its owner")
    if table.owner in RUNNING:
        found.append("owned by a running role")
    found += _faults_of_policies(rows(POLICIES, table.oid))
    found += _faults_of_keys(table, rows)
    grants = {(grant.role, grant.privilege) for grant in rows(GRANTS, table.oid)}
    if not any(role in RUNNING for role, _privilege in grants):
        found.append("no running role is granted anything on it")
    if rows(PUBLIC_GRANTS, table.oid):
        found.append("granted to everybody")
    found += [f"trigger {trigger.name}" for trigger in rows(TRIGGERS, table.oid)]
    found += [f"identity column {column.name}" for column in rows(SEQUENCES, table.oid)]
    return found


def _faults_of_policies(policies: list[Any]) -> list[str]:
    found = []
    isolation = "(tenant_id = menhir.current_tenant())"
    own = [policy for policy in policies if policy.roles == ["public"]]
    if not any(policy.command == "*" and policy.using == isolation and policy.check == isolation for policy in own):
        found.append("no policy tenant_isolation over reading and writing")
    for policy in policies:
        wider = policy.using != isolation or policy.check not in {isolation, None}
        if policy.permissive and wider and not set(policy.roles) <= WIDER:
            found.append(f"policy {policy.name} opens it to {', '.join(policy.roles)}")
    return found


def _faults_of_keys(table: Any, rows: Any) -> list[str]:
    found = []
    uniques = rows(UNIQUES, table.oid)
    if not any(unique.is_primary for unique in uniques):
        found.append("no primary key")
    found += [f"{unique.name} is unique across tenants" for unique in uniques if unique.first != "tenant_id"]
    keys = rows(FOREIGN_KEYS, table.oid)
    if table.kind == "r" and not any(key.target == "tenancy_tenant" and key.local == ["tenant_id"] for key in keys):
        found.append("tenant_id refers to no tenant")
    for key in keys:
        if key.to_tenant_table and key.local[0] != "tenant_id":
            found.append(f"foreign key {key.name} can point into another tenant")
        if key.deferrable:
            found.append(f"foreign key {key.name} is deferrable")
        if key.on_delete in {"n", "d"}:
            found.append(f"foreign key {key.name} sets columns when its target goes")
    return found
