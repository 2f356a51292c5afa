"""Many who come at once are let in at once, however busy the process is."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path

import psutil
import pytest
import uvicorn
import uvloop

from menhir.wiring.serving import ACCEPTED_AT_ONCE, listening

CALLERS = 8 * ACCEPTED_AT_ONCE


def test_several_are_let_in_in_one_turn_of_the_loop():
    """libuv by itself lets in one."""
    turns = uvloop.run(_turns_taken())
    assert turns <= 2 * CALLERS / ACCEPTED_AT_ONCE


async def _turns_taken() -> int:
    loop = asyncio.get_running_loop()
    turn, let_in = 0, []
    whole = asyncio.Event()

    class Door(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            let_in.append(turn)
            if len(let_in) == CALLERS:
                whole.set()

    def work() -> None:
        nonlocal turn
        turn += 1
        if not whole.is_set():
            loop.call_soon(work)

    doors = listening(uvicorn.Config("none", port=0, log_config=None))
    servers = [await loop.create_server(Door, sock=door, backlog=CALLERS) for door in doors]
    callers = [socket.create_connection(doors[0].getsockname()) for _ in range(CALLERS)]
    try:
        work()
        async with asyncio.timeout(20):
            await whole.wait()
    finally:
        for each in (*servers, *doors, *callers):
            each.close()
    return let_in[-1] - let_in[0] + 1


@pytest.mark.slow
def test_web_listens_so(web):
    process = psutil.Process(web().process.pid)
    (door,) = [each for each in process.net_connections(kind="tcp") if each.status == psutil.CONN_LISTEN]
    descriptors = Path(f"/proc/{process.pid}/fd")
    socket_of = (descriptors / str(door.fd)).readlink()
    assert [each.readlink() for each in descriptors.iterdir()].count(socket_of) == ACCEPTED_AT_ONCE
