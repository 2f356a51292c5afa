"""However much does not end, and whatever hangs: a process that was told to go is gone when it said that it would be."""

from __future__ import annotations

import base64
import secrets
import signal
import socket
import threading
from contextlib import suppress
from urllib.parse import urlsplit

import httpx2
import psycopg
import pytest
from asgiref.sync import sync_to_async
from chat.conftest import assistant, begun, cookie_of, opened  # noqa: F401  # the fixture
from django.conf import settings
from django.test import override_settings

from menhir.wiring import parting

from peers.stalling import Way
from stage.servers import eventually

GRACE_SECONDS = 1
CALLS = """SELECT call.id, settlement.outcome FROM metering_call AS call
LEFT JOIN metering_settlement AS settlement ON (settlement.tenant_id, settlement.id) = (call.tenant_id, call.id)
WHERE call.tenant_id = %s"""


def most_seconds() -> float:
    with override_settings(MENHIR_GRACE_SECONDS=GRACE_SECONDS):
        return parting.web_seconds() + parting.MARGIN_SECONDS


def deaf_socket(base_url: str, person, talk) -> socket.socket:
    """A WebSocket whose other side never answers again, not even to its end."""
    there = urlsplit(base_url)
    line = socket.create_connection((there.hostname, there.port), timeout=10)
    key = base64.b64encode(secrets.token_bytes(16)).decode()
    line.sendall(
        f"GET /ws/t/{person.tenant.slug}/c/{talk.id}?lang=en HTTP/1.1\r\nhost: {there.netloc}\r\norigin: {base_url}\r\n"
        f"upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: {key}\r\n"
        f"cookie: menhir_session={cookie_of(person)}\r\n\r\n".encode()
    )
    assert line.recv(12) == b"HTTP/1.1 101"
    return line


def stream(base_url: str, key: str, model: str) -> None:
    """Listen to an answer that does not end, until it is broken off."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Talk for ever"}]}
    with (
        suppress(httpx2.HTTPError),
        httpx2.stream(
            "POST", f"{base_url}/v1/chat/completions", json=body, headers={"authorization": f"Bearer {key}"}, timeout=60
        ) as answer,
    ):
        for _line in answer.iter_lines():
            pass


@pytest.mark.slow
async def test_what_does_not_end_is_ended_in_time_and_every_call_is_settled(web, alice, assistant, superuser):  # noqa: F811
    await sync_to_async(assistant)(alice, orders="gap_ms=30&chunks=100000")
    talk, key = await sync_to_async(begun)(alice), await sync_to_async(alice.key)()
    server = await sync_to_async(web)(MENHIR_GRACE_SECONDS=str(GRACE_SECONDS))
    with psycopg.connect(superuser, autocommit=True) as connection:
        async with opened(server.base_url, alice, talk.id) as here:
            await here.ask("Talk for ever")
            await here.hear("text")
            deaf = await sync_to_async(deaf_socket)(server.base_url, alice, talk)
            threading.Thread(target=stream, args=(server.base_url, key, "fake-docs"), daemon=True).start()
            await sync_to_async(eventually)(
                lambda: len(connection.execute(CALLS, [alice.tenant.id]).fetchall()) == 2, what="both calls being open"
            )
            server.process.send_signal(signal.SIGTERM)
            assert await sync_to_async(server.process.wait)(timeout=most_seconds()) == 0
        deaf.close()
        outcomes = [outcome for _, outcome in connection.execute(CALLS, [alice.tenant.id]).fetchall()]
    assert len(outcomes) == 2
    assert set(outcomes) <= {"interrupted", "cancelled"}
    assert "not stop in time" not in server.log.read_text()


@pytest.mark.slow
async def test_a_database_that_falls_silent_does_not_keep_it(web, alice, assistant):  # noqa: F811
    await sync_to_async(assistant)(alice, orders="gap_ms=30&chunks=100000")
    talk = await sync_to_async(begun)(alice)
    with Way(settings.MENHIR_DATABASES["app"]) as way:
        places = {f"MENHIR_{role.upper()}_DATABASE_URL": way.leading(settings.MENHIR_DATABASES[role]) for role in ("app", "gateway")}
        server = await sync_to_async(web)(MENHIR_GRACE_SECONDS=str(GRACE_SECONDS), **places)
        async with opened(server.base_url, alice, talk.id) as here:
            await here.ask("Talk for ever")
            await here.hear("text")
            way.block()
            server.process.send_signal(signal.SIGTERM)
            await sync_to_async(server.process.wait)(timeout=most_seconds())
    assert "ledger.not_drained" in server.log.read_text(), "the ledger had its time, and told the log what it could not write"


@pytest.mark.parametrize(("drain", "grace"), [(0, 1), (0, 20), (10, 20)])
def test_up_waits_for_longer_than_any_role_takes(drain: int, grace: int) -> None:
    with override_settings(MENHIR_DRAIN_SECONDS=drain, MENHIR_GRACE_SECONDS=grace):
        assert parting.web_seconds() == drain + grace + parting.LEAVE_SECONDS
        assert parting.patience_seconds() > max(parting.web_seconds(), parting.worker_seconds())


def test_the_ledger_has_its_time_whatever_came_before_it() -> None:
    parts = parting.PARTS_SECONDS + 4 * parting.LEAST_SECONDS
    assert parts + parting.LEDGER_SECONDS + parting.REST_SECONDS <= parting.LEAVE_SECONDS
