"""A route that chooses among routes: by rule, by model, and always an answer."""

from __future__ import annotations

import time

import pytest
from asgiref.sync import sync_to_async
from gateway.guardrails.conftest import Guards

from apps.assistants.front import application
from apps.gateway import classifier, client
from apps.gateway.errors import GuardrailBlocked, RouteLoop
from apps.gateway.models import Branch, Route
from menhir.metering.errors import RateLimitExceeded
from menhir.metering.limits import limits
from menhir.tenancy.transaction import tenant_transaction

from peers.caller import ask, call_of, fake, ledger_row
from stage.cast import Person

pytestmark = pytest.mark.usefixtures("gateway")


@pytest.fixture
def guards(alice: Person) -> Guards:
    return Guards(alice)


@pytest.fixture(autouse=True)
def in_process(monkeypatch):
    monkeypatch.setattr(client, "_application", application)


def make(tenant, name, *branches, classifier=None):
    with tenant_transaction(tenant):
        route = lambda name: Route.objects.within(tenant).get(name=name)  # noqa: E731
        made = Route.objects.create(tenant=tenant, name=name, strategy="classifier", classifier=route(classifier) if classifier else None)
        for position, (label, leads_to, rules) in enumerate(branches):
            Branch.objects.create(tenant=tenant, route=made, label=label, leads_to=route(leads_to), position=position, **rules)


@pytest.fixture
async def choosing(alice, routes):
    """Routes big, wide and small, and one that chooses among them by rules alone."""
    for name in ("big", "wide", "small"):
        await routes.to("fake", name=name)
    rules = ("code", "big", {"matches": r"\bpython\b"}), ("tools", "big", {"has_tools": True}), ("long", "wide", {"longer_than": 2_000})
    await sync_to_async(make)(alice.tenant, "auto", *rules, ("rest", "small", {}))


def asked(principal, content, model="auto", **body):
    return call_of(principal, model, messages=[{"role": "user", "content": content}], **body)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("content", "body", "route"),
    [
        ("How do I sort in Python?", {}, "big"),
        ("Call it", {"tools": [{"type": "function", "function": {"name": "f"}}]}, "big"),
        ("long " * 500, {}, "wide"),
        ("Hello", {}, "small"),
    ],
)
async def test_rules_choose_and_the_answer_says_which_route(alice, choosing, content, body, route, stream):
    call = asked(alice.principal, content, stream=stream, **body)
    response = await ask(call)
    assert response.headers["x-menhir-route"] == route
    row = ledger_row(call.id)
    assert (row["model"], row["route"]) == ("auto", route)


async def choosing_by_model(alice, routes, says, **orders):
    for name in ("big", "small"):
        await routes.to("fake", name=name)
    await routes.to(fake(text=says, **orders), name="judge")
    branches = ("hard", "big", {"description": "needs thought"}), ("easy", "small", {"description": "small talk"})
    await sync_to_async(make)(alice.tenant, "auto", *branches, classifier="judge")


async def test_the_model_chooses_where_no_rule_does(alice, routes, upstream):
    await choosing_by_model(alice, routes, "hard")
    response = await ask(asked(alice.principal, "Prove it."))
    assert response.headers["x-menhir-route"] == "big"
    judged, answered = upstream.stats.bodies
    assert "needs thought" in judged["messages"][0]["content"]
    assert judged["messages"][1]["content"] == "Prove it."
    assert judged["max_tokens"] < 50
    assert answered["messages"] == [{"role": "user", "content": "Prove it."}]


@pytest.mark.parametrize("orders", [{"says": "perhaps"}, {"says": "hard or easy"}, {"says": "hard", "status": 500}])
async def test_an_unsure_model_leaves_it_to_the_last_branch(alice, routes, orders):
    await choosing_by_model(alice, routes, **orders)
    assert (await ask(asked(alice.principal, "Hm."))).headers["x-menhir-route"] == "small"


async def test_a_late_model_is_not_waited_for(alice, routes, monkeypatch):
    monkeypatch.setattr(classifier, "MODEL_SECONDS", 0.3)
    await choosing_by_model(alice, routes, "hard", first_ms=20_000)
    began = time.monotonic()
    assert (await ask(asked(alice.principal, "Hm."))).headers["x-menhir-route"] == "small"
    assert time.monotonic() - began < 2


async def test_a_circle_is_refused_at_run_time_too(alice, choosing):
    def close() -> None:
        with tenant_transaction(alice.tenant):
            small, auto = (Route.objects.within(alice.tenant).get(name=name) for name in ("small", "auto"))
            small.strategy = "classifier"
            small.save()
            Branch.objects.create(tenant=alice.tenant, route=small, leads_to=auto, label="back")

    await sync_to_async(close)()
    with pytest.raises(RouteLoop):
        await ask(asked(alice.principal, "Hello"))


async def test_a_pattern_that_would_never_end_elsewhere_ends_here(alice, routes):
    await routes.to("fake", name="small")
    await sync_to_async(make)(alice.tenant, "auto", ("evil", "small", {"matches": "(a+)+$"}), ("rest", "small", {}))
    began = time.monotonic()
    assert (await ask(asked(alice.principal, "a" * 5_000 + "!"))).status == 200
    assert time.monotonic() - began < 2


async def test_no_model_is_shown_what_a_guardrail_takes_out_or_blocks(alice, routes, upstream, guards):
    await choosing_by_model(alice, routes, "hard")
    await guards.add("addresses", "pii", action="redact", settings={"kinds": ["email"]}, routes=["auto"])
    await guards.add("secrets", "regex", settings={"patterns": ["hunter2"]}, routes=["auto"])
    await guards.add("numbers", "regex", action="redact", settings={"patterns": [r"\d{4}"]}, routes=["big"])
    client = await ask(asked(alice.principal, "Write to carol@example.com before 1984."))
    judged, answered = (body["messages"][-1]["content"] for body in upstream.stats.bodies)
    assert "carol@example.com" not in judged + answered
    assert "1984" in judged  # the rule is of the route that is not chosen yet
    assert "1984" not in answered
    assert client.headers["x-menhir-route"] == "big"
    call = asked(alice.principal, "It is hunter2.")
    with pytest.raises(GuardrailBlocked):
        await ask(call)
    assert upstream.stats.requests == 2
    row = ledger_row(call.id)
    assert (row["outcome"], row["error_code"], row["route"], row["cost"]) == ("failed", "guardrail:secrets", "auto", 0)


@pytest.mark.parametrize("limited", ["auto", "small"])
async def test_limits_of_the_classifier_and_of_the_chosen_route_both_apply(alice, choosing, limit, limited):
    other = await limit("route", "small" if limited == "auto" else "auto", metric="requests", amount=5)
    await limit("route", limited, metric="requests", amount=1)
    first = await ask(asked(alice.principal, "Hello"))
    assert first.headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(RateLimitExceeded):
        await ask(asked(alice.principal, "Hello"))
    meters = await limits.meters(alice.tenant.id, key_id=None, user=None, route=other.subject_id)
    assert [piece.total for piece in meters.slices] == [1]  # what was refused has taken nothing of the other
