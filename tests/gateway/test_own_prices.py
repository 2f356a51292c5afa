"""Prices that a tenant says itself, and models whose price nobody knows."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import psycopg
import pytest
from asgiref.sync import sync_to_async
from psycopg.rows import namedtuple_row

from apps.gateway import afterwards
from apps.gateway.errors import UnpricedModel
from apps.gateway.models import Target
from apps.gateway.wire import error_body
from menhir.errors import status_of
from menhir.metering.limits import limits
from menhir.tenancy.transaction import tenant_transaction

from peers.caller import ask, call_of, ledger_row
from peers.script import TEXT
from stage.cast import Person

WORDS = len(TEXT.split())
PROVIDERS, ROUTES = "/api/v1/providers", "/api/v1/routes"
OURS = {"slug": "ours", "kind": "openai", "base_url": "https://models.example.com/v1", "tariff": "openai"}
pytestmark = pytest.mark.usefixtures("gateway")


@pytest.fixture
def price(acme):
    """Says what the targets of a route cost, those that lead to this model."""

    def say(name: str, model: str, **prices: Any) -> None:
        with tenant_transaction(acme):
            for target in Target.objects.within(acme).filter(route__name=name, upstream_model=model):
                for field, value in prices.items():
                    setattr(target, field, Decimal(value))
                target.save()

    return sync_to_async(say)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tariff", ["", "openai"])
async def test_what_the_tenant_says_is_what_it_costs(alice, routes, price, stream, tariff):
    name = await routes.to("gpt-4o-mini?cached=2", tariff=tariff)
    await price(name, "gpt-4o-mini?cached=2", input_price="7", cached_input_price="0.7", output_price="11.000001")
    call = call_of(alice.principal, name, stream=stream)
    await ask(call)
    row = ledger_row(call.id)
    assert row["cost"] == (2 * 7 + 2 * Decimal("0.7") + WORDS * Decimal("11.000001")) / 1_000_000
    assert row["priced"]
    assert row["estimate"] > 1_000 * 11 / Decimal(1_000_000), "whoever dies owes by the same price"


async def test_without_a_budget_nobody_needs_a_price(alice, routes, limit):
    await limit(metric="tokens", amount=100_000)
    call = call_of(alice.principal, await routes.to("unheard-of", tariff="openai"))
    await ask(call)
    row = ledger_row(call.id)
    assert (row["cost"], row["priced"]) == (0, False)


@pytest.mark.parametrize("stream", [False, True])
async def test_under_a_budget_a_model_without_a_price_is_not_asked(alice, routes, limit, upstream, stream):
    await limit("user", metric="money", period="day", amount="5")
    name = await routes.to("unheard-of", tariff="openai")
    call = call_of(alice.principal, name, stream=stream)
    with pytest.raises(UnpricedModel, match=f"`unheard-of` at `{name}-0`") as refused:
        await ask(call)
    assert status_of(refused.value) == 400
    said = error_body(refused.value)["error"]
    assert (said["type"], said["code"], said["param"]) == ("invalid_request_error", "unpriced_model", "model")
    assert f"`{name}`" in said["message"]
    assert upstream.stats.requests == 0
    assert ledger_row(call.id) == {}


async def test_once_it_has_a_price_it_is_paid_from_the_budget(alice, routes, limit, price, superuser):
    money = await limit(metric="money", period="day", amount="5")
    name = await routes.to("unheard-of", tariff="openai")
    await price(name, "unheard-of", input_price="100", output_price="200")
    await ask(call_of(alice.principal, name, max_tokens=50))
    await limits.stop()
    with psycopg.connect(superuser, row_factory=namedtuple_row) as connection:
        row = connection.execute("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", [money.id]).fetchone()
    await limits.start()
    assert tuple(row) == ((4 * Decimal(100) + WORDS * Decimal(200)) / 1_000_000, 0)


@pytest.mark.parametrize("amount", ["0", "0.0"])
async def test_a_price_of_nothing_is_a_price(alice, routes, limit, price, amount):
    await limit(metric="money", period="day", amount="0.000001")
    name = await routes.to("unheard-of", tariff="openai")
    await price(name, "unheard-of", input_price=amount, output_price=amount)
    call = call_of(alice.principal, name)
    await ask(call)
    assert (ledger_row(call.id)["cost"], ledger_row(call.id)["priced"]) == (0, True)


async def test_who_has_no_price_list_is_free_under_a_budget_as_well(alice, routes, limit):
    await limit(metric="money", period="day", amount="0.000001")
    call = call_of(alice.principal, await routes.to("our-own-llama"))
    await ask(call)
    assert ledger_row(call.id)["cost"] == 0


async def test_a_second_target_without_a_price_is_as_bad_as_a_first(alice, routes, limit, upstream):
    await limit(metric="money", period="day", amount="5")
    with pytest.raises(UnpricedModel, match="unheard-of"):
        await ask(call_of(alice.principal, await routes.to("gpt-4o-mini", "unheard-of", tariff="openai")))
    assert upstream.stats.requests == 0


async def test_a_shadow_without_a_price_is_left_out_and_the_call_is_not(alice, routes, limit, upstream):
    await limit(metric="money", period="day", amount="5")
    name = await routes.to("gpt-4o-mini", tariff="openai", shadows={"unheard-of": 100})
    assert (await ask(call_of(alice.principal, name))).status == 200
    await afterwards.done(within_seconds=10)
    assert [body["model"] for body in upstream.stats.bodies] == ["gpt-4o-mini"]


async def test_the_cheapest_is_found_by_what_the_tenant_pays(alice, routes, price, upstream):
    name = await routes.to("gpt-4o-mini", "gpt-4o", tariff="openai", policy={"strategy": "least_cost"})
    await price(name, "gpt-4o", input_price="0.01", output_price="0.01")
    await ask(call_of(alice.principal, name))
    assert upstream.stats.bodies[-1]["model"] == "gpt-4o"


def test_a_price_is_set_shown_and_taken_back_by_api(alice: Person, mallory: Person):
    client = alice.api("gateway:read", "gateway:write")
    assert _send(client, "POST", PROVIDERS, **OURS).status_code == 201
    target = {"provider": "ours", "model": "m"}
    price = {"input": "0.1000000001", "output": "2.50"}
    made = _send(client, "POST", ROUTES, name="own", targets=[{**target, "price": price}])
    assert made.status_code == 201
    shown = client.get(f"{ROUTES}/own").json()["targets"][0]
    assert shown["price"] == {"input": "0.1000000001", "output": "2.5", "cached_input": None}
    full = {**price, "cached_input": "0"}
    assert _send(client, "PATCH", f"{ROUTES}/own", targets=[{**target, "price": full}]).json()["targets"][0]["price"]["cached_input"] == "0"
    assert _send(mallory.api(), "PATCH", f"{ROUTES}/own", targets=[{**target, "price": {"input": "0", "output": "0"}}]).status_code == 404
    assert client.get(f"{ROUTES}/own").json()["targets"][0]["price"]["output"] == "2.5"
    assert _send(client, "PATCH", f"{ROUTES}/own", targets=[target]).json()["targets"][0]["price"] is None


@pytest.mark.parametrize(
    "price",
    [
        {"input": "1"},
        {"input": "-1", "output": "1"},
        {"input": "1", "output": "NaN"},
        {"input": "1", "output": "Infinity"},
        {"input": "1", "output": "0.12345678901"},
        {"input": "1", "output": "1e9"},
        {"input": "1", "output": "1", "cached": "1"},
        {"input": "1", "output": "1", "cached_input": "-0.1"},
    ],
)
def test_a_price_that_is_none_is_refused_and_leaves_the_one_before(alice: Person, price: dict[str, Any]):
    client = alice.api("gateway:read", "gateway:write")
    assert _send(client, "POST", PROVIDERS, **OURS).status_code == 201
    before = {"input": "1", "output": "2", "cached_input": None}
    assert _send(client, "POST", ROUTES, name="own", targets=[{"provider": "ours", "model": "m", "price": before}]).status_code == 201
    refused = _send(client, "PATCH", f"{ROUTES}/own", targets=[{"provider": "ours", "model": "m", "price": price}])
    assert refused.status_code == 422, refused.content
    assert "price" in refused.json()["param"]
    assert client.get(f"{ROUTES}/own").json()["targets"][0]["price"] == before


def _send(client: Any, method: str, path: str, **body: Any) -> Any:
    return client.generic(method, path, __import__("json").dumps(body), content_type="application/json")
