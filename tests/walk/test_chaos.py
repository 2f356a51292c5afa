"""200 calls a second while web is killed, the database is restarted, and both at once: the ledger and the meters lose and double nothing."""

from __future__ import annotations

import asyncio
import collections
from contextlib import contextmanager
from decimal import Decimal

import aiohttp
import httpx2
import psycopg
import pytest
from psycopg.rows import namedtuple_row

from menhir.postgres import embedded, guard

from peers.upstream import Upstream
from stage.servers import Up, answers, eventually

pytestmark = [pytest.mark.slow, pytest.mark.local, pytest.mark.timeout(400)]
PER_SECOND = 200
SECONDS_BETWEEN = 4
BUDGET = Decimal(1_000)
BODY = {"model": "gpt-4o-mini", "max_tokens": 100, "messages": [{"role": "user", "content": "What is in the larder?"}]}
PLACED = (
    "FROM metering_call AS call LEFT JOIN metering_settlement AS settled ON settled.tenant_id = call.tenant_id AND settled.id = call.id"
)


async def _one(session, url, number, seen):
    body = {**BODY, "stream": number % 3 == 0}
    try:
        async with session.post(f"{url}/v1/chat/completions", json=body) as answer:
            text = await answer.text()
            whole = "[DONE]" in text if body["stream"] else answer.status == 200
            seen["answered" if answer.status == 200 and whole else answer.status] += 1
    except (aiohttp.ClientError, TimeoutError):
        seen["cut"] += 1


async def _load(up, key, stop):
    """An open loop: callers come at their rate, whatever becomes of those before them."""
    seen = collections.Counter()
    patience = aiohttp.ClientTimeout(total=40)
    headers = {"authorization": f"Bearer {key}"}
    async with aiohttp.ClientSession(timeout=patience, headers=headers, connector=aiohttp.TCPConnector(limit=0)) as session:
        loop = asyncio.get_running_loop()
        began, calls = loop.time(), []
        while not stop.is_set():
            due = began + len(calls) / PER_SECOND
            if (pause := due - loop.time()) > 0:
                await asyncio.sleep(pause)
            calls.append(loop.create_task(_one(session, up.base_url, len(calls), seen)))
        await asyncio.gather(*calls)
    return seen


async def _harm(up, key, harms):
    """Let the load run, do harm in the middle of it, wait until all is well, and do the next."""
    stop = asyncio.Event()
    load = asyncio.create_task(_load(up, key, stop))
    for harm in harms:
        await asyncio.sleep(SECONDS_BETWEEN)
        await asyncio.to_thread(harm)
        await asyncio.to_thread(eventually, lambda: answers(f"{up.base_url}/readyz"), seconds=60, what="web being ready again")
    await asyncio.sleep(SECONDS_BETWEEN)
    stop.set()
    return await load


@contextmanager
def _ledger(up):
    """The owner's look behind row-level security; it is put back at the end."""
    owner = embedded.owner_if_running(up.home / "postgres", secret=(up.home / "secret-key").read_text().strip())
    with psycopg.connect(owner, row_factory=namedtuple_row) as connection:
        for table in ("metering_call", "metering_settlement", "metering_limit", "metering_meter"):
            connection.execute(f"ALTER TABLE {table} NO FORCE ROW LEVEL SECURITY")
        yield lambda statement: connection.execute(statement).fetchall()
        connection.rollback()


def _looked(up, statement):
    with _ledger(up) as rows:
        return rows(statement)


def test_the_ledger_is_what_the_upstream_counted_whatever_dies(tmp_path):
    with Upstream() as upstream:
        up = Up(tmp_path / "home", OPENAI_API_KEY="sk-fake", OPENAI_BASE_URL=upstream.base_url)
        made = up.start()
        try:
            api = httpx2.Client(base_url=made.base_url, headers={"authorization": f"Bearer {made.api_key}"}, timeout=30)
            budget = {"subject": "tenant", "metric": "money", "period": "month", "amount": str(BUDGET)}
            for limit in (budget, {"subject": "tenant", "metric": "parallel", "amount": "500"}):
                answer = api.post("/api/v1/limits", json=limit)
                assert answer.status_code == 201, answer.text

            def kill():
                up.role("web").kill()

            def restart():
                guard.stop(up.home / "postgres")

            def both():
                restart()
                kill()

            seen = asyncio.run(_harm(up, made.api_key, [kill, restart, both]))
            assert seen["answered"] > 1_000, seen
            assert seen["cut"], "nothing was in flight when the process was killed"
            unsettled = f"SELECT count(*) AS n {PLACED} WHERE settled.id IS NULL"
            eventually(lambda: _looked(up, unsettled)[0].n == 0, seconds=90, what="every opened call being settled")
            held = "SELECT count(*) AS n FROM metering_meter WHERE leased <> 0"
            api.get("/v1/models")
            eventually(lambda: _looked(up, held)[0].n == 0, seconds=60, what="every hold being given back")
            with _ledger(up) as rows:
                (whole,) = rows(
                    "SELECT count(*) AS calls, count(DISTINCT call.id) AS different, "
                    "count(*) FILTER (WHERE outcome = 'completed') AS completed, "
                    "count(*) FILTER (WHERE outcome = 'interrupted') AS interrupted, "
                    # The installation reads its own documents meanwhile: those calls are the embedder's.
                    f"sum(attempts) AS attempts, sum(cost) AS cost {PLACED} WHERE call.model = '{BODY['model']}'"
                )
                (spent,) = rows(
                    "SELECT sum(spent) AS money FROM metering_meter JOIN metering_limit ON metering_limit.id = limit_id WHERE metric = 'money'"
                )
            assert whole.calls == whole.different, "a call is in the ledger once"
            # Whoever got an answer is in the ledger with it; what was completed and never arrived was on its way when something died.
            assert seen["answered"] <= whole.completed <= seen["answered"] + seen["cut"]
            # The upstream saw nothing that is not in the ledger. What died unsettled may or may not have reached it.
            assert whole.attempts <= upstream.stats.requests <= whole.attempts + whole.interrupted * 2
            assert spent.money == whole.cost <= BUDGET, "no charge is doubled, none is lost"
        finally:
            assert up.stop() == 0
