"""Usage as alice, bob and mallory see it."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest

from menhir.metering import usage
from menhir.metering.entries import Usage
from menhir.metering.ledger import Ledger, Note
from menhir.postgres.ids import uuid7
from menhir.tenancy.models import ApiKey
from menhir.tenancy.transaction import tenant_transaction

NOON = datetime(2026, 11, 10, 12, tzinfo=UTC)


@pytest.fixture
async def used(acme, globex, opening, settlement, days):
    """Three days of Acme's, a day of Globex's."""
    days(NOON.date(), NOON.date() + timedelta(days=2))
    ledger = Ledger()
    await ledger.start()

    async def call(tenant, day, *, model="gpt-4o-mini", settled=True, key=None, **changes):
        opened = opening(tenant.id, opened_at=NOON + timedelta(days=day), model=model, api_key_id=key)
        await ledger.open(opened)
        if settled:
            await ledger.settle(settlement(opened, **changes))

    key = uuid7()
    await call(acme, 0, key=key, first_token_ms=100)
    await call(acme, 0, key=key, first_token_ms=300)
    await call(acme, 0, model="o3", cost=Decimal("0.0000000001"))
    await call(acme, 1, outcome="failed", status=503, cost=Decimal(0), usage=Usage(0, 0), provider="", upstream_model="")
    await call(acme, 1, outcome="cancelled", status=499)
    await call(acme, 2, settled=False)
    await call(acme, 2, provider="ours", upstream_model="unheard-of", cost=Decimal(0), usage=Usage(10, 20), tariff="ours")
    await call(globex, 0, cost=Decimal(77))
    await ledger.stop()
    return key


def summed(tenant, *, group_by=("day",), days=3):
    with tenant_transaction(tenant):
        return usage.summary(tenant, first_day=NOON.date(), last_day=NOON.date() + timedelta(days=days - 1), group_by=group_by)


def test_usage_by_day_adds_up_to_the_total(used, acme):
    summary = summed(acme)
    first, second, third = (group.used for group in summary.groups)
    assert [group.day for group in summary.groups] == [date(2026, 11, 10), date(2026, 11, 11), date(2026, 11, 12)]
    assert (first.calls, first.input_tokens, first.output_tokens, first.cached_input_tokens) == (3, 3_000, 300, 1_200)
    assert first.cost == 2 * Decimal("0.000180") + Decimal("0.0000000001")
    assert (second.calls, second.errors, second.cancelled) == (2, 1, 1)
    assert (third.calls, third.unsettled, third.unpriced) == (2, 1, 1)
    assert summary.total.calls == 7
    assert summary.total.cost == first.cost + second.cost + third.cost


def test_a_chart_has_every_day(used, acme):
    assert [(day.day, used.calls) for day, used in summed(acme, days=5).by_day()] == [(10, 3), (11, 2), (12, 2), (13, 0), (14, 0)]


def test_the_95th_percentile_of_the_first_token_is_interpolated(used, acme):
    with tenant_transaction(acme):
        summary = usage.summary(acme, first_day=NOON.date(), last_day=NOON.date(), group_by=("model",))
    assert {group.model: group.used.first_token_ms_p95 for group in summary.groups} == {"gpt-4o-mini": 290.0, "o3": 120.0}


def test_nothing_of_another_tenant_is_counted(used, globex):
    summary = summed(globex)
    assert (summary.total.calls, summary.total.cost) == (1, Decimal(77))


def test_a_tenant_without_calls_gets_zeros(alice):
    summary = summed(alice.tenant)
    assert summary.groups == ()
    assert summary.total == usage.Used()


def ask(person, query="", *scopes):
    return person.api(*scopes).get(f"/api/v1/usage?from=2026-11-10&to=2026-11-12{query}")


def test_alice_and_bob_see_acmes_usage_and_mallory_only_her_own(used, alice, bob, mallory):
    for person in (alice, bob):
        answer = ask(person)
        assert answer.status_code == 200
        body = answer.json()
        assert (body["total"]["calls"], body["total"]["errors"]) == (7, 1)
        assert body["total"]["cost"] == "0.0005400001"
        assert [group["day"] for group in body["groups"]] == ["2026-11-10", "2026-11-11", "2026-11-12"]
    hers = ask(mallory, "&group_by=day,model,key")
    assert hers.json()["total"]["calls"] == 1
    assert str(used) not in hers.content.decode()
    assert "o3" not in hers.content.decode()


def test_groups_name_the_key_that_was_used(alice):
    with tenant_transaction(alice.tenant):
        key, _ = ApiKey.issue(alice.tenant, name="laptop", scopes=["inference"], by=alice.user)
        names = usage._names_of_keys(alice.tenant, [key.id])
    assert names == {key.id: "laptop"}


def test_grouping_by_model_and_key(used, alice):
    groups = ask(alice, "&group_by=model,key").json()["groups"]
    by = {(group["model"], group["key_id"]): group["calls"] for group in groups}
    assert by == {("gpt-4o-mini", str(used)): 2, ("gpt-4o-mini", None): 4, ("o3", None): 1}
    assert all(group["day"] is None for group in groups)


@pytest.fixture
async def told_apart(acme, globex, opening, settlement, days):
    """Calls of Acme's that differ in one thing each, and one of Globex's that is like the first."""
    days(NOON.date(), NOON.date())
    ledger = Ledger()
    await ledger.start()
    assistant, version = uuid7(), uuid7()

    async def call(tenant, *, provider="far", cost="1", status=200, **said):
        opened = opening(tenant.id, opened_at=NOON, **{"route": "small", **said})
        await ledger.open(opened)
        await ledger.settle(settlement(opened, provider=provider, cost=Decimal(cost), status=status))

    await call(acme, unit="ada", assistant_id=assistant)
    await call(acme, unit="ada", cost="2", prompt_version_id=version)
    await call(acme, unit="bert", provider="near", cost="4", route="big")
    await call(acme, provider="", cost="0", status=502)
    who = [acme.id, uuid7(), NOON, NOON, "chat", "m", "small", None, None, None, None, False, "u", 1]
    ledger.note(Note(*who, unit="ada"))
    await ledger.noted()
    await call(globex, unit="ada", assistant_id=assistant, cost="77")
    await ledger.stop()
    return assistant, version


@pytest.mark.parametrize(
    ("dimension", "expected"),
    [
        ("user", {"ada": (3, "3"), "bert": (1, "4"), None: (1, "0")}),
        ("route", {"small": (4, "3"), "big": (1, "4")}),
        ("provider", {"far": (2, "3"), "near": (1, "4"), "cache": (1, "0"), None: (1, "0")}),
        ("assistant_id", {0: (1, "1"), None: (4, "6")}),
        ("prompt_version_id", {1: (1, "2"), None: (4, "5")}),
    ],
)
def test_usage_by_who_called_where_it_led_and_who_answered(told_apart, alice, dimension, expected):
    body = alice.api("usage:read").get(f"/api/v1/usage?from=2026-11-10&to=2026-11-10&group_by={dimension.removesuffix('_id')}").json()
    found = {group[dimension]: (group["calls"], group["cost"]) for group in body["groups"]}
    assert found == {str(told_apart[name]) if isinstance(name, int) else name: sums for name, sums in expected.items()}
    assert (body["total"]["calls"], body["total"]["cost"]) == (5, "7")
    others = {"day", "model", "key_id", "key", "user", "route", "provider", "assistant_id", "prompt_version_id"} - {dimension}
    assert all(group[other] is None for group in body["groups"] for other in others)


def test_several_at_once_and_nothing_of_acmes_for_mallory(told_apart, alice, bob, mallory):
    query = "/api/v1/usage?from=2026-11-10&to=2026-11-10&group_by=user,provider"
    for person in (alice, bob):
        groups = person.api("usage:read").get(query).json()["groups"]
        assert {(group["user"], group["provider"]): group["cost"] for group in groups} == {
            ("ada", "cache"): "0",
            ("ada", "far"): "3",
            ("bert", "near"): "4",
            (None, None): "0",
        }
    hers = mallory.api("usage:read").get(query)
    assert [(group["user"], group["cost"]) for group in hers.json()["groups"]] == [("ada", "77")]
    assert "bert" not in hers.content.decode()


@pytest.mark.parametrize(
    ("query", "param"),
    [
        ("from=2026-11-12&to=2026-11-10", "to"),
        ("from=2020-01-01&to=2026-11-10", "to"),
        ("group_by=day,tenant", "group_by"),
        ("from=yesterday", "from"),
        ("from=2026-02-30", "from"),
    ],
)
def test_nonsense_is_a_problem_that_names_the_field(alice, query, param):
    answer = alice.api().get(f"/api/v1/usage?{query}")
    assert answer.status_code in {400, 422}
    assert param in json.dumps(answer.json())


def test_a_key_without_the_scope_is_told_which(alice):
    answer = ask(alice, "", "inference")
    assert answer.status_code == 403
    assert "usage:read" in answer.content.decode()


def test_without_a_key_there_is_nothing_to_see(client_without_key):
    assert client_without_key.get("/api/v1/usage").status_code == 401


@pytest.fixture
def client_without_key():
    from django.test import Client

    return Client(headers={"host": "localhost"})


def test_thirty_days_of_a_busy_tenant_are_summed_to_the_last_call(acme, superuser, days):
    """As the console's chart asks for them."""
    fill = """
        WITH made AS (
            INSERT INTO metering_call
            SELECT %(tenant)s, timestamptz '2030-06-01 00:00+00' + n * interval '259 s', gen_random_uuid(), gen_random_uuid(), 'chat',
                   'model-' || n %% 5, 'r', NULL, NULL, NULL, NULL, true, 0.001
            FROM generate_series(0, 9999) AS n RETURNING *
        )
        INSERT INTO metering_settlement
        SELECT tenant_id, opened_at, id, opened_at, 'completed', 200, 'openai', 'gpt-4o-mini', 1, 1000, 100, 0, 0, 'upstream', 0.00021, true,
               200, 900, NULL FROM made
    """
    days(date(2030, 6, 1), date(2030, 6, 30))
    with psycopg.connect(superuser) as connection:
        connection.execute(fill, {"tenant": acme.id})
    with tenant_transaction(acme):
        summary = usage.summary(acme, first_day=date(2030, 6, 1), last_day=date(2030, 6, 30))
    assert len(summary.groups) == 30
    assert summary.total.calls == 10_000
    assert summary.total.cost == Decimal("2.1")
