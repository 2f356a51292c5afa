"""`/metrics` and `/livez` of a role that serves nobody, on a port of its own: for those who operate it.

Whoever may read the metrics of `web` may read these (see `menhir.wiring.metrics`). They are answered on the role's own event loop: when
that hangs, so do they, and a probe finds out.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, MutableMapping
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Final

import uvicorn

from menhir.wiring import metrics
from menhir.wiring.bounds import BoundedServer
from menhir.wiring.environment import Address

GRACE_SECONDS: Final = 1
LIVES: Final = "/livez"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class CannotListen(Exception):
    """The address for metrics cannot be had; the message says why."""


class _Server(BoundedServer):
    """Is told to stop by its block alone: signals are for the role."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


@asynccontextmanager
async def observed(address: Address | None) -> AsyncIterator[None]:
    """Answer at this address for as long as the block runs; without one, nobody. Raises CannotListen."""
    if address is None:
        yield
        return
    config = uvicorn.Config(
        _answer,
        http="menhir.wiring.bounds:BoundedHeads",
        ws="none",
        lifespan="off",
        interface="asgi3",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    server = _Server(config)
    with _listening(address) as line:
        serving = asyncio.create_task(server.serve(sockets=[line]), name="metrics")
        try:
            yield
        finally:
            server.should_exit = True
            await serving


def _listening(address: Address) -> socket.socket:
    family = socket.AF_INET6 if ":" in address.host else socket.AF_INET
    try:
        return socket.create_server(address, family=family)
    except OSError as e:
        raise CannotListen(f"Metrics cannot be served at {address.host}, port {address.port}: {os.strerror(e.errno or 0)}.") from e


async def _answer(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["path"] == metrics.PATH:
        await metrics.metrics(scope, send)
    elif scope["path"] == LIVES:
        await metrics.answer(send, 200, b"alive\n")
    else:
        await metrics.answer(send, 404, f"There is nothing here but {metrics.PATH} and {LIVES}.\n".encode())
