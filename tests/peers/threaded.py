"""A peer in a thread of its own, with a fresh port: it answers while the test waits."""

from __future__ import annotations

import asyncio
import threading
from typing import Self

from aiohttp import web


class Threaded:
    """Serves between `with` and its end, what `listen` set up."""

    def __init__(self, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.port = 0
        self._loop = loop or asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    async def listen(self) -> web.AppRunner:
        """Begin to serve on a free port of 127.0.0.1."""
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = self._loop.run_until_complete(self.listen())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()
