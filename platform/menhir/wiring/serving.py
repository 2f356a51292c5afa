"""The server of `web`, and how it goes: first it says that it is going, then it takes nothing new, then it ends what is left.

On SIGTERM readiness turns false at once. For `MENHIR_DRAIN_SECONDS` everything is still served, so that a balancer finds out before a
connection is refused; then the door is closed and what is under way has `MENHIR_GRACE_SECONDS` to end. What is not through by then is
told so in its own wire, settled as interrupted and billed for what was said (see `apps.assistants.front.door`). A second signal, or
Ctrl-C, leaves the pause out. Then the parts of the process stop (see `parting`), and whatever hangs, it has ended in time.
"""

from __future__ import annotations

import asyncio
import signal
import socket
from types import FrameType

import structlog
import uvicorn
from django.conf import settings

from menhir.wiring import lifeline, parting
from menhir.wiring.bounds import BoundedServer
from menhir.wiring.lifespan import state

ACCEPTED_AT_ONCE = 16
"""In one turn of the loop. A lone caller pays for it: the other listeners are woken for nothing, which takes 60 µs."""

log = structlog.get_logger("menhir.process")


def listening(config: uvicorn.Config) -> list[socket.socket]:
    """Take the port, and listen on it several times over. Exits with 3 when it is taken.

    libuv accepts one connection for each listener and turn of the loop (https://github.com/libuv/libuv/pull/3696). Under load a turn takes
    20 ms, and of 500 who come at once the last would be let in after all the others had been served.
    """
    first = config.bind_socket()
    first.set_inheritable(False)  # uvicorn means to hand it to workers: a child of ours would keep the port when we are gone
    return [first, *(first.dup() for _ in range(ACCEPTED_AT_ONCE - 1))]


class Server(BoundedServer):
    """The bounded server, with a pause between being told to go and closing the door."""

    def __init__(self, config: uvicorn.Config, *, drain_seconds: float) -> None:
        super().__init__(config)
        self._drain_seconds = drain_seconds
        self._draining = self._going = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Go, in order."""
        state.accepting = False
        if not self._going:
            self._going = True
            lifeline.end_within(parting.web_seconds())
            if self.started:
                state.grace_until = asyncio.get_running_loop().time() + self._drain_seconds + settings.MENHIR_GRACE_SECONDS
        if sig != signal.SIGTERM or self._draining or not self._drain_seconds or not self.started:
            super().handle_exit(sig, frame)
            return
        self._draining = True
        log.info("draining", seconds=self._drain_seconds)
        loop = asyncio.get_running_loop()
        loop.call_soon_threadsafe(loop.call_later, self._drain_seconds, super().handle_exit, sig, frame)
