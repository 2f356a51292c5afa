"""Tenancy as the database knows it: the catalogue is read, and every table is tried as the wrong tenant."""

from __future__ import annotations

import os

import psycopg
import pytest
from psycopg import sql

from menhir import audit
from menhir.postgres.roles import conninfo
from menhir.tenancy.models import ApiKey
from menhir.tenancy.tables import foreign_keys, row_security
from menhir.tenancy.transaction import tenant_transaction

from stage.catalogue import TABLES, faults


@pytest.fixture
def owner():
    """The owner of the tables, in a transaction that is rolled back."""
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        yield connection
        connection.rollback()


@pytest.fixture
def app():
    """The running role, in a transaction that is rolled back."""
    with psycopg.connect(conninfo("app")) as connection:
        yield connection
        connection.rollback()


def test_every_tenant_table_is_locked_twice(owner):
    assert faults(owner) == []


def test_there_are_tenant_tables_at_all(owner):
    assert len(owner.execute(TABLES).fetchall()) >= 20


GOOD = "CREATE TABLE stone (tenant_id uuid NOT NULL REFERENCES tenancy_tenant (id), id uuid NOT NULL, name text, PRIMARY KEY (tenant_id, id), UNIQUE (tenant_id, name))"
LOCK = list(row_security("stone", app="SELECT", gateway="", definer=""))


def test_a_table_made_as_it_should_be_has_no_fault(owner):
    _run(owner, GOOD, *LOCK)
    assert faults(owner) == []


@pytest.mark.parametrize(
    ("fault", "statements"),
    [
        ("row-level security is not enabled", [GOOD, *LOCK[1:]]),
        ("row-level security is not forced", [GOOD, LOCK[0], *LOCK[2:]]),
        ("no policy tenant_isolation", [GOOD, *LOCK[:2], LOCK[3]]),
        ("no policy tenant_isolation", [GOOD, *LOCK[:2], "CREATE POLICY tenant_isolation ON stone USING (true)", LOCK[3]]),
        ("opens it to menhir_app", [GOOD, *LOCK, "CREATE POLICY wide ON stone TO menhir_app USING (true)"]),
        ("no running role is granted", [GOOD, *LOCK[:3]]),
        ("granted to everybody", [GOOD, *LOCK, "GRANT SELECT ON stone TO PUBLIC"]),
        ("stone_pkey is unique across tenants", [GOOD.replace("PRIMARY KEY (tenant_id, id)", "PRIMARY KEY (id)"), *LOCK]),
        ("no primary key", [GOOD.replace("PRIMARY KEY (tenant_id, id), ", ""), *LOCK]),
        ("is unique across tenants", [GOOD.replace("UNIQUE (tenant_id, name)", "UNIQUE (name)"), *LOCK]),
        ("tenant_id refers to no tenant", [GOOD.replace(" REFERENCES tenancy_tenant (id)", ""), *LOCK]),
        ("is deferrable", [GOOD.replace("(id), id", "(id) DEFERRABLE, id"), *LOCK]),
        (
            "can point into another tenant",
            [GOOD, *LOCK, "CREATE UNIQUE INDEX bare ON stone (id)", "ALTER TABLE stone ADD COLUMN other uuid REFERENCES stone (id)"],
        ),
        ("stone: unlogged", [GOOD.replace("TABLE", "UNLOGGED TABLE"), *LOCK]),
        ("pebble: unlogged", ["CREATE UNLOGGED TABLE pebble (id uuid PRIMARY KEY)"]),
        (
            "stone_0: unlogged",
            [
                GOOD.replace("UNIQUE (tenant_id, name))", "UNIQUE (tenant_id, name)) PARTITION BY HASH (tenant_id)"),
                *LOCK,
                "CREATE UNLOGGED TABLE stone_0 PARTITION OF stone FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
            ],
        ),
        ("gateway_cached_answer: a cache that is logged", ["ALTER TABLE gateway_cached_answer SET LOGGED"]),
        ("realtime_message: a cache that is logged", ["ALTER TABLE realtime_message SET LOGGED"]),
        ("a view without security_invoker", [GOOD, *LOCK, "CREATE VIEW glance AS SELECT * FROM stone"]),
        (
            "everybody may execute it",
            ["CREATE FUNCTION menhir.peek() RETURNS int LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog AS 'SELECT 1'"],
        ),
        (
            "a partition has grants of its own",
            [
                "CREATE TABLE stone (tenant_id uuid NOT NULL, id uuid NOT NULL, PRIMARY KEY (tenant_id, id)) PARTITION BY HASH (tenant_id)",
                *LOCK,
                "CREATE TABLE stone_0 PARTITION OF stone FOR VALUES WITH (MODULUS 1, REMAINDER 0)",
                "GRANT SELECT ON stone_0 TO menhir_app",
            ],
        ),
    ],
)
def test_a_table_that_forgets_something_is_found(owner, fault, statements):
    _run(owner, *statements)
    assert [line for line in faults(owner) if fault in line], f"nobody noticed: {fault}"


def test_composite_keys_come_from_the_operation(owner):
    made = list(foreign_keys(ApiKey))
    assert any("REFERENCES tenancy_tenant" in statement for statement in made)


def _run(connection, *statements):
    for statement in statements:
        connection.execute(statement)


def _tables(connection):
    return [row[1] for row in connection.execute(TABLES).fetchall() if not row[3]]


def test_without_a_tenant_there_are_no_rows(app, owner, alice):
    _give_acme_rows(alice)
    for table in _tables(owner):
        assert _count(app, table) in {0, None}, table


def test_as_globex_nothing_of_acme_can_be_read_or_changed(app, owner, alice, mallory):
    _give_acme_rows(alice)
    app.execute("SELECT menhir.set_tenant(%s)", [mallory.tenant.id])
    for table in _tables(owner):
        name = sql.Identifier(table)
        assert _count(app, table, alice.tenant.id) in {0, None}, table
        for verb in ("UPDATE {} SET tenant_id = tenant_id WHERE tenant_id = %s", "DELETE FROM {} WHERE tenant_id = %s"):
            assert _attempt(app, sql.SQL(verb).format(name), alice.tenant.id) in {0, None}, table


def test_as_globex_nothing_can_be_written_into_acme(app, owner, alice, mallory):
    app.execute("SELECT menhir.set_tenant(%s)", [mallory.tenant.id])
    for table in _tables(owner):
        with pytest.raises(psycopg.errors.InsufficientPrivilege), app.transaction():
            app.execute(sql.SQL("INSERT INTO {} (tenant_id) VALUES (%s)").format(sql.Identifier(table)), [alice.tenant.id])


def test_the_tenant_is_forgotten_at_the_end_of_its_transaction(alice):
    _give_acme_rows(alice)
    with tenant_transaction(alice.tenant):
        assert ApiKey.objects.count() == 1
    assert ApiKey.objects.count() == 0


def test_a_transaction_serves_one_tenant(alice, mallory):
    with tenant_transaction(alice.tenant), pytest.raises(RuntimeError), tenant_transaction(mallory.tenant):
        pass


def test_the_running_roles_own_nothing_and_are_members_of_nobody(owner):
    memberships = owner.execute(
        "SELECT m.rolname FROM pg_auth_members a JOIN pg_roles m ON m.oid = a.member WHERE m.rolname IN ('menhir_app', 'menhir_gateway', 'menhir_definer')"
    ).fetchall()
    privileged = owner.execute(
        "SELECT rolname FROM pg_roles WHERE rolname IN ('menhir_app', 'menhir_gateway', 'menhir_definer') AND (rolsuper OR rolbypassrls OR rolcreaterole)"
    ).fetchall()
    owned = owner.execute(
        "SELECT relname FROM pg_class WHERE pg_get_userbyid(relowner) IN ('menhir_app', 'menhir_gateway', 'menhir_definer')"
    ).fetchall()
    assert (memberships, privileged, owned) == ([], [], [])


def _give_acme_rows(alice):
    alice.key()
    with tenant_transaction(alice.tenant):
        audit.record(alice.principal, verb="tested", noun="stone", noun_id=alice.tenant.id)


def _count(connection, table, tenant_id=None):
    where = sql.SQL(" WHERE tenant_id = %s") if tenant_id else sql.SQL("")
    query = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(table)) + where
    try:
        with connection.transaction():
            return connection.execute(query, [tenant_id] if tenant_id else None).fetchone()[0]
    except psycopg.errors.InsufficientPrivilege:
        return None


def _attempt(connection, statement, *values):
    try:
        with connection.transaction():
            return connection.execute(statement, values).rowcount
    except psycopg.errors.InsufficientPrivilege:
        return None
