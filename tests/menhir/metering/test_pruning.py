"""What nobody needs of limits any more goes every hour, and nobody waits for that."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from menhir.metering.jobs import prune_limits

CALLER = {"key_id": None, "route": "r"}


@pytest.fixture
def left(look, acme):
    """The users that have a row in a table."""

    def users(table):
        return {row.subject for row in look(f"SELECT subject FROM {table} WHERE tenant_id = %s", acme.id)}

    return users


async def hold(limits, tenant, user):
    return await limits.hold(await limits.meters(tenant.id, user=user, **CALLER))


async def told(limits, ledger):
    """Have everything told that the calls have given back, as in the round of each second."""
    for piece in limits._slices.values():
        piece.answers = True
    limits._wake.set()
    async with asyncio.timeout(10):
        while any(piece.answers or piece.free for piece in limits._slices.values()):
            await asyncio.sleep(0.01)


async def test_slots_of_users_who_come_no_more_are_forgotten_though_the_process_lives(limits, ledger, acme, limit, look, left):
    await limit(acme, "user", metric="parallel", period="", amount=2)
    for user in ("gone", "lately"):
        (await hold(limits, acme, user)).release()
    busy = await hold(limits, acme, "busy")
    await told(limits, ledger)
    look("UPDATE metering_lease SET told_at = now() - interval '25 hours' WHERE tenant_id = %s AND subject <> 'lately'", acme.id)
    await prune_limits(timestamp=0)
    assert left("metering_meter") == left("metering_lease") == {"lately", "busy"}
    busy.release()
    # Who comes back finds all his slots, and no more.
    both = [await hold(limits, acme, "gone") for _ in range(2)]
    assert look("SELECT leased FROM metering_meter WHERE tenant_id = %s AND subject = 'gone'", acme.id) == [(2,)]
    for held in both:
        held.release()


async def test_what_a_living_process_has_told_is_kept_while_its_window_runs(limits, ledger, acme, limit, look, left):
    await limit(acme, "user", period="day", amount=10)
    for user in ("over", "runs"):
        (await hold(limits, acme, user)).settle(tokens=0, cost=0)
    await told(limits, ledger)
    look("UPDATE metering_lease SET told_at = now() - interval '25 hours' WHERE tenant_id = %s", acme.id)
    look("UPDATE metering_meter SET ends_at = now() - interval '25 hours' WHERE tenant_id = %s AND subject = 'over'", acme.id)
    await prune_limits(timestamp=0)
    assert left("metering_meter") == left("metering_lease") == {"runs"}


async def test_pruning_waits_for_nobody(limits, acme, limit, look, left, superuser):
    await limit(acme, "user", amount=10)
    for user in ("a", "b", "c"):
        (await hold(limits, acme, user)).settle(tokens=0, cost=0)
    await limits.stop()
    look("UPDATE metering_lease SET told_at = now() - interval '25 hours' WHERE tenant_id = %s", acme.id)
    look("UPDATE metering_meter SET ends_at = now() - interval '25 hours' WHERE tenant_id = %s", acme.id)
    async with await psycopg.AsyncConnection.connect(superuser) as other:
        await other.execute("SELECT FROM metering_meter WHERE tenant_id = %s AND subject = 'a' FOR UPDATE", [acme.id])
        await other.execute("SELECT FROM metering_lease WHERE tenant_id = %s AND subject = 'b' FOR UPDATE", [acme.id])
        async with asyncio.timeout(20):
            await prune_limits(timestamp=0)
        assert (left("metering_meter"), left("metering_lease")) == ({"a"}, {"b"})
    await prune_limits(timestamp=0)
    assert left("metering_meter") == left("metering_lease") == set()


async def test_more_than_go_at_once_go_one_after_the_other(limits, acme, limit, look, left):
    made = await limit(acme, "user", metric="parallel", period="", amount=1)
    look(
        "INSERT INTO metering_meter (tenant_id, id, limit_id, subject, turn, starts_at, spent, leased, reached) "
        "SELECT %s, gen_random_uuid(), %s, n::text, 1, now(), 0, 0, 0 FROM generate_series(1, 2500) AS n",
        acme.id,
        made.id,
    )
    await prune_limits(timestamp=0)
    assert left("metering_meter") == set()
