"""SIGTERM: what is under way is finished, what is new is not begun, and the exit code is 0."""

from __future__ import annotations

import json
import signal

import httpx2
import psycopg
import pytest

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from stage.servers import eventually

pytestmark = pytest.mark.slow
WORDS = 60


def test_a_stream_in_flight_is_finished_and_settled(web, alice, upstream, superuser):
    with tenant_transaction(alice.tenant):
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-fake")
        provider.save()
        Route.objects.create(tenant=alice.tenant, name="slow").lead_to((provider, f"fake?chunks={WORDS}&gap_ms=50"))
    server = web()
    body = {"model": "slow", "stream": True, "messages": [{"role": "user", "content": "Talk."}]}
    headers = {"authorization": f"Bearer {alice.key()}"}
    with httpx2.stream("POST", f"{server.base_url}/v1/chat/completions", json=body, headers=headers, timeout=30) as answer:
        lines = answer.iter_lines()
        first = next(line for line in lines if line.startswith("data: "))
        server.process.send_signal(signal.SIGTERM)
        events = [first, *(line for line in lines if line.startswith("data: "))]
    assert events[-1] == "data: [DONE]"
    said = [choice["delta"].get("content") for event in events[:-1] for choice in json.loads(event[6:])["choices"]]
    assert len([words for words in said if words]) == WORDS
    assert server.process.wait(timeout=30) == 0
    with psycopg.connect(superuser) as connection:
        outcomes = connection.execute("SELECT outcome FROM metering_settlement WHERE tenant_id = %s", [alice.tenant.id]).fetchall()
    assert outcomes == [("completed",)]


def test_an_idle_worker_goes_at_once(worker):
    server = worker()
    eventually(lambda: "listener.connected" in server.log.read_text(), what="the worker working")
    server.process.send_signal(signal.SIGTERM)
    assert server.process.wait(timeout=10) == 0
