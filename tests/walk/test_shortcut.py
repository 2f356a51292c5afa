"""Hits at the front door: the same bytes again are answered without being read, until anything about their tenant changes."""

from __future__ import annotations

import asyncio
import urllib.error
import urllib.request

import psycopg
import pytest

from apps.gateway.cache import exact, shortcut
from apps.gateway.guardrails.models import Guardrail
from apps.gateway.models import Provider, Route
from menhir.tenancy.models import ApiKey
from menhir.tenancy.transaction import tenant_transaction

from stage.servers import eventually

ASKED = b'{"model": "kept", "messages": [{"role": "user", "content": "What is a menhir?"}]}'
STREAMED = ASKED[:-1] + b', "stream": true}'
COUNTED = ASKED[:-1] + b', "stream": true, "stream_options": {"include_usage": true}}'


@pytest.fixture
def ask(server, alice, mallory, upstream):
    for person in (alice, mallory):
        with tenant_transaction(person.tenant):
            provider = Provider(tenant=person.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
            provider.set_credential("sk-fake")
            provider.save()
            Route.objects.create(tenant=person.tenant, name="kept", cache_seconds=60).lead_to((provider, "fake"))

    def asking(key, body=ASKED, **headers):
        request = urllib.request.Request(
            f"{server.base_url}/v1/chat/completions",
            data=body,
            headers={"Authorization": f"Bearer {key}", **{name.replace("_", "-"): value for name, value in headers.items()}},
        )
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.headers, answer.read()

    return asking


def ways(person) -> int:
    return len(shortcut._known.get(person.tenant.id, ()))


def test_the_short_way_says_what_the_long_way_said(ask, alice, upstream, superuser):
    key = alice.key()
    for body in (ASKED, STREAMED, COUNTED):
        before = ways(alice)
        first = ask(key, body)
        long = first if first[0]["x-menhir-cache"] == "hit" else ask(key, body)
        assert ways(alice) == before + 1
        short = ask(key, body)
        assert short[1] == long[1]
        timed = {"age", "openai-processing-ms", "x-menhir-overhead-ms", "x-request-id", "date"}
        assert {n: v for n, v in short[0].items() if n not in timed} == {n: v for n, v in long[0].items() if n not in timed}
        assert short[0]["x-menhir-cache"] == "hit"
    assert upstream.stats.requests == 2, "one whole answer, one stream"
    with psycopg.connect(superuser, autocommit=True) as connection:
        rows = "SELECT s.provider, c.stream, s.cost, s.attempts, c.api_key_id IS NOT NULL FROM metering_call c JOIN metering_settlement s USING (tenant_id, opened_at, id) WHERE tenant_id = %s AND provider = 'cache'"
        found = eventually(
            lambda: (rows_ := connection.execute(rows, [alice.tenant.id]).fetchall()) and len(rows_) == 6 and rows_,
            what="six hits in the ledger",
        )
    assert sorted(found) == [("cache", False, 0, 0, True)] * 2 + [("cache", True, 0, 0, True)] * 4


def test_hits_say_whose_they_were_by_the_short_way_and_by_the_long(ask, alice, superuser):
    key = alice.key()
    for user in ("ada", "bert"):
        for _ in range(3):
            ask(key, ASKED[:-1] + b', "user": "%s"}' % user.encode())
    assert ways(alice) == 2
    with psycopg.connect(superuser, autocommit=True) as connection:
        rows = "SELECT c.unit, s.provider FROM metering_call c JOIN metering_settlement s USING (tenant_id, opened_at, id) WHERE tenant_id = %s"
        found = eventually(lambda: len(rows_ := connection.execute(rows, [alice.tenant.id]).fetchall()) == 6 and rows_, what="six calls")
    assert sorted(unit for unit, _provider in found) == ["ada"] * 3 + ["bert"] * 3
    assert sorted(provider for _unit, provider in found).count("cache") == 5


def test_it_is_its_callers_alone(ask, alice, bob, mallory, upstream):
    key = alice.key()
    for _ in range(3):
        ask(key)
    assert ways(alice) == 1
    assert ask(mallory.key())[0]["x-menhir-cache"] == "miss"
    assert (ways(mallory), upstream.stats.requests) == (0, 2)
    ask(alice.key())
    assert ways(alice) <= 2


def test_a_revoked_key_is_refused(ask, alice):
    key = alice.key(name="going")
    for _ in range(3):
        ask(key)
    with tenant_transaction(alice.tenant):
        ApiKey.objects.within(alice.tenant).get(name="going").revoke()
    assert ways(alice) == 0

    def refused():
        try:
            ask(key)
        except urllib.error.HTTPError as error:
            return error.code == 401

    eventually(refused, seconds=1, what="the key being refused")


def test_any_change_ends_it(ask, alice, upstream):
    key = alice.key()
    for _ in range(3):
        ask(key)
    with tenant_transaction(alice.tenant):
        route = Route.objects.within(alice.tenant).get(name="kept")
        route.cache_seconds = 0
        route.save()
    assert ways(alice) == 0
    eventually(lambda: "x-menhir-cache" not in ask(key)[0], seconds=1, what="the route asking again")


def test_whoever_wants_it_fresh_gets_it_fresh(ask, alice, upstream):
    key = alice.key()
    for _ in range(3):
        ask(key)
    assert ask(key, Cache_Control="no-cache")[0]["x-menhir-cache"] == "miss"
    assert "x-menhir-cache" not in ask(key, Cache_Control="no-store")[0]
    assert upstream.stats.requests == 3


def test_a_prompt_takes_the_long_way(ask, alice, upstream):
    key = alice.key()
    body = ASKED[:-1] + b', "menhir": {}}'
    for _ in range(3):
        last = ask(key, body)
    assert last[0]["x-menhir-cache"] == "hit"
    assert ways(alice) == 0


def test_what_is_no_longer_remembered_is_looked_up_or_asked_for_again(server, ask, alice, upstream, superuser):
    key = alice.key()
    for _ in range(3):
        ask(key)
    asyncio.run_coroutine_threadsafe(exact.shelf.written(), server.loop).result(5)
    exact.memory.clear()
    assert ask(key)[0]["x-menhir-cache"] == "hit"
    assert upstream.stats.requests == 1
    with psycopg.connect(superuser, autocommit=True) as connection:
        assert connection.execute("DELETE FROM gateway_cached_answer WHERE tenant_id = %s", [alice.tenant.id]).rowcount == 1
    exact.memory.clear()
    assert ask(key)[0]["x-menhir-cache"] == "miss"
    assert upstream.stats.requests == 2


def test_a_guarded_call_takes_the_long_way(ask, alice, upstream):
    key = alice.key()
    for _ in range(3):
        ask(key)
    assert ways(alice) == 1
    with tenant_transaction(alice.tenant):
        Guardrail.create(
            alice.tenant, name="no-stones", kind="regex", by=alice.principal, action="block", settings={"patterns": ["(?i)menhir"]}
        )
    assert ways(alice) == 0

    def blocked():
        try:
            ask(key)
        except urllib.error.HTTPError as error:
            return 400 <= error.code < 500

    eventually(blocked, seconds=1, what="the guardrail being asked")
    assert ways(alice) == 0
