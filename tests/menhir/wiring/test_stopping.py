"""SIGTERM: what is under way is finished, what is new is not begun, and the exit code is 0."""

from __future__ import annotations

import json
import signal
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import httpx2
import psycopg
import pytest

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from stage.servers import answers, eventually

pytestmark = pytest.mark.slow
WORDS = 60


@pytest.fixture
def slow(alice, upstream):
    """A route whose answers take three seconds, word by word; beside it `late`, which answers when everybody has left."""
    with tenant_transaction(alice.tenant):
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-fake")
        provider.save()
        Route.objects.create(tenant=alice.tenant, name="slow").lead_to((provider, f"fake?chunks={WORDS}&gap_ms=50"))
        Route.objects.create(tenant=alice.tenant, name="late").lead_to((provider, "fake?first_ms=20000"))
    return {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "Talk."}]}


@contextmanager
def streaming(server, person, body):
    headers = {"authorization": f"Bearer {person.key()}"}
    with httpx2.stream("POST", f"{server.base_url}/v1/chat/completions", json=body, headers=headers, timeout=30) as answer:
        lines = (line for line in answer.iter_lines() if line.startswith("data: "))
        yield next(lines), lines


def outcomes(superuser, tenant):
    with psycopg.connect(superuser) as connection:
        found = connection.execute("SELECT outcome, usage_source FROM metering_settlement WHERE tenant_id = %s", [tenant.id])
        return found.fetchall()


def words_of(events):
    said = [choice["delta"].get("content") for event in events for choice in json.loads(event[6:])["choices"]]
    return len([words for words in said if words])


def test_a_stream_in_flight_is_finished_and_settled(web, alice, slow, superuser):
    server = web()
    with streaming(server, alice, slow) as (first, lines):
        server.process.send_signal(signal.SIGTERM)
        events = [first, *lines]
    assert events[-1] == "data: [DONE]"
    assert words_of(events[:-1]) == WORDS
    assert server.process.wait(timeout=30) == 0
    assert outcomes(superuser, alice.tenant) == [("completed", "upstream")]


def test_a_draining_server_says_so_and_serves_on(web, alice, slow):
    server = web(MENHIR_DRAIN_SECONDS="4")
    with streaming(server, alice, slow) as (first, lines):
        server.process.send_signal(signal.SIGTERM)
        eventually(lambda: not answers(f"{server.base_url}/readyz"), seconds=2, what="readiness ending")
        checks = httpx2.get(f"{server.base_url}/readyz").json()["checks"]
        assert checks == {"database": True, "migrations": True, "listener": True, "accepting": False}
        assert answers(f"{server.base_url}/healthz")
        models = httpx2.get(f"{server.base_url}/v1/models", headers={"authorization": f"Bearer {alice.key()}"})
        assert models.status_code == 200
        assert words_of([first, *list(lines)[:-1]]) == WORDS
    assert server.process.wait(timeout=30) == 0


def test_what_does_not_end_in_time_is_told_so_and_billed_for_what_it_said(web, alice, slow, superuser):
    server = web(MENHIR_GRACE_SECONDS="1")
    with streaming(server, alice, slow) as (first, lines):
        server.process.send_signal(signal.SIGTERM)
        events = [first, *lines]
    assert json.loads(events[-1][6:])["error"]["code"] == "shutting_down"
    assert 0 < words_of(events[:-1]) < WORDS
    assert server.process.wait(timeout=10) == 0
    assert outcomes(superuser, alice.tenant) == [("interrupted", "estimate")]


def test_an_answer_that_does_not_come_in_time_is_refused_with_a_hint_to_try_again(web, alice, slow, superuser):
    server = web(MENHIR_GRACE_SECONDS="1")
    headers = {"authorization": f"Bearer {alice.key()}"}
    whole = {**slow, "stream": False, "model": "late"}
    with ThreadPoolExecutor() as threads:
        url = f"{server.base_url}/v1/chat/completions"
        asked = threads.submit(httpx2.post, url, json=whole, headers=headers, timeout=30)
        opened = "SELECT 1 FROM metering_call WHERE tenant_id = %s"
        with psycopg.connect(superuser, autocommit=True) as connection:
            eventually(lambda: connection.execute(opened, [alice.tenant.id]).fetchone(), what="the call being opened")
        server.process.send_signal(signal.SIGTERM)
        answer = asked.result()
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutting_down")
    assert server.process.wait(timeout=10) == 0
    assert [outcome for outcome, _ in outcomes(superuser, alice.tenant)] == ["interrupted"]


def test_an_idle_worker_goes_at_once(worker):
    server = worker()
    eventually(lambda: "listener.connected" in server.log.read_text(), what="the worker working")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=10) == 0
