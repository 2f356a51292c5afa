"""Several asked, one answers, all are paid; and shadows that nobody hears."""

from __future__ import annotations

import asyncio
import os
import time
from datetime import UTC, datetime
from decimal import Decimal

import psycopg
import pytest
from asgiref.sync import sync_to_async
from psycopg.rows import dict_row

from apps.gateway import afterwards, corridor, shadow
from apps.gateway.errors import UpstreamBusy, UpstreamRefused
from menhir.metering import usage
from menhir.telemetry import calls
from menhir.tenancy.transaction import tenant_transaction

from peers.caller import Client, ask, call_of, fake, ledger_row
from peers.script import TEXT

pytestmark = pytest.mark.usefixtures("gateway")
FAN_OUT = {"strategy": "fan_out"}


def rows_of(parent_id):
    """The settled legs and shadows of a call."""
    superuser = psycopg.conninfo.make_conninfo(os.environ["MENHIR_TEST_SUPERUSER"], dbname=os.environ["MENHIR_TEST_DATABASE"])
    with psycopg.connect(superuser, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT call.parent_id, settlement.* FROM metering_call AS call LEFT JOIN metering_settlement AS settlement USING (tenant_id, opened_at, id)"
            " WHERE call.parent_id = %s ORDER BY provider",
            [parent_id],
        ).fetchall()


async def legs_of(call):
    await afterwards.done(within_seconds=5)
    return rows_of(call.id)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_first_good_answer_wins_and_the_others_are_hung_up_on_and_paid(alice, routes, upstream, stream):
    name = await routes.to(fake(first_ms=20_000), fake(first_ms=200), fake(status=500), policy=FAN_OUT)
    call = call_of(alice.principal, name, stream=stream)
    client = await ask(call)
    assert (client.text if stream else client.json["choices"][0]["message"]["content"]).strip() == TEXT
    assert client.headers["x-menhir-upstream"] == f"{name}-1"
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 1)
    row = ledger_row(call.id)
    assert (row["outcome"], row["provider"], row["attempts"], row["usage_source"]) == ("completed", f"{name}-1", 1, "upstream")
    slow, down = await legs_of(call)
    assert (slow["provider"], slow["outcome"], slow["error_code"], slow["attempts"]) == (f"{name}-0", "cancelled", "outrun", 1)
    assert (slow["usage_source"], slow["input_tokens"] > 0) == ("estimate", True)
    assert (down["provider"], down["outcome"], down["error_code"], down["input_tokens"]) == (f"{name}-2", "failed", "upstream_down", 0)
    assert row["attempts"] + slow["attempts"] + down["attempts"] == upstream.stats.requests == 3


async def test_a_stream_that_only_says_who_speaks_has_not_won(alice, routes):
    name = await routes.to(fake(role=2, gap_ms=3_000), fake(first_ms=100), policy=FAN_OUT)
    client = await ask(call_of(alice.principal, name, stream=True))
    assert client.headers["x-menhir-upstream"] == f"{name}-1"


async def test_usage_counts_the_clients_call_once_and_the_money_of_all(alice, routes):
    name = await routes.to("gpt-4o-mini", "gpt-4o", tariff="openai", policy=FAN_OUT)
    calls, leg = [], None
    while leg is None or not leg["attempts"]:  # one may win before the other, whose row comes first, is asked at all
        calls.append(call_of(alice.principal, name))
        await ask(calls[-1])
        (leg,) = await legs_of(calls[-1])

    def summed():
        with tenant_transaction(alice.tenant):
            today = datetime.now(UTC).date()
            return usage.summary(alice.tenant, first_day=today, last_day=today, group_by=("day",)).total

    total = await sync_to_async(summed)()
    assert (total.calls, total.errors, total.cancelled, total.unsettled) == (len(calls), 0, 0, 0)
    assert total.cost == sum(ledger_row(call.id)["cost"] for call in calls) + leg["cost"]
    assert leg["cost"] > 0


async def test_when_nobody_answers_the_client_is_told_to_try_again_where_that_may_help(alice, routes, upstream):
    name = await routes.to(fake(status=500), fake(status=429), policy=FAN_OUT)
    call = call_of(alice.principal, name)
    with pytest.raises(UpstreamBusy):
        await ask(call)
    assert upstream.stats.requests == 2
    assert ledger_row(call.id)["outcome"] == "failed"
    assert [(leg["provider"], leg["outcome"]) for leg in await legs_of(call)] == [(f"{name}-1", "failed")]


async def test_what_everybody_refuses_is_refused(alice, routes):
    name = await routes.to(fake(status=400), fake(status=400, chunks=1), policy=FAN_OUT)
    with pytest.raises(UpstreamRefused):
        await ask(call_of(alice.principal, name))


async def test_a_hedge_is_asked_only_when_the_first_is_slow(alice, routes, upstream):
    quick = await routes.to("fake", "fake?chunks=1", policy={**FAN_OUT, "hedge_seconds": 5.0})
    call = call_of(alice.principal, quick)
    await ask(call)
    assert upstream.stats.requests == 1
    assert await legs_of(call) == []
    slow = await routes.to(fake(first_ms=20_000), "fake", policy={**FAN_OUT, "hedge_seconds": 0.2})
    began = time.monotonic()
    call = call_of(alice.principal, slow)
    assert (await ask(call)).headers["x-menhir-upstream"] == f"{slow}-1"
    assert 0.2 <= time.monotonic() - began < 2
    assert len(await legs_of(call)) == 1


async def test_a_hedge_does_not_wait_when_the_first_has_failed(alice, routes):
    name = await routes.to(fake(status=500), "fake", policy={**FAN_OUT, "hedge_seconds": 20.0})
    began = time.monotonic()
    assert (await ask(call_of(alice.principal, name))).headers["x-menhir-upstream"] == f"{name}-1"
    assert time.monotonic() - began < 5


async def test_a_client_that_hangs_up_takes_all_of_them_with_it(alice, routes, upstream):
    name = await routes.to(fake(first_ms=20_000), fake(first_ms=20_001), policy=FAN_OUT)
    call, client = call_of(alice.principal, name), Client()
    asyncio.get_running_loop().call_later(0.2, client.gone.set)
    await corridor.run(call, client, client.gone)
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 2)
    assert ledger_row(call.id)["outcome"] == "cancelled"
    assert [leg["outcome"] for leg in await legs_of(call)] == ["cancelled"]


@pytest.mark.parametrize("number", [0, 1])
async def test_a_leg_that_answers_in_the_moment_of_the_hang_up_is_hung_up_on(alice, routes, upstream, number):
    models = [fake(first_ms=20_000)] * 2
    models[number] = fake(first_ms=200, chunks=400, gap_ms=50)
    name = await routes.to(*models, policy=FAN_OUT)
    call = call_of(alice.principal, name, stream=True)
    running = asyncio.create_task(ask(call))
    assert await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == 2)
    (leg,) = [task for task in asyncio.all_tasks() if task.get_name() == f"leg to {name}-{number}"]
    leg.add_done_callback(lambda _leg: running.cancel())  # after the race has heard of it, and before it can say so
    await asyncio.gather(running, return_exceptions=True)
    answer = leg.result()
    await afterwards.done(within_seconds=5)
    assert answer.context is None, "it is closed"
    assert await asyncio.to_thread(upstream.wait, lambda stats: len(stats.cancelled) == 2)
    assert ledger_row(call.id)["outcome"] == "interrupted"


async def test_a_leg_that_cannot_be_settled_keeps_no_other_from_it(alice, routes, monkeypatch):
    def trip(finished):
        if finished.provider.endswith("-1"):
            raise ValueError("a bug of a watcher")

    monkeypatch.setattr(calls, "watchers", [trip])
    name = await routes.to("fake", fake(first_ms=20_000), fake(first_ms=20_001), policy=FAN_OUT)
    call = call_of(alice.principal, name)
    await ask(call)
    assert [(leg["provider"], leg["outcome"]) for leg in await legs_of(call)] == [(f"{name}-1", "cancelled"), (f"{name}-2", "cancelled")]


@pytest.mark.parametrize("stream", [False, True])
async def test_a_shadow_is_asked_the_same_and_nobody_waits_for_it(alice, routes, upstream, stream):
    name = await routes.to("fake", shadows={"claude-3-haiku?first_ms=1500": 100}, tariff="anthropic")
    call = call_of(alice.principal, name, stream=stream)
    client = await ask(call)
    assert client.ended
    assert upstream.stats.answered == 1
    assert client.headers["x-menhir-upstream"] == f"{name}-0"
    (leg,) = await legs_of(call)
    assert (leg["outcome"], leg["provider"], leg["input_tokens"], leg["parent_id"]) == ("completed", f"{name}-1", 4, call.id)
    assert leg["cost"] > 0
    assert upstream.stats.bodies[0]["messages"] == upstream.stats.bodies[1]["messages"]


@pytest.mark.parametrize("orders", [{"status": 500}, {"cut": 2}, {"malformed": 0}, {"error": 1}])
async def test_a_shadow_that_fails_fails_nobody(alice, routes, orders):
    call = call_of(alice.principal, await routes.to("fake", shadows={fake(**orders): 100}), stream=True)
    client = await ask(call)
    assert (client.status, client.events[-1]) == (200, "[DONE]")
    assert ledger_row(call.id)["outcome"] == "completed"
    assert [leg["outcome"] for leg in await legs_of(call)] == ["failed"]


async def test_a_shadow_of_no_percent_is_asked_nothing(alice, routes, upstream):
    call = call_of(alice.principal, await routes.to("fake", shadows={"fake?chunks=1": 0}))
    await ask(call)
    assert await legs_of(call) == []
    assert upstream.stats.requests == 1


async def test_shadows_are_bounded_and_interrupted_when_the_process_ends(alice, routes, monkeypatch):
    monkeypatch.setattr(shadow, "MOST_SHADOWS", 2)
    name = await routes.to("fake", shadows={fake(first_ms=20_000): 100})
    shown = [call_of(alice.principal, name) for _ in range(4)]
    for call in shown:
        await ask(call)
    await afterwards.done(within_seconds=0.5)
    assert [leg["outcome"] for call in shown for leg in rows_of(call.id)] == ["interrupted", "interrupted"]


async def test_prices_of_all_targets_are_thought_of_before_anybody_is_asked(alice, routes):
    cheap, dear = "gpt-4o-mini", "gpt-4o"
    call = call_of(alice.principal, await routes.to(cheap, dear, tariff="openai"))
    alone = call_of(alice.principal, await routes.to(dear, tariff="openai"))
    await ask(call)
    await ask(alone)
    assert ledger_row(call.id)["estimate"] == ledger_row(alone.id)["estimate"] > Decimal(0)
