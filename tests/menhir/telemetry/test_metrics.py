"""`/metrics` of a served app: what calls leave there, and who may read it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import timeit
from pathlib import Path

import httpx2
import openai
import pytest
from assistants.conftest import acmes, company  # noqa: F401 - fixtures
from django.test import override_settings

from apps.knowledge.models import Collection, Document
from menhir.metering.models import Limit
from menhir.telemetry import calls, exposition, gauges, meters
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring.metrics import admits

from peers.scraper import read, total

ROOT = Path(__file__).resolve().parents[3]
QUESTION = [{"role": "user", "content": "What is a menhir?"}]
LOCAL = ("127.0.0.1", 5000)


def scrape(server, **headers: str) -> httpx2.Response:
    return httpx2.get(f"{server.base_url}/metrics", headers=headers, timeout=20)


def test_calls_are_counted_by_how_they_ended(acmes):  # noqa: F811
    broken = acmes.model("broken", "status=500")
    client = acmes.client()
    before = read(scrape(acmes.server).text)
    client.chat.completions.create(model="plain", messages=QUESTION)
    assert list(client.chat.completions.create(model="plain", messages=QUESTION, stream=True))
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(model=broken, messages=QUESTION)
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(model="absent", messages=QUESTION)
    after = read(scrape(acmes.server).text)

    def grown(name: str, **labels: str) -> float:
        return total(after, name, **labels) - total(before, name, **labels)

    completed = {"operation": "chat", "outcome": "completed", "kind": "openai", "status": "2xx"}
    assert grown("menhir_calls_total", **completed) == 2
    assert grown("menhir_calls_total", outcome="failed", status="5xx") == 1
    assert grown("menhir_call_duration_seconds_count", **completed) == 2
    assert grown("menhir_call_overhead_seconds_count") == 3
    assert 0 < grown("menhir_call_overhead_seconds_sum", **completed) < grown("menhir_call_duration_seconds_sum", **completed)
    assert grown("menhir_call_first_token_seconds_count", **completed) == 1
    assert grown("menhir_input_tokens_total", **completed) > 0
    assert grown("menhir_output_tokens_total", **completed) > 0
    assert grown("menhir_responses_total", status="404") == 1
    assert grown("menhir_queue_wait_seconds_count") == 4
    assert grown("menhir_ledger_batch_rows_sum") == 6
    assert grown("menhir_ledger_commit_seconds_count") >= 1
    assert after["menhir_listener_connected", frozenset()] == 1
    assert after["menhir_ready", frozenset()] == 1
    assert after["menhir_calls_open", frozenset()] == 0
    assert total(after, "menhir_pool_connections", role="gateway", state="open") >= 1
    assert total(after, "process_resident_memory_bytes") > 1e6


def test_what_other_rooms_hold_is_looked_up(acmes):  # noqa: F811
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # bound, and never listening
        dead = acmes.model("dead", base_url=f"http://127.0.0.1:{nobody.getsockname()[1]}/v1")
        client = acmes.client()
        for _ in range(6):
            with pytest.raises(openai.APIStatusError):
                client.chat.completions.create(model=dead, messages=QUESTION)
    with tenant_transaction(acmes.tenant):
        Limit.objects.create(tenant=acmes.tenant, subject="tenant", metric="requests", period="minute", amount=100)
        collection = Collection.create(acmes.tenant, slug="docs", by=acmes.person.principal)
        Document.upload(collection, external_id="a", filename="a.txt", content=b"A stone.", title="A", by=acmes.person.principal)
    acmes.client().chat.completions.create(model="plain", messages=QUESTION)
    samples = read(scrape(acmes.server).text)
    assert total(samples, "menhir_breakers", state="open") >= 1
    assert ("menhir_lease_level", frozenset({("metric", "requests"), ("state", "free")})) in samples
    assert total(samples, "menhir_jobs", queue="knowledge", status="todo") >= 1


def test_no_tenant_shows(acmes):  # noqa: F811
    acmes.client().chat.completions.create(model="plain", messages=QUESTION)
    text = scrape(acmes.server).text
    for word in (acmes.tenant.slug, str(acmes.tenant.id), acmes.person.email, "fake-plain", "plain"):
        assert word not in text.replace("text/plain", "")


def test_with_a_token_set_only_its_bearer_reads(server, alice, bob, mallory):
    with override_settings(MENHIR_METRICS_TOKEN="scrape-me-if-you-can"):
        for person in (alice, bob, mallory):
            assert scrape(server, authorization=f"Bearer {person.key()}").status_code == 401
            cookie = person.browser().cookies["menhir_session"].value
            assert scrape(server, cookie=f"menhir_session={cookie}").status_code == 401
        assert scrape(server).status_code == 401
        assert scrape(server, authorization="Basic scrape-me-if-you-can").status_code == 401
        refused = scrape(server, authorization="Bearer scrape-me-if-you-cän".encode("latin-1"))
        assert (refused.status_code, "menhir_" in refused.text) == (401, False)
        assert scrape(server, authorization="Bearer scrape-me-if-you-can").status_code == 200


@pytest.mark.parametrize(
    ("headers", "client", "admitted"),
    [
        ({b"host": b"127.0.0.1:8000"}, LOCAL, True),
        ({b"host": b"localhost"}, LOCAL, True),
        ({b"host": b"[::1]:8000"}, ("::1", 1), True),
        ({b"host": b"localhost"}, ("10.0.0.7", 1), False),
        ({b"host": b"localhost"}, None, False),
        ({b"host": b"menhir.example.com"}, LOCAL, False),
        ({b"host": b"localhost", b"x-forwarded-for": b"127.0.0.1"}, LOCAL, False),
        ({b"host": b"localhost", b"via": b"1.1 proxy"}, LOCAL, False),
        ({}, LOCAL, False),
    ],
)
def test_without_one_only_this_machine_reads(headers, client, admitted):
    assert admits(headers, client) is admitted


@pytest.mark.parametrize(
    ("public_url", "behind_proxy", "admitted"),
    [
        ("http://127.0.0.1:8000", False, True),
        ("http://localhost", False, True),
        ("http://[::1]:8000", False, True),
        ("http://127.0.0.1:8000", True, False),
        ("https://menhir.example.com", False, False),
        ("http://10.0.0.7:8000", False, False),
        ("https://127.0.0.1.example.com", False, False),
    ],
)
def test_who_serves_strangers_wants_a_token(acmes, public_url, behind_proxy, admitted):  # noqa: F811
    """A bare `proxy_pass` sends `Host: 127.0.0.1`, comes from this machine and says nothing of whom it speaks for."""
    with override_settings(MENHIR_PUBLIC_URL=public_url, MENHIR_BEHIND_PROXY=behind_proxy):
        assert scrape(acmes.server).status_code == (200 if admitted else 403)
        with override_settings(MENHIR_METRICS_TOKEN="sesame"):
            assert scrape(acmes.server).status_code == 401
            assert scrape(acmes.server, authorization="Bearer sesame").status_code == 200


def test_what_came_through_a_proxy_is_refused(server):
    refused = scrape(server, **{"x-forwarded-for": "203.0.113.9"})
    assert refused.status_code == 403
    assert "menhir_calls" not in refused.text
    assert httpx2.post(f"{server.base_url}/metrics").status_code == 405


def test_strange_words_fill_no_memory():
    family = meters.Family("test_strangers_total", "Test.", ["word"], meters.Count)
    for number in range(2 * meters.MOST_SERIES):
        family.of(f"word-{number}").add()
    assert len(family.series) == meters.MOST_SERIES + 1
    assert family.of("yet another").value == meters.MOST_SERIES
    with pytest.raises(TypeError):
        family.of("one", "two")


def test_a_gauge_that_fails_leaves_the_others():
    gauges.register("test_breaks", "Breaks.", lambda: 1 / 0)
    gauges.register("test_levels", "Levels.", lambda: {("open",): 2.0}, labels=("state",))
    try:
        text = exposition.render()[0].decode()
    finally:
        del gauges.registered["test_breaks"], gauges.registered["test_levels"]
    assert 'test_levels{state="open"} 2.0' in text
    assert "test_breaks" not in text


def test_a_call_is_measured_within_five_microseconds():
    def one() -> None:
        calls.QUEUED.observe(0.0003)
        calls.answered(200)
        calls.finished(
            "test", "completed", "openai", 200, seconds=0.8, overhead=0.001, first_token_ms=12, input_tokens=100, output_tokens=300
        )

    one()
    best = min(timeit.repeat(one, number=2_000, repeat=7)) / 2_000
    assert best < 5e-6, f"{best * 1e6:.2f} µs"


def test_a_loop_that_is_held_up_shows():
    from menhir.telemetry.lag import EVERY_SECONDS, LAG, Lag

    async def hold_up() -> None:
        lag = Lag()
        await lag.start()
        before = sum(LAG.counts[-4:])
        due = asyncio.get_running_loop().time() + EVERY_SECONDS + 0.3
        while asyncio.get_running_loop().time() < due:
            pass  # a computation on the loop, which is the fault
        while sum(LAG.counts[-4:]) == before:
            await asyncio.sleep(0)
        await lag.stop()

    asyncio.run(asyncio.wait_for(hold_up(), timeout=10))


def test_prometheus_is_imported_by_the_first_scrape_only():
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'platform')!r}]; import menhir.wiring.asgi; "
        "print([name for name in sys.modules if name.startswith(('prometheus_client', 'opentelemetry.sdk', 'opentelemetry.exporter'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
