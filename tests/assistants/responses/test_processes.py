"""Two web processes: what one stores the other goes on from, and one that is killed stores nothing half."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import openai
import psycopg
import pytest
from openai import OpenAI

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from peers.upstream import Upstream
from stage.cast import Person
from stage.servers import Server

pytestmark = pytest.mark.slow


@pytest.fixture
def two(web: Callable[..., Server], alice: Person, upstream: Upstream) -> tuple[Server, Server]:
    with tenant_transaction(alice.tenant):
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url)
        provider.set_credential("sk-fake")
        provider.save()
        Route.objects.create(tenant=alice.tenant, name="plain").lead_to((provider, "fake"))
        Route.objects.create(tenant=alice.tenant, name="slow").lead_to((provider, "fake?chunks=2000&gap_ms=20"))
    return web(), web()


def client_of(server: Any, key: str) -> OpenAI:
    return OpenAI(base_url=f"{server.base_url}/v1", api_key=key, max_retries=0)


def test_they_share_what_is_stored(two: tuple[Server, Server], alice: Person, upstream: Upstream, superuser: str):
    key = alice.key("inference")
    one, other = (client_of(server, key) for server in two)
    first = list(one.responses.create(model="plain", input="One?", stream=True))[-1].response
    second = other.responses.create(model="plain", input="Two?", previous_response_id=first.id)
    assert [message["role"] for message in upstream.stats.bodies[-1]["messages"]] == ["user", "assistant", "user"]
    assert one.responses.retrieve(second.id).output_text == second.output_text
    one.responses.delete(first.id)
    with pytest.raises(openai.NotFoundError):
        other.responses.retrieve(first.id)

    stream = one.responses.create(model="slow", input="?", stream=True)
    begun = next(iter(stream)).response
    two[0].kill()
    with pytest.raises(openai.NotFoundError):
        other.responses.retrieve(begun.id)
    with psycopg.connect(superuser) as connection:
        stored = connection.execute("SELECT id FROM assistants_response WHERE tenant_id = %s", [alice.tenant.id]).fetchall()
    assert [f"resp_{row[0].hex}" for row in stored] == [second.id]
