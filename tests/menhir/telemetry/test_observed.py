"""`/metrics` and `/livez` of the roles that serve nobody: on a port of their own, by the rule that holds for `web`."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
import uuid
from pathlib import Path

import httpx2
import pytest
from asgiref.sync import sync_to_async
from gateway.test_embedder import Counting, serving, until

from apps.chat.jobs import purge_conversation
from apps.gateway.upstreams.embedder.server import serve
from menhir.wiring.environment import Address
from menhir.wiring.observed import CannotListen, observed

from peers.scraper import read, total
from stage.servers import answers, eventually, free_port

ROOT = Path(__file__).resolve().parents[3]
NO_CONVERSATION = str(uuid.uuid4())


def here() -> Address:
    return Address("127.0.0.1", free_port())


def scrape(port: int, path: str = "/metrics", **headers: str) -> httpx2.Response:
    return httpx2.get(f"http://127.0.0.1:{port}{path}", headers=headers, timeout=20)


@pytest.mark.slow
def test_a_worker_says_what_became_of_its_jobs(worker, alice):
    port = free_port()
    server = worker(MENHIR_WORKER_METRICS=str(port), MENHIR_METRICS_TOKEN="scrape-me")
    eventually(lambda: answers(f"http://127.0.0.1:{port}/livez"), what="the worker living")
    assert (scrape(port).status_code, scrape(port, authorization=f"Bearer {alice.key()}").status_code) == (401, 401)
    assert scrape(port, "/").status_code == 404
    for tenant_id in (str(alice.tenant.id), "no tenant"):
        purge_conversation.defer(tenant_id=tenant_id, conversation_id=NO_CONVERSATION)
    purge_conversation.configure(schedule_in={"hours": 1}).defer(tenant_id=str(alice.tenant.id), conversation_id=NO_CONVERSATION)

    def samples():
        return read(scrape(port, authorization="Bearer scrape-me").text)

    def ended(outcome: str) -> float:
        return total(samples(), "menhir_jobs_ended_total", task="chat.purge_conversation", outcome=outcome)

    eventually(lambda: (ended("succeeded"), ended("failed")) == (1, 1), what="one job done and one failed")
    found = samples()
    assert total(found, "menhir_job_duration_seconds_count", task="chat.purge_conversation") == 2
    assert found["menhir_ready", frozenset()] == found["menhir_listener_connected", frozenset()] == 1
    assert found["menhir_jobs_under_way", frozenset()] >= 0
    assert total(found, "menhir_jobs", queue="chat", status="todo") >= 1
    assert alice.tenant.slug not in str(found)
    server.stop()
    assert server.process.returncode == 0


async def test_the_embedder_says_how_it_batches():
    address, counting = here(), Counting()
    async with serving(lambda: counting, beside=observed(address)) as (_application, url):
        async with httpx2.AsyncClient(timeout=20) as client:

            async def samples():
                return read((await client.get(f"http://127.0.0.1:{address.port}/metrics")).text)

            assert (await client.get(f"http://127.0.0.1:{address.port}/livez")).status_code == 200
            before = await samples()
            counting.go.clear()
            asking = [
                asyncio.create_task(client.post(f"{url}/v1/embeddings", json={"input": texts})) for texts in ("one", ["a"] * 8, ["b"] * 8)
            ]
            await until(lambda: counting.passes)
            await until(lambda: len(_application.batcher._bulk) == 16)
            assert total(await samples(), "menhir_embedder_waiting_texts", kind="bulk") == 16
            counting.go.set()
            assert {answer.status_code for answer in await asyncio.gather(*asking)} == {200}
            assert (await client.post(f"{url}/v1/embeddings", content=b"{")).status_code == 400
            after = await samples()

        def grown(name: str, **labels: str) -> float:
            return total(after, name, **labels) - total(before, name, **labels)

        assert after["menhir_embedder_ready", frozenset()] == 1
        assert (grown("menhir_embedder_texts_total", kind="query"), grown("menhir_embedder_texts_total", kind="bulk")) == (1, 16)
        assert (grown("menhir_embedder_pass_texts_count"), grown("menhir_embedder_pass_texts_sum")) == (2, 17)
        assert grown("menhir_embedder_pass_seconds_count") == 2
        assert grown("menhir_embedder_wait_seconds_count", kind="bulk") == 16
        assert grown("menhir_embedder_tokens_total") == 17
        assert (grown("menhir_embedder_responses_total", status="200"), grown("menhir_embedder_responses_total", status="400")) == (3, 1)
        assert total(after, "menhir_embedder_waiting_texts") == 0


async def test_a_pass_that_fails_is_counted():
    class Failing:
        def embed(self, texts):
            raise ArithmeticError(texts)

    address = here()
    async with serving(Failing, beside=observed(address)) as (_application, url), httpx2.AsyncClient(timeout=20) as client:

        async def failed() -> float:
            return total(read((await client.get(f"http://127.0.0.1:{address.port}/metrics")).text), "menhir_embedder_failed_passes_total")

        before = await failed()
        assert (await client.post(f"{url}/v1/embeddings", json={"input": "one"})).status_code == 500
        assert await failed() == before + 1


async def test_what_came_through_a_proxy_is_refused():
    address = here()
    async with observed(address):
        refused = await sync_to_async(scrape, thread_sensitive=False)(address.port, **{"x-forwarded-for": "203.0.113.9"})
        assert (refused.status_code, "menhir_" in refused.text) == (403, False)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_without_an_address_nobody_listens():
    async with observed(None):
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "metrics"]


def test_a_port_that_is_taken_is_said_in_a_line():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = Address("127.0.0.1", taken.getsockname()[1])
        with pytest.raises(CannotListen, match=f"port {address.port}"):
            serve("127.0.0.1", free_port(), load=Counting, beside=observed(address))
        command = [sys.executable, str(ROOT / "manage.py"), "worker"]
        environment = {**os.environ, "MENHIR_WORKER_METRICS": str(address.port)}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, "Traceback" in done.stderr) == (1, False)
    assert f"Metrics cannot be served at 127.0.0.1, port {address.port}: Address already in use." in done.stderr
