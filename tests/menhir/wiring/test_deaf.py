"""A process whose connection to the bells has died in silence: what it remembers is not trusted for longer than the guide says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from pathlib import Path

import httpx2
import pytest
from asgiref.sync import sync_to_async

from apps.gateway.models import Provider, Route
from menhir.metering.models import Limit
from menhir.postgres import roles
from menhir.postgres.hot import DEAF_SECONDS
from menhir.tenancy.models import ApiKey
from menhir.tenancy.transaction import tenant_transaction

from peers.wire import Wire, wire_to

pytestmark = pytest.mark.slow
MARGIN_SECONDS = 3.0
"""For the calls that ask, on a machine with much to do."""


@pytest.fixture
async def wire(tmp_path: Path) -> AsyncIterator[Wire]:
    async with wire_to(roles.conninfo("app"), tmp_path) as wire:
        yield wire


@pytest.fixture
def keys(alice, upstream) -> tuple[str, str]:
    with tenant_transaction(alice.tenant):
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-fake")
        provider.save()
        Route.objects.create(tenant=alice.tenant, name="fake").lead_to((provider, "fake"))
    return alice.key(name="going"), alice.key(name="staying")


async def test_what_it_does_not_hear_holds_within_the_bound(keys, alice, wire, web):
    """The bells come over the wire, the gateway's own connections do not: it serves on, and hears nothing."""
    given = {"MENHIR_APP_DATABASE_URL": wire.conninfo, "MENHIR_GATEWAY_DATABASE_URL": roles.conninfo("gateway")}
    server = await asyncio.to_thread(web, **given)
    going, staying = keys
    async with httpx2.AsyncClient(base_url=server.base_url, timeout=20) as client:

        async def ask(key: str) -> int:
            body = {"model": "fake", "messages": [{"role": "user", "content": "Hello?"}]}
            return (await client.post("/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"})).status_code

        assert [await ask(key) for key in keys] == [200, 200]
        wire.flows.clear()
        await sync_to_async(change)(alice)
        assert [await ask(key) for key in keys] == [200, 200], "it heard the bell, and this test proves nothing"
        async with asyncio.timeout(DEAF_SECONDS + MARGIN_SECONDS):
            for key, refusal in ((going, 401), (staying, 429)):
                while await ask(key) != refusal:
                    await asyncio.sleep(0.05)
    server.kill()  # it would wait for a database that says nothing


def change(alice) -> None:
    """Revoke one of two keys; and let everybody ask once in an hour."""
    with tenant_transaction(alice.tenant):
        ApiKey.objects.within(alice.tenant).get(name="going").revoke()
        Limit.set(alice.tenant, subject="tenant", metric="requests", period="hour", amount=Decimal(1))
