"""A client that does not read what it is sent is let go: it keeps no upstream busy, no place of a limit, no row open, no memory."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest

from apps.gateway.hangup import UNREAD_SECONDS
from apps.gateway.models import Provider, Route
from menhir.metering.limits.models import Limit
from menhir.tenancy.transaction import tenant_transaction
from menhir.wiring.bounds import hang_up_on_overdue

from peers.upstream import Upstream
from stage.cast import Person
from stage.served import Served
from stage.servers import eventually

MUCH = 1024 * 1024
STILL = 8
"""Looks in a row that find the same."""
# In its own time: what has come already can be sent within the moment in which a hang-up is heard.
STREAMED, WHOLE, SHORT = f"claude-3-haiku?big={MUCH}&chunks=1000&gap_ms=10", f"claude-3-haiku?big={MUCH}&chunks=200", "claude-3-haiku"


class Silent:
    """Asks, and reads when it is told to."""

    def __init__(self, server: Served, person: Person, **body: Any) -> None:
        there = urlsplit(server.base_url)
        self.line = socket.socket()
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        self.line.settimeout(10)
        self.line.connect((there.hostname, there.port))
        self.port = self.line.getsockname()[1]
        said = json.dumps({"messages": [{"role": "user", "content": "Talk."}], **body}).encode()
        head = f"POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {person.key()}\r\n"
        self.line.sendall(f"{head}content-length: {len(said)}\r\n\r\n".encode() + said)

    def read(self) -> int:
        """Read to the end, or until it is cut off; how much there was."""
        size = 0
        try:
            while data := self.line.recv(MUCH):
                size += len(data)
        except ConnectionError:
            pass
        return size


@pytest.fixture
def silent(server: Served, alice: Person) -> Iterator[Callable[..., Silent]]:
    made: list[Silent] = []

    def make(**body: Any) -> Silent:
        made.append(Silent(server, alice, **body))
        return made[-1]

    yield make
    for client in made:
        client.line.close()


@pytest.fixture
def alone(alice: Person, upstream: Upstream) -> None:
    """Acme may make one call at a time."""
    with tenant_transaction(alice.tenant):
        Limit.set(alice.tenant, subject="tenant", subject_id="", metric="parallel", period="", amount=Decimal(1))
        provider = Provider(tenant=alice.tenant, slug="fake", kind=Provider.Kind.OPENAI, base_url=upstream.base_url, tariff="anthropic")
        provider.set_credential("sk-fake")
        provider.save()
        Route.objects.create(tenant=alice.tenant, name="short").lead_to((provider, SHORT))
        Route.objects.create(tenant=alice.tenant, name="endless").lead_to((provider, STREAMED))
        Route.objects.create(tenant=alice.tenant, name="kept", cache_seconds=60).lead_to((provider, STREAMED))
        Route.objects.create(tenant=alice.tenant, name="timed", total_timeout_seconds=4).lead_to((provider, STREAMED))
        Route.objects.create(tenant=alice.tenant, name="whole").lead_to((provider, WHOLE))


def connection_of(server: Served, client: Silent) -> Any:
    """The server's end of it; None when there is none any more."""
    for each in tuple(server.server_state.connections):
        if (each.transport.get_extra_info("peername") or (None, None))[1] == client.port:
            return each
    return None


def look(server: Served, *, later: float) -> None:
    """Look after the connections as the server does every few seconds, so many seconds from now."""
    looked = threading.Event()

    def sweep() -> None:
        hang_up_on_overdue(server.server_state.connections, now=server.loop.time() + later)
        looked.set()

    server.loop.call_soon_threadsafe(sweep)
    assert looked.wait(5)


def cut(server: Served, client: Silent) -> None:
    """Look after the connections, each time a minute later, until this one is cut: the system may still take a few bytes meanwhile."""
    later = count(UNREAD_SECONDS + 1, UNREAD_SECONDS + 1)

    def gone() -> bool:
        look(server, later=next(later))
        return connection_of(server, client) is None

    eventually(gone, seconds=5, what="the connection being cut")


def stuck(server: Served, client: Silent) -> None:
    """Wait until nothing more can be sent to a client: what waits for it has been as much for a while."""
    waiting: list[int] = []

    def still() -> bool:
        there = connection_of(server, client)
        waiting.append(there.transport.get_write_buffer_size() if there is not None and there.flow.write_paused else 0)
        return waiting[-1] > 0 and len(waiting) > STILL and len(set(waiting[-STILL:])) == 1

    eventually(still, what="nothing more going out")


def settled(superuser: str, alice: Person, model: str) -> tuple[Any, ...]:
    asked = (
        "SELECT outcome, status, error_code, output_tokens > 0, cost > 0 FROM metering_call JOIN metering_settlement"
        " USING (tenant_id, opened_at, id) WHERE tenant_id = %s AND model = %s"
    )
    with psycopg.connect(superuser, autocommit=True) as connection:
        return eventually(lambda: connection.execute(asked, [alice.tenant.id, model]).fetchone(), what="the call being settled")


def asks(server: Served, person: Person) -> int:
    body = {"model": "short", "messages": [{"role": "user", "content": "Talk."}]}
    headers = {"authorization": f"Bearer {person.key()}"}
    return httpx2.post(f"{server.base_url}/v1/chat/completions", json=body, headers=headers, timeout=30).status_code


def test_the_time_for_everything_ends_a_stream_that_nobody_reads(
    server: Served, alice: Person, upstream: Upstream, alone: None, silent: Callable[..., Silent], superuser: str
) -> None:
    client = silent(model="timed", stream=True)
    stuck(server, client)
    assert asks(server, alice) == 429
    assert upstream.wait(lambda stats: len(stats.cancelled) == 1)
    assert settled(superuser, alice, "timed") == ("cancelled", 499, "client_hung_up", True, True)
    assert asks(server, alice) == 200
    look(server, later=0)
    cut(server, client)


@pytest.mark.parametrize("model", ["endless", "kept"])
def test_a_stream_that_nobody_reads_is_cut(
    server: Served, alice: Person, upstream: Upstream, alone: None, silent: Callable[..., Silent], superuser: str, model: str
) -> None:
    client = silent(model=model, stream=True)
    stuck(server, client)
    look(server, later=0)
    look(server, later=UNREAD_SECONDS - 1)
    assert connection_of(server, client) is not None
    assert not upstream.stats.cancelled
    cut(server, client)
    assert upstream.wait(lambda stats: len(stats.cancelled) == 1)
    assert settled(superuser, alice, model) == ("cancelled", 499, "client_hung_up", True, True)
    assert asks(server, alice) == 200


def test_a_whole_answer_that_nobody_reads_is_dropped(
    server: Served, alice: Person, alone: None, silent: Callable[..., Silent], superuser: str
) -> None:
    client = silent(model="whole")
    stuck(server, client)
    assert settled(superuser, alice, "whole") == ("completed", 200, None, True, True)
    look(server, later=0)
    cut(server, client)
    assert client.read() < 12 * MUCH


def test_who_reads_slowly_is_waited_for(server: Served, alone: None, silent: Callable[..., Silent]) -> None:
    client = silent(model="whole")
    stuck(server, client)
    look(server, later=0)
    there = connection_of(server, client).transport
    waits = there.get_write_buffer_size()
    while there.get_write_buffer_size() >= waits:
        assert client.line.recv(MUCH)
    look(server, later=UNREAD_SECONDS + 1)
    assert connection_of(server, client) is not None
