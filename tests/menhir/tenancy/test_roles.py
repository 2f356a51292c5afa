"""What each role of the database may do, to the letter: a grant too many is found here and not by somebody else."""

from __future__ import annotations

import os

import psycopg
import pytest

from menhir.postgres.roles import conninfo

CONFIGURATION = {
    "assistants_assistant",
    "assistants_assistantcollection",
    "gateway_branch",
    "gateway_capturepolicy",
    "gateway_guardrail",
    "gateway_provider",
    "gateway_route",
    "gateway_target",
    "metering_limit",
    "prompts_prompt",
    "prompts_release",
    "prompts_version",
}
GRANTS = """
SELECT c.relname, array_agg(DISTINCT a.privilege_type ORDER BY a.privilege_type)
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace CROSS JOIN aclexplode(c.relacl) a
WHERE n.nspname IN ('public', 'menhir') AND a.grantee = %s::regrole GROUP BY c.relname
"""
EXECUTORS = """
SELECT p.proname, array_agg(a.grantee::regrole::text ORDER BY a.grantee::regrole::text)
FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace CROSS JOIN aclexplode(p.proacl) a
WHERE p.prosecdef AND n.nspname IN ('public', 'menhir') AND a.grantee <> p.proowner GROUP BY p.oid, p.proname
"""
LOGINS = "SELECT rolname FROM pg_roles WHERE rolname IN ('menhir_app', 'menhir_gateway') AND (rolsuper OR rolbypassrls OR rolcreaterole OR rolcreatedb)"
MEMBERS = "SELECT roleid::regrole::text FROM pg_auth_members WHERE member::regrole::text IN ('menhir_app', 'menhir_gateway')"


@pytest.fixture
def owner():
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        yield connection


def test_the_gateway_reads_configuration_and_appends_to_the_ledger(owner):
    grants = dict(owner.execute(GRANTS, ["menhir_gateway"]).fetchall())
    assert grants.pop("metering_process") == ["DELETE", "INSERT", "SELECT", "UPDATE"]
    assert {grants.pop("metering_call")[0], grants.pop("metering_settlement")[0]} == {"INSERT"}
    assert grants.pop("assistants_response") == grants.pop("gateway_guardrailevent") == grants.pop("gateway_capture") == ["INSERT"]
    assert grants.pop("gateway_cached_answer") == grants.pop("gateway_idempotent_call") == ["DELETE", "INSERT", "SELECT", "UPDATE"]
    assert grants.pop("gateway_cached_embedding") == ["DELETE", "INSERT", "SELECT"]
    assert grants == {table: ["SELECT"] for table in CONFIGURATION}


def test_nobody_changes_what_was_written_for_good(owner):
    grants = dict(owner.execute(GRANTS, ["menhir_app"]).fetchall())
    assert grants["audit_entry"] == ["INSERT", "SELECT"]
    assert grants["metering_call"] == grants["metering_settlement"] == ["SELECT"]
    assert grants["prompts_version"] == grants["prompts_releaseevent"] == ["INSERT", "SELECT"]
    assert not any({"TRUNCATE", "REFERENCES", "TRIGGER"} & set(privileges) for privileges in grants.values())


def test_what_looks_across_tenants_is_executed_by_those_who_need_it(owner):
    executors = dict(owner.execute(EXECUTORS).fetchall())
    both = {name for name, roles in executors.items() if roles == ["menhir_app", "menhir_gateway"]}
    assert both == {"find_key", "ensure_day_partitions", "drop_old_day_partitions"}
    assert {name for name, roles in executors.items() if roles == ["menhir_gateway"]} == {
        "find_issuers",
        "gateway_forget_captures",
        "metering_lease",
        "metering_prune",
        "metering_reconcile",
        "metering_sweep",
    }
    assert {name for name, roles in executors.items() if roles == ["menhir_app"]} == {
        "tenants_of",
        "search_chunks",
        "documents_underway",
        "journal_append",
        "journal_end",
        "journal_news",
        "journal_beat",
        "journal_sweep",
        "journal_prune",
    }
    assert len(executors) == 18


def test_running_roles_are_nothing_special(owner):
    assert owner.execute(LOGINS).fetchall() == []
    assert owner.execute(MEMBERS).fetchall() == []


@pytest.mark.parametrize("role", ["app", "gateway"])
def test_a_running_role_makes_nothing_that_a_definer_could_trip_over(role):
    for statement in (
        "CREATE TABLE public.tenancy_apikey_2 ()",
        "CREATE FUNCTION menhir.current_tenant() RETURNS uuid LANGUAGE sql AS 'SELECT NULL::uuid'",
        "CREATE SCHEMA theirs",
        "SET ROLE menhir_definer",
        "SELECT hash FROM tenancy_apikey" if role == "gateway" else "TRUNCATE tenancy_apikey",
    ):
        with psycopg.connect(conninfo(role)) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute(statement)
