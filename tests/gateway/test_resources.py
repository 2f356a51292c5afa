"""What a call holds of the database while a model talks: nothing. And what it asks of it: two rows, written with those of others."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import orjson
import psycopg
import pytest
from asgiref.sync import sync_to_async

from apps.assistants.front import application
from menhir.metering.process import BEAT
from menhir.metering.rows import INSERT_ENTRIES
from menhir.postgres import pools
from menhir.postgres.line import Line

from peers.caller import MESSAGES, fake

pytestmark = pytest.mark.usefixtures("gateway")
CHAT = "/v1/chat/completions"
WORDED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": MESSAGES},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 100},
    "/v1/responses": {"input": "What is a menhir?"},
    "/v1/completions": {"prompt": "What is a menhir?"},
    "/v1/embeddings": {"input": "a menhir"},
    "/v1/moderations": {"input": "a menhir"},
    "/v1/rerank": {"query": "a menhir", "documents": ["a stone", "a tree"]},
}
STREAMING = (CHAT, "/v1/messages", "/v1/responses", "/v1/completions")
WAYS = [*((path, False) for path in WORDED), *((path, True) for path in STREAMING)]


async def ask(key: str, path: str, model: str, **body: object) -> int:
    """Ask with a key, as a server does that has read a request; gives the status."""
    raw, told, left, status = orjson.dumps({**WORDED[path], "model": model, **body}), False, asyncio.Event(), 0

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            await left.wait()
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": raw}

    async def send(message: Any) -> None:
        nonlocal status
        status = message.get("status", status)

    headers = [(b"authorization", f"Bearer {key}".encode())]
    await application({"type": "http", "method": "POST", "path": path, "headers": headers, "state": {}}, receive, send)
    return status


@pytest.mark.parametrize(("path", "stream"), WAYS)
async def test_nothing_of_the_database_is_held_while_a_model_talks(alice, routes, upstream, superuser, path, stream):
    key, name = await sync_to_async(alice.key)(), await routes.to(fake(first_ms=20_000))
    asked = {"stream": True} if stream else {}
    calls = [asyncio.create_task(ask(key, path, name, **({"user": str(number)} if path == CHAT else {}), **asked)) for number in range(10)]
    assert await asyncio.to_thread(upstream.wait, lambda stats: stats.requests == len(calls))
    busy = "SELECT state, query FROM pg_stat_activity WHERE datname = current_database() AND usename LIKE 'menhir\\_%' AND state <> 'idle'"

    def held() -> list[Any]:
        with psycopg.connect(superuser, autocommit=True) as connection:
            return connection.execute(busy).fetchall()

    async with asyncio.timeout(5):
        # A heartbeat may be at work in this very moment, for a moment.
        while await asyncio.to_thread(held) or any(
            pool.stats["pool_available"] < pool.stats["pool_size"] for pool in (pools.gateway, pools.app)
        ):
            await asyncio.sleep(0.05)
    assert [pool.stats.get("requests_waiting", 0) for pool in (pools.gateway, pools.app)] == [0, 0]
    assert not any(call.done() for call in calls)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


@pytest.fixture
def sent(monkeypatch) -> Counter[str]:
    """Every statement that this process sends to PostgreSQL, by its text."""
    seen: Counter[str] = Counter()

    def counts(cls: type, name: str) -> None:
        sends = getattr(cls, name)

        def counted(self: Any, query: Any, *values: Any, **more: Any) -> Any:
            text = (
                query
                if isinstance(query, str)
                else query.decode()
                if isinstance(query, bytes)
                else query.text
                if isinstance(query, type(BEAT))
                else str(query)
            )
            seen[text] += 1
            return sends(self, query, *values, **more)

        monkeypatch.setattr(cls, name, counted)

    for cls in (psycopg.Cursor, psycopg.AsyncCursor):
        counts(cls, "execute")
        counts(cls, "executemany")
    counts(Line, "write")
    return seen


@pytest.mark.parametrize(("path", "stream"), [(path, stream) for path, stream in WAYS if path not in {"/v1/embeddings", "/v1/responses"}])
async def test_a_warm_call_sends_its_two_rows_and_nothing_else(alice, routes, sent, path, stream):
    key, name = await sync_to_async(alice.key)(), await routes.to("fake")
    asked = {"stream": True} if stream else {}
    assert await ask(key, path, name, **asked) == 200
    sent.clear()
    for _ in range(20):
        assert await ask(key, path, name, **asked) == 200
    assert 0 < sent.pop(INSERT_ENTRIES.text) <= 40
    sent.pop(BEAT.text, None)
    assert sent == {}
