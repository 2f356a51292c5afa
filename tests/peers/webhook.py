"""A tenant's own server that judges texts: real, on a real socket, and as slow, broken or dishonest as it is told to be."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any

from aiohttp import web

from peers.sending import drop
from peers.threaded import Threaded


class Webhook(Threaded):
    """The peer in a thread of its own. `answer` makes a reply of what was sent."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.bodies: list[bytes] = []
        self.at_once = 0
        self.most_at_once = 0
        self.delay_seconds = 0.0
        self.status = 200
        self.cuts = False
        self.answer: Callable[[dict[str, Any]], object] = lambda _data: {"verdict": "allow"}

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/judge"

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

    async def listen(self) -> web.AppRunner:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/judge", self._judge)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return runner
