"""A tenant's own server that judges texts: real, on a real socket, and as slow, broken or dishonest as it is told to be."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable
from typing import Any, Self

from aiohttp import web

from peers.sending import drop


class Webhook:
    """The peer in a thread of its own. `answer` makes a reply of what was sent."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.at_once = 0
        self.most_at_once = 0
        self.delay_seconds = 0.0
        self.status = 200
        self.cuts = False
        self.answer: Callable[[dict[str, Any]], object] = lambda _data: {"verdict": "allow"}
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/judge"

    def __enter__(self) -> Self:
        self._thread.start()
        self._ready.wait(10)
        return self

    def __exit__(self, *exc: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    async def _judge(self, request: web.Request) -> web.StreamResponse:
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            body = await request.read()
            self.bodies.append(body)
            self.headers.append({name.lower(): value for name, value in request.headers.items()})
            data = json.loads(body)["data"]
            self.asked.append(data)
            if self.delay_seconds:
                await asyncio.sleep(self.delay_seconds)
            if self.cuts:
                drop(request)
            said = self.answer(data)
            if isinstance(said, str):
                return web.Response(text=said)
            return web.json_response(said, status=self.status, headers={"location": "/elsewhere"} if self.status == 302 else {})
        finally:
            self.at_once -= 1

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/judge", self._judge)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        self._loop.run_until_complete(runner.setup())
        self._loop.run_until_complete(web.TCPSite(runner, "127.0.0.1", 0).start())
        self.port = runner.addresses[0][1]
        self._ready.set()
        self._loop.run_forever()
        self._loop.run_until_complete(runner.cleanup())
        self._loop.close()
