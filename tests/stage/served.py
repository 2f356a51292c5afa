"""The whole application in a thread of this process, and a model server behind it, both on real sockets."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest
import uvicorn
from django.db import connection

from menhir.wiring.serving import Server

from peers.upstream import Upstream


class Served(Server):
    """`menhir.wiring.asgi:application` on a fresh port, by the server of `web`."""

    def __init__(self) -> None:
        heads = "menhir.wiring.bounds:BoundedHeads"
        super().__init__(
            uvicorn.Config("menhir.wiring.asgi:application", host="127.0.0.1", port=0, log_level="warning", lifespan="on", http=heads),
            drain_seconds=0,
        )
        self.ready = threading.Event()

    async def startup(self, sockets=None) -> None:
        self.loop = asyncio.get_running_loop()
        await super().startup(sockets)
        self.ready.set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.servers[0].sockets[0].getsockname()[1]}"


@pytest.fixture(scope="module")
def server() -> Iterator[Served]:
    """One for each file of tests: what a process holds belongs to one event loop, and the next file may want its own."""
    server = Served()
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert server.ready.wait(30)
    yield server
    server.should_exit = True
    thread.join(30)
    # Its threads have taken connections and will never give them back: after some files of tests the pool would be empty.
    connection.close_pool()


@pytest.fixture(scope="session")
def running_upstream() -> Iterator[Upstream]:
    """A model server, for all tests of this process."""
    with Upstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(running_upstream: Upstream) -> Upstream:
    """The fake model server; its counts start at nothing."""
    running_upstream.reset()
    return running_upstream
