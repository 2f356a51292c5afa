"""Two web processes side by side: what is changed through one holds in the other."""

from __future__ import annotations

import time

import httpx2
import psycopg
import pytest
from chat.conftest import Web

from apps.gateway.models import Provider, Route
from apps.prompts.models import Prompt
from menhir.tenancy.models import ApiKey
from menhir.tenancy.transaction import tenant_transaction

pytestmark = pytest.mark.slow
SOON_SECONDS, DEAF_SECONDS = 1.0, 5.0


def _ask(server, key: str, **more: object) -> httpx2.Response:
    body = {"model": "fake", "messages": [{"role": "user", "content": "Hello?"}], **more}
    return httpx2.post(f"{server.base_url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=20)


def _within(seconds: float, condition) -> float:
    """How long it took until the condition held; fails when it was longer."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds:g} s"
    return time.monotonic() - began


@pytest.fixture
def two(web, alice, upstream):
    """Two processes, and a route of Alice's that both have served."""
    with tenant_transaction(alice.tenant):
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-fake")
        provider.save()
        Route.objects.create(tenant=alice.tenant, name="fake").lead_to((provider, "fake"))
    return web(), web()


def _revoke_through(server, alice, key: str) -> None:
    with tenant_transaction(alice.tenant):
        found = ApiKey.objects.within(alice.tenant).get(last_four=key[-4:])
    assert Web(server.base_url, alice).post(f"console/keys/{found.id}/revoke").status_code in {200, 302}


def test_a_key_revoked_through_one_is_refused_by_the_other(two, alice):
    one, other = two
    key = alice.key()
    assert [_ask(server, key).status_code for server in two] == [200, 200]
    _revoke_through(one, alice, key)
    assert _ask(one, key).status_code == 401
    _within(SOON_SECONDS, lambda: _ask(other, key).status_code == 401)


def test_a_key_is_refused_even_by_a_process_that_heard_nothing(two, alice, superuser):
    one, other = two
    key = alice.key()
    assert [_ask(server, key).status_code for server in two] == [200, 200]
    with psycopg.connect(superuser, autocommit=True) as connection:
        cut = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'menhir-listener' AND datname = current_database()"
        assert connection.execute(cut).fetchone()[0] >= 2
        _revoke_through(one, alice, key)
        connection.execute(cut)
        _within(DEAF_SECONDS, lambda: _ask(other, key).status_code == 401)


def test_a_release_through_one_is_served_by_the_other(two, alice, upstream):
    one, other = two
    key = alice.key()
    with tenant_transaction(alice.tenant):
        prompt = Prompt.create(alice.tenant, slug="greeting", by=alice.principal)
        prompt.release(prompt.add_version("Say hello.", by=alice.principal), "production", by=alice.principal)
        prompt.add_version("Say ahoy.", by=alice.principal)

    def says(server, words: str) -> bool:
        assert _ask(server, key, prompt={"id": "greeting"}).status_code == 200
        return words in str(upstream.stats.bodies[-1]["messages"])

    assert all(says(server, "Say hello.") for server in two)
    released = httpx2.put(
        f"{one.base_url}/api/v1/prompts/greeting/releases/production", json={"version": 2}, headers={"authorization": f"Bearer {key}"}
    )
    assert released.status_code == 200, released.text
    assert says(one, "Say ahoy.")
    _within(SOON_SECONDS, lambda: says(other, "Say ahoy."))
