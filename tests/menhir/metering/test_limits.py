"""Limits within one process, on a real PostgreSQL: what passes, what is refused, and what comes back."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from menhir.errors import LimitReached, Unavailable
from menhir.metering.errors import QuotaExceeded, RateLimitExceeded
from menhir.metering.limits import Limits
from menhir.postgres.ids import uuid7

CALLER = {"key_id": None, "user": None, "route": "r"}


async def hold(limits, tenant, *, tokens=0, money="0", **caller):
    meters = await limits.meters(tenant.id, **{**CALLER, **caller})
    return await limits.hold(meters, tokens=tokens, money=Decimal(money))


async def passes(limits, tenant, **wanted):
    """Whether a call passes; it ends at once, having used what it held."""
    try:
        held = await hold(limits, tenant, **wanted)
    except LimitReached:
        return False
    held.settle(tokens=wanted.get("tokens", 0), cost=Decimal(wanted.get("money", "0")))
    return True


async def test_a_tenant_without_limits_has_no_meters(limits, acme, globex, limit):
    await limit(globex)
    assert await limits.meters(acme.id, **CALLER) is None


@pytest.mark.parametrize("at_once", [1, 40])
async def test_exactly_as_many_as_allowed_pass(limits, acme, limit, at_once):
    await limit(acme, amount=10)
    results = []
    for _ in range(40 // at_once):
        results += await asyncio.gather(*(passes(limits, acme) for _ in range(at_once)))
    assert results.count(True) == 10


async def test_each_key_has_its_own_and_a_named_one_another(limits, acme, limit, alice):
    from menhir.tenancy.models import ApiKey

    def first():
        from menhir.tenancy.transaction import tenant_transaction

        with tenant_transaction(acme):
            return ApiKey.issue(acme, name="rich")[0]

    rich = await asyncio.to_thread(first)
    await limit(acme, "key", amount=2)
    await limit(acme, "key", str(rich.id), amount=5)
    for key_id, allowed in ((uuid7(), 2), (uuid7(), 2), (rich.id, 5)):
        assert [await passes(limits, acme, key_id=key_id) for _ in range(7)].count(True) == allowed
    assert await limits.meters(acme.id, **CALLER) is None


async def test_a_refused_call_burns_nothing_of_the_other_meters(limits, acme, limit):
    await limit(acme, "user", amount=1)
    await limit(acme, metric="tokens", amount=1000)
    await limit(acme, metric="money", period="day", amount="1")
    await limit(acme, metric="parallel", period="", amount=5)
    await limit(acme, amount=8)
    assert [await passes(limits, acme, user="a", tokens=100, money="0.1") for _ in range(20)].count(True) == 1
    # A call that may never pass takes nothing either.
    assert not await passes(limits, acme, user="z", tokens=1001)
    assert [await passes(limits, acme, user=str(number), tokens=100, money="0.1") for number in range(20)].count(True) == 7


async def test_tokens_are_settled_with_what_was_used(limits, acme, limit):
    await limit(acme, metric="tokens", amount=1000)
    one = await hold(limits, acme, tokens=900)
    assert not await passes(limits, acme, tokens=200)
    one.settle(tokens=100, cost=Decimal(0))
    one.settle(tokens=900, cost=Decimal(0))
    one.release()
    assert await passes(limits, acme, tokens=900)
    assert not await passes(limits, acme, tokens=1)


async def test_who_uses_more_than_held_leaves_a_debt_for_the_next(limits, acme, limit, look):
    made = await limit(acme, metric="tokens", amount=1000)
    (await hold(limits, acme, tokens=100)).settle(tokens=700, cost=Decimal(0))
    assert not await passes(limits, acme, tokens=301)
    assert await passes(limits, acme, tokens=300)
    assert not await passes(limits, acme, tokens=1)
    await limits.stop()
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(1000, 0)]


async def test_slots_come_back_however_a_call_ends(limits, acme, limit, look):
    made = await limit(acme, metric="parallel", period="", amount=2)
    for _ in range(3):
        one, two = await hold(limits, acme), await hold(limits, acme)
        with pytest.raises(RateLimitExceeded) as refused:
            await hold(limits, acme)
        assert dict(refused.value.headers)[b"retry-after"] == b"1"
        one.release()
        two.settle(tokens=0, cost=Decimal(0))
    await limits.stop()
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(0, 0)]


async def test_money_is_exact_to_the_last_digit(limits, acme, limit, look):
    made = await limit(acme, metric="money", period="month", amount="0.10")
    cost = Decimal("0.000000000123456789")
    for _ in range(50):
        (await hold(limits, acme, money="0.001")).settle(tokens=0, cost=cost)
    with pytest.raises(QuotaExceeded) as refused:
        await hold(limits, acme, money="0.1")
    assert refused.value.code == "insufficient_quota"
    assert dict(refused.value.headers)[b"x-should-retry"] == b"false"
    await limits.stop()
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(50 * cost, 0)]


async def test_a_window_begins_with_the_first_call_and_turns_over_without_a_job(ledger, house, acme, limit, look):
    clock = [datetime(2030, 5, 6, 23, 59, 40, tzinfo=UTC)]
    limits = Limits(lambda: ledger.process_id, at=lambda: clock[0])
    await limits.start()
    made = await limit(acme, amount=3)
    budget = await limit(acme, metric="money", period="week", amount="1")
    assert [await passes(limits, acme, money="0.1") for _ in range(5)].count(True) == 3
    (row,) = look("SELECT starts_at, ends_at FROM metering_meter WHERE limit_id = %s", made.id)
    assert row == (clock[0], clock[0] + timedelta(minutes=1))
    (row,) = look("SELECT starts_at, ends_at FROM metering_meter WHERE limit_id = %s", budget.id)
    assert (row.starts_at, row.ends_at) == (datetime(2030, 5, 6, tzinfo=UTC), datetime(2030, 5, 13, tzinfo=UTC))
    await limits.stop()
    clock[0] += timedelta(seconds=59)
    await limits.start()
    assert not await passes(limits, acme)
    await limits.stop()
    clock[0] += timedelta(seconds=1)
    await limits.start()
    assert [await passes(limits, acme, money="0.1") for _ in range(5)].count(True) == 3
    await limits.stop()
    assert look("SELECT spent FROM metering_meter WHERE limit_id = %s", budget.id) == [(Decimal("0.6"),)]
    clock[0] = datetime(2030, 5, 13, 0, 0, 0, 1, tzinfo=UTC)
    await limits.start()
    assert await passes(limits, acme, money="0.1")
    await limits.stop()
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", budget.id) == [(Decimal("0.1"), 0)]


@pytest.mark.parametrize(
    ("period", "first", "begins", "ends"),
    [
        ("day", datetime(2030, 5, 6, 7, 8, 9, tzinfo=UTC), datetime(2030, 5, 6, tzinfo=UTC), datetime(2030, 5, 7, tzinfo=UTC)),
        ("day", datetime(2030, 12, 31, tzinfo=UTC), datetime(2030, 12, 31, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)),
        ("month", datetime(2030, 5, 31, 23, 0, tzinfo=UTC), datetime(2030, 5, 1, tzinfo=UTC), datetime(2030, 6, 1, tzinfo=UTC)),
        ("month", datetime(2028, 2, 29, 12, tzinfo=UTC), datetime(2028, 2, 1, tzinfo=UTC), datetime(2028, 3, 1, tzinfo=UTC)),
        ("month", datetime(2030, 12, 2, tzinfo=UTC), datetime(2030, 12, 1, tzinfo=UTC), datetime(2031, 1, 1, tzinfo=UTC)),
    ],
)
async def test_a_budget_lasts_to_the_end_of_its_day_or_month(ledger, house, acme, limit, look, period, first, begins, ends):
    clock = [first]
    limits = Limits(lambda: ledger.process_id, at=lambda: clock[0])
    budget = await limit(acme, metric="money", period=period, amount="1")

    async def pays(at, money):
        clock[0] = at
        await limits.start()
        passed = await passes(limits, acme, money=money)
        await limits.stop()
        return passed

    def meter():
        (row,) = look("SELECT starts_at, ends_at, spent, leased FROM metering_meter WHERE limit_id = %s", budget.id)
        return tuple(row)

    assert await pays(first, "0.7")
    assert meter() == (begins, ends, Decimal("0.7"), 0)
    last = ends - timedelta(seconds=30)
    assert not await pays(last, "0.4")
    assert await pays(last, "0.3")
    assert meter() == (begins, ends, 1, 0)
    assert await pays(ends, "1")
    next_ends = (
        datetime(ends.year + ends.month // 12, ends.month % 12 + 1, 1, tzinfo=UTC) if period == "month" else ends + timedelta(days=1)
    )
    assert meter() == (ends, next_ends, 1, 0)
    assert not await pays(next_ends - timedelta(seconds=30), "0.000001")


async def test_the_window_turns_over_under_a_process_that_holds_a_slice(limits, acme, limit, look):
    made = await limit(acme, amount=2)
    assert [await passes(limits, acme) for _ in range(3)] == [True, True, False]
    look("UPDATE metering_meter SET ends_at = now() WHERE limit_id = %s", made.id)
    for piece in limits._slices.values():
        piece.ends = piece.left_until = 0.0  # as its own clock would have it
    assert [await passes(limits, acme) for _ in range(3)] == [True, True, False]


@pytest.fixture
def told(look):
    """What was told of a limit, in order: the window, and how many per cent."""

    def events(made):
        return look("SELECT starts_at, percent FROM metering_limitevent WHERE limit_id = %s ORDER BY at, percent", made.id)

    return events


async def test_eighty_and_a_hundred_per_cent_are_told_in_turn_and_once(limits, acme, limit, told):
    made = await limit(acme, amount=10)

    async def after(calls):
        assert [await passes(limits, acme) for _ in range(calls)] == [True] * calls
        await limits.stop()
        percents = [event.percent for event in told(made)]
        await limits.start()
        return percents

    assert await after(7) == []
    assert await after(1) == [80]
    assert await after(1) == [80]
    assert await after(1) == [80, 100]
    for _ in range(5):
        assert not await passes(limits, acme)
    assert await after(0) == [80, 100]


@pytest.mark.parametrize(("metric", "period", "used"), [("tokens", "minute", 10), ("tokens", "minute", 25), ("money", "day", 10)])
async def test_a_leap_past_both_is_told_as_both(limits, acme, limit, told, metric, period, used):
    made = await limit(acme, metric=metric, period=period, amount=10)
    (await hold(limits, acme, tokens=10, money="10")).settle(tokens=used, cost=Decimal(used))
    await limits.stop()
    assert [event.percent for event in told(made)] == [80, 100]


async def test_what_is_left_over_and_too_little_is_as_good_as_spent(limits, acme, limit, told):
    made = await limit(acme, metric="money", period="day", amount=10)
    assert await passes(limits, acme, money="7")
    assert not await passes(limits, acme, money="4")
    await limits.stop()
    assert [event.percent for event in told(made)] == [80, 100]


async def test_each_window_tells_anew(ledger, house, acme, limit, told):
    clock = [datetime(2030, 5, 6, 12, tzinfo=UTC)]
    limits = Limits(lambda: ledger.process_id, at=lambda: clock[0])
    made = await limit(acme, metric="money", period="day", amount=10)
    for day, costs in ((6, ("8", "2")), (7, ("9",)), (8, ("10",))):
        clock[0] = datetime(2030, 5, day, 12, tzinfo=UTC)
        for cost in costs:
            await limits.start()
            assert await passes(limits, acme, money=cost)
            await limits.stop()
    assert [(event.starts_at.day, event.percent) for event in told(made)] == [(6, 80), (6, 100), (7, 80), (8, 80), (8, 100)]


async def test_more_is_allowed_as_soon_as_the_limit_is_raised(limits, acme, limit):
    from menhir.tenancy.transaction import tenant_transaction

    made = await limit(acme, amount=1)
    assert [await passes(limits, acme) for _ in range(2)] == [True, False]

    def change(amount):
        with tenant_transaction(acme):
            made.change(Decimal(amount))

    await asyncio.to_thread(change, 3)
    assert [await passes(limits, acme) for _ in range(3)] == [True, True, False]

    def delete():
        with tenant_transaction(acme):
            made.delete()

    await asyncio.to_thread(delete)
    assert await limits.meters(acme.id, **CALLER) is None


async def test_cancelled_while_waiting_leaves_nothing_held(limits, acme, limit, look):
    made = await limit(acme, metric="parallel", period="", amount=100)
    tasks = [asyncio.create_task(hold(limits, acme)) for _ in range(100)]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    done = await asyncio.gather(*tasks, return_exceptions=True)
    for held in done:
        if not isinstance(held, asyncio.CancelledError):
            held.release()
    await limits.stop()
    assert look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", made.id) == [(0, 0)]


async def test_without_a_database_nothing_is_given_out_that_is_not_held(limits, acme, limit, look, monkeypatch):
    from django.conf import settings

    await limit(acme, amount=100)
    assert await passes(limits, acme)
    there, away = settings.MENHIR_DATABASES, "host=/nonexistent dbname=menhir connect_timeout=1"
    monkeypatch.setattr(settings, "MENHIR_DATABASES", {**there, "gateway": away})
    await limits._line.close()
    limits._heard = 0.0  # ten seconds later
    with pytest.raises(Unavailable):
        await hold(limits, acme)
    monkeypatch.setattr(settings, "MENHIR_DATABASES", there)
    assert [await passes(limits, acme) for _ in range(120)].count(True) == 99


async def test_three_meters_that_suffice_cost_microseconds(limits, acme, limit):
    await limit(acme, amount=1_000_000)
    await limit(acme, metric="tokens", amount=1_000_000_000)
    await limit(acme, metric="money", period="month", amount="1000000")
    meters = await limits.meters(acme.id, **CALLER)
    cost = Decimal("0.0001")
    loop = asyncio.get_running_loop()
    best = 1.0
    for _ in range(30):
        began = loop.time()
        for _ in range(100):
            held = await limits.hold(meters, tokens=100, money=cost)
            held.settle(tokens=90, cost=cost)
        best = min(best, (loop.time() - began) / 100)
    print(f"hold and settle of three meters: {best * 1e6:.1f} microseconds")
    assert best < 50e-6


async def test_what_nobody_uses_any_more_is_forgotten_hourly(ledger, limits, acme, limit, look):
    from menhir.metering.jobs import prune_limits

    old, fresh, slots = (
        await limit(acme, amount=5),
        await limit(acme, amount=5, period="day"),
        await limit(acme, metric="parallel", period="", amount=5),
    )
    assert await passes(limits, acme)
    await limits.stop()
    look("UPDATE metering_meter SET ends_at = now() - interval '2 days' WHERE limit_id = %s", old.id)

    def left(table):
        return {row.limit_id for row in look(f"SELECT limit_id FROM {table} WHERE tenant_id = %s", acme.id)}

    await prune_limits(timestamp=0)
    # While its process lives a lease is kept: it says what was told.
    assert left("metering_meter") == {fresh.id, slots.id}
    assert left("metering_lease") == {old.id, fresh.id, slots.id}
    look("DELETE FROM metering_process WHERE id = %s", ledger.process_id)
    await prune_limits(timestamp=0)
    assert left("metering_lease") == {fresh.id}


async def test_a_process_of_the_platform_itself_has_limits_too(limits, acme, limit):
    """Its own calls go by no key; the tenant's and the route's limits are theirs as well."""
    await limit(acme, "key", amount=1)
    await limit(acme, "route", "r", amount=2)
    assert [await passes(limits, acme) for _ in range(3)] == [True, True, False]
    await limit(acme, "route", amount=1)
    assert [await passes(limits, acme, route="another") for _ in range(2)] == [True, False]
