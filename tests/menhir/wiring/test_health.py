"""Whoever asks whether the process can serve, and how often, costs it one connection a second at most."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import httpx2
import pytest
from django.conf import settings
from django.test import override_settings

from menhir.postgres.listener import listener
from menhir.wiring.health import health

from stage.served import Served

MANY = 30


@contextmanager
def silent_database() -> Iterator[list[socket.socket]]:
    """Something that listens where the database should, and never says a word; who has come."""
    came: list[socket.socket] = []
    with socket.create_server(("127.0.0.1", 0)) as door:

        def let_in() -> None:
            while True:
                try:
                    came.append(door.accept()[0])
                except OSError:
                    return

        threading.Thread(target=let_in, daemon=True).start()
        there = f"host=127.0.0.1 port={door.getsockname()[1]} user=nobody dbname=nothing sslmode=disable gssencmode=disable"
        with override_settings(MENHIR_DATABASES={**settings.MENHIR_DATABASES, "app": there}):
            yield came
        door.shutdown(socket.SHUT_RDWR)
    for line in came:
        line.close()


@pytest.mark.parametrize("path", ["/readyz", "/api/v1/health"])
def test_many_who_ask_at_once_share_one_connection(server: Served, path: str) -> None:
    with silent_database() as came, ThreadPoolExecutor(MANY) as threads:
        asked = [threads.submit(httpx2.get, server.base_url + path, timeout=30) for _ in range(MANY)]
        answers = [one.result() for one in asked]
        assert {answer.status_code for answer in answers} == {503}
        assert {answer.json()["checks"]["database"] for answer in answers} == {False}
        assert len(came) <= 2, "those who came a second later may have asked once more"


def test_a_channel_that_is_new_is_no_reason_to_be_sent_no_calls(server: Served) -> None:
    said: list[Any] = []

    async def send(message: Any) -> None:
        said.append(message)

    async def ask() -> None:
        assert await listener.ready()
        for number in range(5):
            leave = listener.subscribe(f"test_health_{number}", lambda _payload: None)
            assert not listener.connected
            await health({"method": "GET", "path": "/readyz", "headers": []}, send)
            leave()

    asyncio.run_coroutine_threadsafe(ask(), server.loop).result(20)
    assert [message["status"] for message in said if "status" in message] == [200] * 5
