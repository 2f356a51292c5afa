"""A thousand mixed calls, a `kill -9` in the middle: the ledger says what the upstream counted."""

from __future__ import annotations

import asyncio
import collections

import aiohttp
import psycopg
import pytest

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream
from stage.servers import eventually

CALLS, AT_ONCE = 1_000, 24
MODELS = ("chat", "stream", "embeddings", "refused", "cut")


def _give_routes(person, upstream):
    """Routes of the fake upstream, one for each thing that can happen."""
    with tenant_transaction(person.tenant):
        provider = Provider(tenant=person.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-fake")
        provider.save()
        for name, orders in {
            "chat": "fake?first_ms=5",
            "stream": "fake?chunks=5&gap_ms=3",
            "embeddings": "fake",
            "refused": "fake?status=400",
            "cut": "fake?chunks=5&cut=3",
        }.items():
            Route.objects.create(tenant=person.tenant, name=name).lead_to((provider, orders))


async def _call(session, base_url, key, number):
    """One call of the mix; whatever happens to it is an answer, too."""
    model = MODELS[number % len(MODELS)]
    path = "embeddings" if model == "embeddings" else "chat/completions"
    body = {"model": model}
    if model == "embeddings":
        body["input"] = [f"one {number}", "two"]  # each its own: what is cached is not asked of the upstream
    else:
        body |= {"messages": [{"role": "user", "content": f"call {number}"}], "stream": model in {"stream", "cut"}}
    try:
        async with session.post(f"{base_url()}/v1/{path}", json=body, headers={"Authorization": f"Bearer {key}"}) as answer:
            await answer.read()
            return model, answer.status
    except aiohttp.ClientError:
        return model, 0


async def _mix(server, key):
    """All the calls; the process is killed in the middle and started again."""
    results, done = [], 0
    turn = asyncio.Semaphore(AT_ONCE)
    up = asyncio.Event()
    up.set()

    async def one(session, number):
        nonlocal done
        async with turn:
            await up.wait()
            results.append(await _call(session, lambda: server.base_url, key, number))
            done += 1
            if done == CALLS // 2:
                up.clear()
                await asyncio.to_thread(server.kill)
                await asyncio.to_thread(server.start)
                up.set()

    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as session:
        await asyncio.gather(*(one(session, number) for number in range(CALLS)))
    return results


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_ledger_equals_what_the_upstream_counted(web, alice, superuser):
    with Upstream() as upstream:
        _give_routes(alice, upstream)
        server = web()
        results = asyncio.run(_mix(server, alice.key()))
        statuses = collections.Counter(results)
        assert statuses["chat", 200] > 100
        assert statuses["refused", 400] > 100
        assert any(status == 0 for _model, status in results), "nothing was in flight when the process was killed"
        with psycopg.connect(superuser, autocommit=True) as connection:
            eventually(lambda: _open(connection, alice) == 0, seconds=60, what="every opened call being settled")
            opened = _count(connection, alice, "metering_call")
            assert opened == _count(connection, alice, "metering_settlement")
            assert opened == len(_ids(connection, alice)), "a call is in the ledger once"
            # What died between its opening row and the upstream was never asked of it: it is in the ledger as interrupted.
            interrupted = connection.execute(
                "SELECT count(*) FROM metering_settlement WHERE tenant_id = %s AND outcome = 'interrupted'", [alice.tenant.id]
            ).fetchone()[0]
            assert upstream.stats.requests <= opened <= upstream.stats.requests + interrupted
            assert interrupted <= AT_ONCE
            settled = connection.execute(
                "SELECT coalesce(sum(input_tokens), 0), coalesce(sum(output_tokens), 0) FROM metering_settlement"
                " WHERE tenant_id = %s AND outcome = 'completed'",
                [alice.tenant.id],
            ).fetchone()
        served = (upstream.stats.prompt_tokens, upstream.stats.completion_tokens)
        # The upstream may have finished an answer that the killed process never settled: never the other way round.
        assert 0 <= served[0] - settled[0] <= AT_ONCE * 50
        assert 0 <= served[1] - settled[1] <= AT_ONCE * 50


def _open(connection, person):
    return connection.execute(
        "SELECT count(*) FROM metering_call c WHERE tenant_id = %s AND NOT EXISTS"
        " (SELECT FROM metering_settlement s WHERE s.tenant_id = c.tenant_id AND s.id = c.id)",
        [person.tenant.id],
    ).fetchone()[0]


def _count(connection, person, table):
    return connection.execute(f"SELECT count(*) FROM {table} WHERE tenant_id = %s", [person.tenant.id]).fetchone()[0]


def _ids(connection, person):
    return set(connection.execute("SELECT id FROM metering_call WHERE tenant_id = %s", [person.tenant.id]).fetchall())
