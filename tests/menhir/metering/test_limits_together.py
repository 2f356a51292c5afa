"""Limits over several real processes: exact to the request and to the cent, whoever is idle, killed or cut off."""

from __future__ import annotations

import asyncio
import time
from decimal import Decimal

import pytest

from menhir.metering.process import sweep
from menhir.postgres.line import Line

pytestmark = pytest.mark.slow


def total(results, name="passed"):
    return sum(result[name] for result in results)


async def test_four_processes_let_exactly_five_hundred_pass(acme, limit, spenders, look):
    made = await limit(acme, amount=500, period="hour")
    four = await spenders(4)
    results = await four.every(do="call", tenant=str(acme.id), n=400, at_once=50)
    assert (total(results), total(results, "refused"), total(results, "unavailable")) == (500, 1100, 0)
    await four.every(do="stop")
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(500, 0)]


async def test_an_idle_process_gives_back_what_another_lacks(acme, limit, spenders):
    await limit(acme, amount=500, period="hour")
    three = await spenders(3)
    # Two have just been busy, and keep a store.
    early = [await three.tell(number, do="call", tenant=str(acme.id), n=n, at_once=3) for number, n in ((0, 60), (1, 90))]
    late = await three.tell(2, do="call", tenant=str(acme.id), n=600, at_once=20)
    assert [result["passed"] for result in early] == [60, 90]
    assert late["passed"] == 350


async def test_slots_are_never_more_than_allowed_and_never_fewer(acme, limit, spenders):
    await limit(acme, metric="parallel", period="", amount=9)
    three = await spenders(3)
    assert await three.tell(0, do="take", tenant=str(acme.id), n=6) == {"kept": 6}
    assert await three.tell(1, do="take", tenant=str(acme.id), n=3) == {"kept": 3}
    assert (await three.tell(2, do="call", tenant=str(acme.id), n=20))["refused"] == 20
    await three.tell(0, do="stop")
    # The calls of one that has left are over; what it held in them is nobody's, and comes back with the sweep.
    assert (await three.tell(1, do="call", tenant=str(acme.id), n=1))["refused"] == 1


async def test_a_budget_is_never_passed_by_twenty_processes_and_equals_the_ledger(acme, limit, spenders, look):
    made = await limit(acme, metric="money", period="month", amount="0.50")
    twenty = await spenders(20)
    # Each call is held at twice what it costs.
    order = {"do": "call", "tenant": str(acme.id), "money": "0.01", "cost": "0.005", "ledger": True}
    results = await twenty.every(n=20, at_once=4, work_ms=2, **order)
    # Some was refused because others were under way: the rest is for whoever asks again.
    until = time.monotonic() + 20
    while total(results) < 98 and time.monotonic() < until:
        results.append(await twenty.tell(7, n=1, **order))
    await twenty.every(do="stop")
    ledger = look("SELECT sum(cost) AS cost, count(*) AS calls FROM metering_settlement WHERE tenant_id = %s", acme.id)[0]
    assert ledger.calls == total(results)
    assert ledger.cost == total(results) * Decimal("0.005")
    assert Decimal("0.49") <= ledger.cost <= Decimal("0.50")
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(ledger.cost, 0)]


async def test_two_processes_tell_of_eighty_and_a_hundred_per_cent_once_and_in_turn(acme, limit, spenders, look):
    made = await limit(acme, amount=10, period="hour")
    two = await spenders(2)

    async def told(wanted):
        """What was told, once everything is reported, which each does once a second."""
        async with asyncio.timeout(20):
            while look("SELECT spent FROM metering_meter WHERE limit_id = %s", made.id)[0].spent < wanted:
                await asyncio.sleep(0.05)
        return [row.percent for row in look("SELECT percent FROM metering_limitevent WHERE limit_id = %s ORDER BY at, percent", made.id)]

    async def call(*counts):
        results = [await two.tell(number, do="call", tenant=str(acme.id), n=n) for number, n in enumerate(counts)]
        assert [result["passed"] for result in results] == list(counts)

    await call(3, 4)
    assert await told(7) == []
    await call(0, 1)
    assert await told(8) == [80]
    await call(1, 1)
    assert await told(10) == [80, 100]
    assert total(await two.every(do="call", tenant=str(acme.id), n=5)) == 0
    await two.every(do="stop")
    assert await told(10) == [80, 100]


async def test_two_processes_leap_past_both_together(acme, limit, spenders, look):
    made = await limit(acme, metric="tokens", amount=10, period="hour")
    two = await spenders(2)
    results = await two.every(do="call", tenant=str(acme.id), n=1, tokens=5, used=5)
    assert total(results) == 2
    await two.every(do="stop")
    told = look("SELECT percent FROM metering_limitevent WHERE limit_id = %s ORDER BY at, percent", made.id)
    assert [row.percent for row in told] == [80, 100]


async def test_what_a_killed_process_held_comes_back(acme, limit, spenders, look):
    requests = await limit(acme, amount=100, period="hour")
    slots = await limit(acme, metric="parallel", period="", amount=10)
    budget = await limit(acme, metric="money", period="day", amount="1.00")
    two = await spenders(2)
    order = {"tenant": str(acme.id), "money": "0.05"}
    first = await two.tell(0, do="call", n=8, ledger=True, cost="0.01", **order)
    assert first["passed"] == 8
    assert await two.tell(0, do="take", n=10, **order) == {"kept": 10}
    assert (await two.tell(1, do="call", n=5, **order))["refused"] == 5
    two.kill(0)
    look("UPDATE metering_process SET beat_at = now() - interval '10 s' WHERE id = %s", two.known[0]["process_id"])
    line = Line("gateway")
    await sweep(line, silent_seconds=8.0)
    await line.close()

    def meter(made):
        """What was spent, and what is held by nobody who lives."""
        ((spent, leased),) = look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id)
        return spent, leased - look("SELECT sum(held) AS held FROM metering_lease WHERE limit_id = %s", made.id)[0].held

    held = look("SELECT held FROM metering_lease WHERE process_id = %s", two.known[0]["process_id"])
    assert {row.held for row in held} == {0}
    assert meter(slots) == (0, 0)
    assert meter(budget) == (Decimal("0.08"), 0)
    assert meter(requests)[0] >= 18
    until = time.monotonic() + 10  # it had just learnt that there is nothing, and believes that for a moment
    while not (await two.tell(1, do="call", n=1, **order))["passed"]:
        assert time.monotonic() < until
    assert (await two.tell(1, do="call", n=5, **order))["passed"] == 5


async def test_who_was_taken_for_dead_and_lives_begins_anew(acme, limit, spenders, look):
    made = await limit(acme, metric="parallel", period="", amount=4)
    (one,) = [await spenders(1)]
    assert await one.tell(0, do="take", tenant=str(acme.id), n=4) == {"kept": 4}
    look("UPDATE metering_process SET beat_at = now() - interval '30 s' WHERE id = %s", one.known[0]["process_id"])
    line = Line("gateway")
    await sweep(line, silent_seconds=20.0)
    await line.close()
    results = await one.tell(0, do="call", tenant=str(acme.id), n=40, at_once=2, work_ms=100)
    assert results["passed"] >= 30
    await one.every(do="stop")
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(0, 0)]


async def test_connections_cut_in_the_middle_change_no_count(acme, limit, spenders, look):
    made = await limit(acme, amount=600, period="hour")
    two = await spenders(2)

    def cut():
        look("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'menhir_gateway' AND datname = current_database()")

    working = asyncio.gather(*(two.tell(number, do="call", tenant=str(acme.id), n=500, at_once=10, work_ms=2) for number in range(2)))
    while not working.done():
        await asyncio.gather(asyncio.to_thread(cut), asyncio.wait([working], timeout=0.05))
    results = await working
    assert total(results) <= 600
    results += await two.every(do="call", tenant=str(acme.id), n=300, at_once=10)
    assert total(results) == 600
    await two.every(do="stop")
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(600, 0)]
