"""A small real model server: OpenAI's wire on a real socket, and Anthropic's and Gemini's beside it. It does as it is told and counts.

    python tests/peers/upstream.py --port 9100          # by itself, for benchmarks and kill tests
    with Upstream() as upstream: upstream.base_url      # in a thread of its own, for tests

What it should do is written into the model's name as a query: `fake?first_ms=500&chunks=20&gap_ms=20&cut=3`. See `Orders`.
`GET /stats` gives the counts as JSON, `POST /reset` forgets them. It knows nothing of Menhir.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import dataclasses
import hashlib
import json
import sys
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import uvloop
from aiohttp import ClientConnectionError, web

if __name__ == "__main__":  # run by itself: its own folder is on the path, and `peers` is not
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from peers import beside, claude, gemini, said
from peers.script import DIMENSIONS, Orders, encoded, orders_of, prompt_tokens, script, usage_of, vector_of, words_of
from peers.sending import half, send
from peers.threaded import Threaded

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 50


@dataclass
class Stats:
    """What it was asked and what it did."""

    requests: int = 0
    answered: int = 0  # to their end, as ordered
    refused: int = 0
    cancelled: list[float] = field(default_factory=list)  # time.monotonic() of each hang-up of the other side
    prompt_tokens: int = 0  # of whatever it answered to the end
    completion_tokens: int = 0
    bodies: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=KEPT))  # the last few requests
    headers: deque[dict[str, str]] = field(default_factory=lambda: deque(maxlen=KEPT))
    ids: list[str] = field(default_factory=list)  # the x-request-id of everything it answered to the end


class Peer:
    """The server's work, on one event loop."""

    def __init__(self, *, keep_ids: bool = False) -> None:
        self.stats = Stats()
        self.changed = threading.Condition()
        self.keep_ids = keep_ids
        self._seen: dict[str, int] = {}

    def application(self) -> web.Application:
        app = web.Application(client_max_size=64 * 1024 * 1024)
        app.router.add_post("/v1/chat/completions", self.chat)
        app.router.add_post("/v1/embeddings", self.embeddings)
        app.router.add_post("/v1/messages", partial(claude.answer, self))
        app.router.add_post("/v1/messages/count_tokens", partial(claude.counted, self))
        app.router.add_post("/v1beta/models/{asked:.+}", partial(gemini.answer, self))
        for path, answer in (("completions", beside.completions), ("moderations", beside.moderations), ("rerank", beside.rerank)):
            app.router.add_post(f"/v1/{path}", partial(answer, self))
        app.router.add_get("/stats", self.show)
        app.router.add_post("/reset", self.reset)
        return app

    async def show(self, request: web.Request) -> web.Response:
        counts = {field.name: getattr(self.stats, field.name) for field in dataclasses.fields(self.stats)}
        return web.json_response({name: list(value) if isinstance(value, deque) else value for name, value in counts.items()})

    async def reset(self, request: web.Request) -> web.Response:
        self.forget()
        return web.Response(status=204)

    def forget(self) -> None:
        with self.changed:
            self.stats = Stats()
            self._seen.clear()

    @contextlib.contextmanager
    def _count(self) -> Any:
        with self.changed:
            yield self.stats
            self.changed.notify_all()

    async def chat(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, self._chat)

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        return await self.answer(request, self._embeddings)

    async def answer(
        self, request: web.Request, answer: Callable[..., Any], *, refuse: Callable[..., web.Response] | None = None, model: str = ""
    ) -> web.StreamResponse:
        """Count the request, do as its model's name orders, and let `answer` say the rest; `refuse` says no in the wire that was spoken."""
        body = json.loads(await request.read())
        model = model or body["model"]
        orders = orders_of(model)
        with self._count() as stats:
            stats.requests += 1
            stats.bodies.append(body)
            stats.headers.append({name.lower(): value for name, value in request.headers.items()})
            turn = self._seen[model] = self._seen.get(model, 0) + 1
        try:
            status = 429 if turn <= orders.busy else orders.status
            if status:
                with self._count() as stats:
                    stats.refused += 1
                return (refuse or refusal)(status, orders)
            if orders.first_ms and not (body.get("stream") and orders.comments):
                await asyncio.sleep(orders.first_ms / 1000)
            return await answer(request, body, orders)
        except (asyncio.CancelledError, ConnectionResetError, ClientConnectionError):
            with self._count() as stats:
                stats.cancelled.append(time.monotonic())
            raise

    def finished(self, request: web.Request, prompt: int, completion: int) -> None:
        with self._count() as stats:
            stats.answered += 1
            stats.prompt_tokens += prompt
            stats.completion_tokens += completion
            if self.keep_ids:
                stats.ids.append(request.headers.get("x-request-id", ""))

    async def _chat(self, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
        words = [] if orders.calls and not orders.chunks else words_of(orders, body.get("messages"))
        prompt = prompt_tokens(body.get("messages"))
        head = {
            "id": f"chatcmpl-{hashlib.sha256(json.dumps(body).encode()).hexdigest()[:12]}",
            "created": 1_700_000_000,
            "model": body["model"],
        }
        if body.get("stream"):
            return await self._stream(request, body, orders, head=head, words=words, prompt=prompt)
        if orders.malformed >= 0:
            return web.Response(body=b'{"id": "chatcmpl', content_type="application/json")
        if orders.error >= 0:
            return web.json_response({"error": {"message": "the model fell over", "type": "server_error", "code": None, "param": None}})
        answer = {
            **head,
            "object": "chat.completion",
            "choices": said.choices(orders, words, body),
        }
        if (usage := usage_of(orders, prompt, len(words))) is not None:
            answer["usage"] = usage
        data = json.dumps(answer).encode()
        if orders.cut >= 0:
            return await half(request, data)
        self.finished(request, prompt, len(words))
        return web.Response(body=data, content_type="application/json")

    async def _stream(
        self, request: web.Request, body: dict[str, Any], orders: Orders, *, head: dict[str, Any], words: list[str], prompt: int
    ) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        asked = (body.get("stream_options") or {}).get("include_usage") is True
        events = script(orders, head=head, words=words, prompt=prompt, asked=asked, body=body)
        for _ in range(orders.comments):
            await response.write(b": still thinking\n\n")
            await asyncio.sleep(orders.first_ms / 1000 / orders.comments)
        if not await send(request, response, events, orders):
            return response
        self.finished(request, prompt, len(words))
        if orders.linger_ms:
            await asyncio.sleep(orders.linger_ms / 1000)
        return response

    async def _embeddings(self, request: web.Request, body: dict[str, Any], orders: Orders) -> web.StreamResponse:
        inputs = body["input"] if isinstance(body["input"], list) else [body["input"]]
        prompt = sum(max(1, len(str(text).split())) for text in inputs)
        if orders.malformed >= 0:
            return web.Response(body=b"<html>", content_type="text/html")
        size = int(body.get("dimensions") or DIMENSIONS)
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": encoded(vector_of(str(text), size), orders.form or body.get("encoding_format")),
            }
            for index, text in enumerate(inputs[: orders.chunks] if orders.chunks else inputs)
        ]
        answer: dict[str, Any] = {"object": "list", "data": data, "model": body["model"]}
        if (usage := usage_of(orders, prompt, 0)) is not None:
            answer["usage"] = {"prompt_tokens": usage["prompt_tokens"], "total_tokens": usage["total_tokens"]}
        self.finished(request, prompt, 0)
        return web.json_response(answer)


def refusal(status: int, orders: Orders) -> web.Response:
    headers = {"retry-after": orders.retry_after} if orders.retry_after else {}
    kind = {400: "invalid_request_error", 401: "authentication_error", 429: "rate_limit_error"}.get(status, "server_error")
    error = {
        "message": f"refused as ordered with {status}, key sk-secret",
        "type": kind,
        "param": "messages" if status == 400 else None,
        "code": orders.code or None,
    }
    return web.json_response({"error": error}, status=status, headers=headers)


class Upstream(Threaded):
    """The peer in a thread of its own, with a fresh port."""

    def __init__(self) -> None:
        super().__init__(uvloop.new_event_loop())
        self.peer = Peer()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def gemini_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1beta"

    @property
    def stats(self) -> Stats:
        return self.peer.stats

    def reset(self) -> None:
        """Forget what was counted."""
        self.peer.forget()

    def wait(self, condition: Callable[[Stats], bool], *, seconds: float = 5.0) -> bool:
        """Wait until the counts are so; False when they were not in time."""
        with self.peer.changed:
            return self.peer.changed.wait_for(lambda: condition(self.stats), seconds)

    async def listen(self) -> web.AppRunner:
        return await listen(self.peer, "127.0.0.1", 0)


async def listen(peer: Peer, host: str, port: int) -> web.AppRunner:
    # A handler is cancelled when the other side hangs up: that is how a model server stops generating.
    runner = web.AppRunner(peer.application(), handler_cancellation=True, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, host, port, backlog=4096).start()
    return runner


async def serve(host: str, port: int) -> None:
    runner = await listen(Peer(keep_ids=True), host, port)
    print(json.dumps({"port": runner.addresses[0][1]}), flush=True)
    await asyncio.Event().wait()


def main() -> None:
    parser = argparse.ArgumentParser(description="A model server that does as it is told.")
    parser.add_argument("--port", type=int, default=9100)
    parser.add_argument("--host", default="127.0.0.1")
    arguments = parser.parse_args()
    with contextlib.suppress(KeyboardInterrupt):
        uvloop.run(serve(arguments.host, arguments.port))


if __name__ == "__main__":
    main()
