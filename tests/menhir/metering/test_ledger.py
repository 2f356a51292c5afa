"""The ledger on a real PostgreSQL: what is committed when, by whom, and what becomes of it when something dies."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import psycopg
import pytest
from django.conf import settings

from menhir.errors import Unavailable
from menhir.metering import ledger as module
from menhir.metering.ledger import Ledger
from menhir.metering.models import Call, Settlement
from menhir.metering.process import sweep
from menhir.postgres.line import Line
from menhir.postgres.roles import conninfo
from menhir.tenancy.transaction import tenant_transaction


def entries(look, call):
    return (
        look("SELECT * FROM metering_call WHERE id = %s", call.call_id),
        look("SELECT * FROM metering_settlement WHERE id = %s", call.call_id),
    )


async def test_an_opened_call_is_on_the_disk_when_open_returns(ledger, acme, look, opening):
    call = opening(acme.id)
    await ledger.open(call)
    (row,), settled = entries(look, call)
    assert (row.tenant_id, row.model, row.estimate, row.process_id) == (acme.id, "gpt-4o-mini", Decimal("0.0042"), ledger.process_id)
    assert row.opened_at == call.opened_at
    assert settled == []


async def test_a_settled_call_is_on_the_disk_when_settle_returns_to_the_last_digit(ledger, acme, look, opening, settlement):
    call = opening(acme.id)
    await ledger.open(call)
    await ledger.settle(settlement(call, cost=Decimal("0.000000000123456789")))
    _, (row,) = entries(look, call)
    assert row.cost == Decimal("0.000000000123456789")
    assert (row.input_tokens, row.cached_input_tokens, row.output_tokens, row.priced) == (1_000, 400, 100, True)


async def test_the_first_settlement_of_a_call_wins(ledger, acme, look, opening, settlement):
    call = opening(acme.id)
    await ledger.open(call)
    await ledger.settle(settlement(call, outcome="cancelled", status=499))
    await ledger.settle(settlement(call, outcome="completed", cost=Decimal(9)))
    _, (row,) = entries(look, call)
    assert (row.outcome, row.status, row.cost) == ("cancelled", 499, Decimal("0.000180"))


async def test_a_thousand_callers_of_two_tenants_each_get_their_own_row(ledger, acme, globex, look, opening, settlement):
    calls = [opening((acme, globex)[number % 2].id, model=f"m{number}") for number in range(1_000)]

    async def one(call):
        await ledger.open(call)
        await ledger.settle(settlement(call))

    await asyncio.gather(*map(one, calls))
    for tenant in (acme, globex):
        (row,) = look(
            "SELECT count(*) AS calls, count(DISTINCT c.model) AS models, count(s.id) AS settled FROM metering_call c "
            "LEFT JOIN metering_settlement s ON s.tenant_id = c.tenant_id AND s.id = c.id WHERE c.tenant_id = %s",
            tenant.id,
        )
        assert row == (500, 500, 500)


@pytest.mark.parametrize("wrong", [{"estimate": Decimal(-1)}, {"model": "a\x00b"}, {"model": "\ud800"}, {"stream": None}])
async def test_a_row_the_database_refuses_takes_no_other_with_it(ledger, acme, look, opening, wrong):
    good, bad = opening(acme.id, model='"quoted" \\ \u20ac'), opening(acme.id, **wrong)
    results = await asyncio.gather(ledger.open(good), ledger.open(bad), return_exceptions=True)
    assert results[0] is None
    assert isinstance(results[1], psycopg.Error | UnicodeEncodeError)
    assert entries(look, good)[0][0].model == '"quoted" \\ \u20ac'
    assert len(entries(look, good)[0]) == 1
    assert entries(look, bad)[0] == []


async def test_a_day_without_a_partition_is_made_rather_than_a_call_lost(ledger, acme, look, opening, settlement):
    furthest = datetime.now(UTC) + timedelta(days=7)
    for table in ("metering_call", "metering_settlement"):
        look(f"DROP TABLE IF EXISTS {table}_{furthest:%Y%m%d}")
    call = opening(acme.id, opened_at=furthest)
    await ledger.open(call)
    await ledger.settle(settlement(call))
    assert [len(rows) for rows in entries(look, call)] == [1, 1]


async def test_a_call_of_a_day_that_cannot_be_is_refused_alone(ledger, acme, look, opening):
    wrong, right = opening(acme.id, opened_at=datetime(1970, 1, 1, tzinfo=UTC)), opening(acme.id)
    results = await asyncio.gather(ledger.open(wrong), ledger.open(right), return_exceptions=True)
    assert isinstance(results[0], psycopg.errors.CheckViolation)
    assert results[1] is None
    assert len(entries(look, right)[0]) == 1


async def test_the_coming_days_are_there_and_nobody_may_read_a_partition_itself(ledger):
    day = (datetime.now(UTC) + timedelta(days=7)).strftime("%Y%m%d")
    for role in ("app", "gateway"):
        async with await psycopg.AsyncConnection.connect(conninfo(role), autocommit=True) as connection:
            for table in ("metering_call", "metering_settlement"):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    await connection.execute(f"SELECT * FROM {table}_{day}")


async def test_the_gateway_sweeps_none_but_the_silent_and_the_app_nobody():
    async with await psycopg.AsyncConnection.connect(conninfo("gateway"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            await connection.execute("SELECT menhir.metering_sweep('0 s')")
    async with await psycopg.AsyncConnection.connect(conninfo("app"), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute("SELECT menhir.metering_sweep('1 h')")


@pytest.mark.parametrize("role", ["app", "gateway"])
@pytest.mark.parametrize("table", ["metering_call", "metering_settlement"])
@pytest.mark.parametrize("change", ["UPDATE {} SET tenant_id = tenant_id", "DELETE FROM {}", "TRUNCATE {}"])
async def test_the_ledger_is_append_only_for_whoever_runs(role, table, change):
    async with await psycopg.AsyncConnection.connect(conninfo(role), autocommit=True) as connection:
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            await connection.execute(change.format(table))


async def test_mallory_reads_nothing_of_acmes_ledger(ledger, acme, globex, opening, settlement):
    call = opening(acme.id)
    await ledger.open(call)
    await ledger.settle(settlement(call))

    def seen(tenant):
        with tenant_transaction(tenant):
            return Call.objects.filter(id=call.call_id).count(), Settlement.objects.filter(id=call.call_id).count()

    assert await asyncio.to_thread(seen, acme) == (1, 1)
    assert await asyncio.to_thread(seen, globex) == (0, 0)


async def test_a_caller_cancelled_while_opening_leaves_no_open_call(ledger, acme, look, opening):
    calls = [opening(acme.id) for _ in range(200)]
    tasks = [asyncio.create_task(ledger.open(call)) for call in calls]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await ledger.stop()
    for call, task in zip(calls, tasks, strict=True):
        opened, settled = entries(look, call)
        if task.cancelled():
            assert len(opened) == len(settled)
            assert all((row.outcome, row.cost) == ("cancelled", 0) for row in settled)
        else:
            assert (len(opened), len(settled)) == (1, 0)


async def test_a_settlement_is_written_though_its_caller_leaves(ledger, acme, look, opening, settlement):
    call = opening(acme.id)
    await ledger.open(call)
    task = asyncio.create_task(ledger.settle(settlement(call)))
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await ledger.stop()
    assert len(entries(look, call)[1]) == 1


async def test_connections_cut_in_the_middle_lose_and_double_nothing(ledger, acme, look, opening, settlement):
    """What a database restart does to a process, again and again while a thousand calls go by."""
    calls = [opening(acme.id) for _ in range(1_000)]
    refused = []

    async def one(call):
        try:
            await ledger.open(call)
        except Unavailable:
            refused.append(call)
            return
        await ledger.settle(settlement(call))

    def cut():
        look("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'menhir_gateway' AND datname = current_database()")

    async def work():
        for at in range(0, len(calls), 50):
            await asyncio.gather(*map(one, calls[at : at + 50]))

    working = asyncio.create_task(work())
    while not working.done():
        await asyncio.gather(asyncio.to_thread(cut), asyncio.wait([working], timeout=0.05))
    await working
    await ledger.stop()
    rows = look(
        "SELECT c.id, s.outcome FROM metering_call c LEFT JOIN metering_settlement s ON s.tenant_id = c.tenant_id AND s.id = c.id "
        "WHERE c.tenant_id = %s",
        acme.id,
    )
    outcomes = {row.id: row.outcome for row in rows}
    assert len(outcomes) == len(rows)
    for call in calls:
        if call not in refused:
            assert outcomes[call.call_id] == "completed"
        else:
            assert outcomes.get(call.call_id, "cancelled") == "cancelled"


async def test_without_a_database_open_says_so_within_three_seconds_and_settle_waits(acme, look, monkeypatch, opening, settlement):
    ledger = Ledger()
    await ledger.start()
    call = opening(acme.id)
    await ledger.open(call)
    there, away = settings.MENHIR_DATABASES, "host=/nonexistent dbname=menhir connect_timeout=1"
    monkeypatch.setattr(settings, "MENHIR_DATABASES", {**there, "gateway": away})
    look("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'menhir_gateway' AND datname = current_database()")
    settling = asyncio.create_task(ledger.settle(settlement(call)))
    late = opening(acme.id)
    began = asyncio.get_running_loop().time()
    with pytest.raises(Unavailable):
        await ledger.open(late)
    assert 1.5 < asyncio.get_running_loop().time() - began < 3.0
    assert not settling.done()
    monkeypatch.setattr(settings, "MENHIR_DATABASES", there)
    await asyncio.wait_for(settling, timeout=5)
    assert len(entries(look, call)[1]) == 1
    await ledger.stop()
    opened, settled = entries(look, late)
    assert [row.outcome for row in settled] == ["cancelled"] * len(opened)


async def test_a_settlement_waits_until_the_database_writes_again(ledger, acme, look, opening, settlement, superuser):
    """A primary that was demoted takes connections and only reads."""
    call = opening(acme.id)
    await ledger.open(call)
    name = psycopg.conninfo.conninfo_to_dict(superuser)["dbname"]
    look(f'ALTER ROLE menhir_gateway IN DATABASE "{name}" SET default_transaction_read_only = on')
    try:
        look("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'menhir_gateway' AND datname = current_database()")
        settling = asyncio.create_task(ledger.settle(settlement(call)))
        with pytest.raises(Unavailable):
            await ledger.open(opening(acme.id))
        assert not settling.done()
    finally:
        look(f'ALTER ROLE menhir_gateway IN DATABASE "{name}" RESET default_transaction_read_only')
    await asyncio.wait_for(settling, timeout=10)
    assert [row.outcome for row in entries(look, call)[1]] == ["completed"]


async def test_a_statement_that_a_pooler_has_forgotten_is_prepared_anew(ledger, acme, look, opening, settlement):
    call = opening(acme.id)
    await ledger.open(call)
    async with ledger._line.connection() as connection:
        await connection.execute("DEALLOCATE ALL")
    await ledger.settle(settlement(call))
    assert [row.outcome for row in entries(look, call)[1]] == ["completed"]


async def test_the_calls_of_a_silent_process_are_settled_at_their_estimate_once(ledger, acme, look, opening, settlement):
    dead = Ledger()
    await dead.start()
    done, lost = opening(acme.id), opening(acme.id, estimate=Decimal("0.5"))
    for call in (done, lost):
        await dead.open(call)
    await dead.settle(settlement(done))
    mine = opening(acme.id)
    await ledger.open(mine)
    look("UPDATE metering_process SET beat_at = now() - interval '21 s' WHERE id = %s", dead.process_id)
    own = Line("gateway")
    assert await sweep(own) >= 1  # other tests leave silent processes, too
    await sweep(own)
    await own.close()
    _, (row,) = entries(look, lost)
    assert (row.outcome, row.cost, row.usage_source, row.error_code) == ("interrupted", Decimal("0.5"), "estimate", "process_died")
    assert entries(look, done)[1][0].outcome == "completed"
    assert entries(look, mine)[1] == []
    # Whoever was given up for dead and lives comes too late with his own settlement.
    await dead.settle(settlement(lost))
    assert entries(look, lost)[1][0].outcome == "interrupted"
    await dead.stop()


async def test_a_process_leaves_its_row_behind_only_while_calls_are_open(acme, look, opening, settlement):
    def registered(process_id):
        return bool(look("SELECT 1 FROM metering_process WHERE id = %s", process_id))

    tidy, hasty = Ledger(), Ledger()
    for ledger in (tidy, hasty):
        await ledger.start()
        assert registered(ledger.process_id)
    call = opening(acme.id)
    await tidy.open(call)
    await tidy.settle(settlement(call))
    await hasty.open(opening(acme.id))
    ids = tidy.process_id, hasty.process_id
    await tidy.stop()
    await hasty.stop()
    assert [registered(process_id) for process_id in ids] == [False, True]
    look("DELETE FROM metering_process WHERE id = %s", ids[1])


async def test_a_call_that_may_yet_be_written_when_its_process_leaves_is_left_to_the_sweeper(acme, look, opening, superuser, monkeypatch):
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.1)
    ledger = Ledger()
    await ledger.start()
    process_id, call = ledger.process_id, opening(acme.id)
    async with await psycopg.AsyncConnection.connect(superuser) as slow:
        await slow.execute("LOCK TABLE metering_call IN SHARE MODE")
        with pytest.raises(Unavailable):
            await ledger.open(call)
        await ledger.stop()
    assert look("DELETE FROM metering_process WHERE id = %s RETURNING 1", process_id)


async def test_a_ledger_that_is_not_running_opens_nothing(acme, opening):
    with pytest.raises(Unavailable):
        await Ledger().open(opening(acme.id))


async def test_the_hourly_job_makes_the_coming_days_and_drops_what_is_too_old(look, days):
    from menhir.metering.jobs import make_partitions

    old = datetime.now(UTC).date() - timedelta(days=100)
    days(old, old)
    look("UPDATE menhir.day_partitions SET keep_days = 99 WHERE parent = 'metering_call'")
    furthest = datetime.now(UTC) + timedelta(days=7)
    look(f"DROP TABLE IF EXISTS metering_call_{furthest:%Y%m%d}")
    await make_partitions(timestamp=0)
    look("UPDATE menhir.day_partitions SET keep_days = 36600 WHERE parent = 'metering_call'")

    def is_there(table, day):
        (row,) = look("SELECT to_regclass(%s) IS NOT NULL AS there", f"{table}_{day:%Y%m%d}")
        return row.there

    assert is_there("metering_call", furthest)
    assert not is_there("metering_call", old)
    assert is_there("metering_settlement", old), "each table is kept as long as its own entry says"
