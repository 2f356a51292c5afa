"""`/api/v1/limits`, asked by alice, bob and mallory; and limits held over two web processes."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal

import httpx2
import psycopg
import pytest

from apps.gateway.models import Provider, Route
from menhir.audit.models import Entry
from menhir.metering.limits.models import Limit, Meter
from menhir.tenancy.models import ApiKey
from menhir.tenancy.principal import INFERENCE
from menhir.tenancy.transaction import tenant_transaction

from stage.servers import eventually

JSON = "application/json"


@pytest.fixture
def api(alice):
    return alice.api("limits:read", "limits:write")


def set_limit(api, **given):
    return api.post(
        "/api/v1/limits", {"subject": "tenant", "metric": "requests", "period": "minute", "amount": "10", **given}, content_type=JSON
    )


def test_a_limit_is_set_shown_changed_and_deleted(api, alice):
    made = set_limit(api, subject="user", subject_id="ada", metric="money", period="month", amount="12.50")
    assert made.status_code == 201, made.content
    limit = made.json()
    assert (limit["subject"], limit["subject_id"], limit["metric"], limit["period"], limit["amount"]) == (
        "user",
        "ada",
        "money",
        "month",
        "12.5",
    )
    assert api.get("/api/v1/limits").json()["limits"][0]["id"] == limit["id"]
    page = f"/api/v1/limits/{limit['id']}"
    assert api.patch(page, {"amount": 3}, content_type=JSON).json()["amount"] == "3"
    assert api.get(page).json()["meters"] == []
    assert api.delete(page).status_code == 204
    assert api.get(page).status_code == 404
    with tenant_transaction(alice.tenant):
        verbs = [entry.verb for entry in Entry.objects.within(alice.tenant).filter(noun="limit").order_by("at")]
    assert verbs == ["limit.set", "limit.changed", "limit.deleted"]


@pytest.mark.parametrize(
    ("given", "status", "param"),
    [
        ({"metric": "requests", "period": "month"}, 400, "period"),
        ({"metric": "parallel"}, 400, "period"),
        ({"metric": "money", "period": "minute"}, 400, "period"),
        ({"metric": "smiles"}, 400, "metric"),
        ({"subject": "planet"}, 400, "subject"),
        ({"subject_id": "x"}, 400, "subject_id"),
        ({"subject": "key", "subject_id": "x"}, 400, "subject_id"),
        ({"subject": "user", "subject_id": "a\x00"}, 400, "subject_id"),
        ({"amount": "0"}, 400, "amount"),
        ({"amount": "-1"}, 400, "amount"),
        ({"amount": "1.5"}, 400, "amount"),
        ({"amount": "NaN"}, 422, "amount"),
        ({"amount": "1e30"}, 422, "amount"),
    ],
)
def test_nonsense_is_refused_by_name(api, given, status, param):
    answer = set_limit(api, **given)
    assert (answer.status_code, answer.json()["param"]) == (status, param)


def test_the_database_itself_refuses_nonsense(alice, superuser):
    with psycopg.connect(superuser) as connection:
        for subject, subject_id, metric, period, amount in [
            ("tenant", "", "requests", "week", 1),
            ("tenant", "", "parallel", "day", 1),
            ("tenant", "", "money", "hour", 1),
            ("tenant", "x", "requests", "day", 1),
            ("tenant", "", "requests", "day", Decimal("1.5")),
            ("tenant", "", "requests", "day", 0),
        ]:
            with pytest.raises(psycopg.errors.CheckViolation), connection.transaction():
                connection.execute(
                    "INSERT INTO metering_limit (tenant_id, id, subject, subject_id, metric, period, amount, created_at)"
                    " VALUES (%s, gen_random_uuid(), %s, %s, %s, %s, %s, now())",
                    [alice.tenant.id, subject, subject_id, metric, period, amount],
                )


def test_a_second_limit_of_a_kind_is_a_conflict_and_anothers_key_is_none(api, alice, mallory):
    assert set_limit(api).status_code == 201
    assert set_limit(api, amount="11").status_code == 409
    assert set_limit(api, period="day").status_code == 201
    mallory.key()
    with tenant_transaction(mallory.tenant):
        theirs = ApiKey.objects.within(mallory.tenant).first()
    assert set_limit(api, subject="key", subject_id=str(theirs.id)).status_code == 400


def test_who_may_what(api, alice, bob, mallory):
    limit = set_limit(api).json()
    page = f"/api/v1/limits/{limit['id']}"
    for stranger in (mallory.api(), mallory.api("limits:read", "limits:write")):
        assert stranger.get("/api/v1/limits").json() == {"limits": []}
        assert stranger.get(page).status_code == 404
        assert stranger.patch(page, {"amount": 1}, content_type=JSON).status_code == 404
        assert stranger.delete(page).status_code == 404
    reader = alice.api("limits:read")
    assert reader.get(page).status_code == 200
    assert reader.patch(page, {"amount": 1}, content_type=JSON).status_code == 403
    assert alice.api(INFERENCE).get(page).status_code == 403
    assert not bob.principal.scopes & {"limits:read", "limits:write"}
    assert {"limits:read", "limits:write"} <= alice.principal.scopes
    with tenant_transaction(alice.tenant):
        assert Limit.objects.within(alice.tenant).get().amount == 10


@pytest.fixture
def route(alice, upstream):
    with tenant_transaction(alice.tenant):
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url, tariff="openai")
        provider.set_credential("sk-fake")
        provider.save()
        Route.objects.create(tenant=alice.tenant, name="gpt-4o-mini").lead_to((provider, "gpt-4o-mini"))


def ask(server, key, path="chat/completions", **more):
    body = {
        "model": "gpt-4o-mini",
        **({"input": "a"} if path == "embeddings" else {"messages": [{"role": "user", "content": "Hello?"}]}),
        **more,
    }
    headers = {"authorization": f"Bearer {key}", "anthropic-version": "2023-06-01"}
    return httpx2.post(f"{server.base_url}/v1/{path}", json=body, headers=headers, timeout=30)


@pytest.mark.slow
def test_two_web_processes_hold_one_limit(web, alice, route, api, upstream):
    two, key = (web(), web()), alice.key(INFERENCE)
    assert [ask(server, key).status_code for server in two] == [200, 200]
    limit = set_limit(api, subject="key", amount="60", period="hour").json()
    budget = set_limit(api, metric="money", period="day", amount="1").json()
    eventually(lambda: "x-ratelimit-limit-requests" in ask(two[0], key).headers, what="the limit being heard of")
    eventually(lambda: "x-ratelimit-limit-requests" in ask(two[1], key).headers, what="the limit being heard of")
    upstream.reset()
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: ask(two[number % 2], key, stream=number % 3 == 0), range(100)))
    refused = [answer for answer in answers if answer.status_code == 429]
    passed = [answer for answer in answers if answer.status_code == 200]
    assert len(refused) + len(passed) == 100
    assert len(passed) == upstream.stats.requests
    assert 50 <= len(passed) <= 58  # of the 60 some were used to find out that it holds
    error = refused[-1].json()["error"]
    assert (error["type"], error["code"]) == ("rate_limit_error", "rate_limit_exceeded")
    assert 0 < int(refused[-1].headers["retry-after"]) <= 3_600
    assert refused[-1].headers["x-ratelimit-remaining-requests"] == "0"
    # Whatever wire or operation the client speaks, it is the same limit.
    assert ask(two[0], key, "embeddings").status_code == 429
    message = ask(two[1], key, "messages", max_tokens=10)
    assert (message.status_code, message.json()["error"]["type"]) == (429, "rate_limit_error")
    assert "retry-after" in message.headers

    def told(limit_id):
        with tenant_transaction(alice.tenant):
            return sum((meter.spent for meter in Meter.objects.within(alice.tenant).filter(limit_id=limit_id)), Decimal(0))

    eventually(lambda: told(limit["id"]) == 60, what="everything being reported")
    shown = api.get(f"/api/v1/limits/{limit['id']}").json()
    assert (shown["meters"][0]["used"], shown["meters"][0]["remaining"]) == ("60", "0")
    assert [event["percent"] for event in shown["events"]] == [100, 80]
    assert Decimal(api.get(f"/api/v1/limits/{budget['id']}").json()["meters"][0]["used"]) > 0
