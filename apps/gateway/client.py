"""The platform's own model calls: the openai SDK, over our own `/v1`, without a socket.

    answer = await client_for(principal).chat.completions.create(model="gpt-4o-mini", messages=[…], stream=True)

Judges, titles, embeddings: each such call is admitted, limited, recorded and billed like a client's, because it goes
through the same door. Wiring hands that door over with `use_application`, so that nobody here imports upward.
"""

from __future__ import annotations

import asyncio
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import httpx2

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping

    from openai import AsyncOpenAI

    from menhir.tenancy.principal import Principal

    Message = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[Message]]
    Send = Callable[[Message], Awaitable[None]]
    Application = Callable[[Message, Receive, Send], Awaitable[None]]

BASE_URL = "http://menhir.internal/v1"
CLIENTS_KEPT = 256
PARTS_AHEAD = 64
"""How many parts of an answer may wait for a slow reader before the writer waits, too."""
TOO_SLOW = "The application did not answer in time."

_application: Application | None = None
_running: set[asyncio.Task[None]] = set()


def use_application(application: Application) -> None:
    """Say which ASGI application serves `/v1`. Called by wiring, once."""
    global _application  # noqa: PLW0603 - handed over, so that this layer need not know the one above
    _application = application


@lru_cache(maxsize=CLIENTS_KEPT)
def client_for(principal: Principal) -> AsyncOpenAI:
    """Give a client whose calls are this principal's. It needs no closing, and belongs to no event loop.

    It does not retry: the gateway behind it does.
    """
    from openai import AsyncOpenAI  # 20 MB of types: a process that asks nothing itself need not hold them

    return AsyncOpenAI(
        api_key="in-process",
        base_url=BASE_URL,
        max_retries=0,
        http_client=httpx2.AsyncClient(transport=InProcess(principal), timeout=None, trust_env=False),
    )


async def settled() -> None:
    """Wait until every call made by a client of this process has ended. Called by wiring before the ledger stops."""
    while _running:
        await asyncio.wait(_running)


class InProcess(httpx2.AsyncBaseTransport):
    """Hands requests to the application, and its answer back part by part (httpx's own ASGI transport waits for the end)."""

    def __init__(self, principal: Principal) -> None:
        self._principal = principal

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Start the application; returns with its status line. Raises what it raised before that, or ReadTimeout when it took too long."""
        if _application is None:
            raise RuntimeError("No application was handed to apps.gateway.client.use_application().")
        patience = request.extensions.get("timeout", {}).get("read")
        exchange = _Exchange(await request.aread(), patience)
        task = asyncio.create_task(exchange.run(_application, self._scope(request)))
        _running.add(task)
        task.add_done_callback(_running.discard)
        try:
            async with asyncio.timeout(patience):
                status, headers = await exchange.started
        except asyncio.CancelledError:
            exchange.hang_up()
            raise
        except TimeoutError as e:
            exchange.hang_up()
            raise httpx2.ReadTimeout(TOO_SLOW) from e
        return httpx2.Response(status, headers=headers, stream=_Body(exchange))

    def _scope(self, request: httpx2.Request) -> Message:
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.4"},
            "http_version": "1.1",
            "method": request.method,
            "scheme": request.url.scheme,
            "path": request.url.path,
            "raw_path": request.url.raw_path.split(b"?")[0],
            "query_string": request.url.query,
            "root_path": "",
            "headers": [(name.lower(), value) for name, value in request.headers.raw],
            "client": None,
            "server": None,
            # Nobody outside the process can write into the state of a scope: that is why it is believed.
            "state": {"principal": self._principal},
        }


class _Exchange:
    """One request and its answer, between the application's task and the reader's."""

    def __init__(self, body: bytes, patience: float | None) -> None:
        self.patience = patience
        """How many seconds the reader waits for the next part; None for as long as it takes."""
        self.started: asyncio.Future[tuple[int, list[tuple[bytes, bytes]]]] = asyncio.get_running_loop().create_future()
        self.parts: asyncio.Queue[bytes | None] = asyncio.Queue(PARTS_AHEAD)
        self._body: bytes | None = body
        self._left = asyncio.Event()
        self.failure: Exception | None = None

    async def run(self, application: Application, scope: Message) -> None:
        try:
            await application(scope, self.receive, self.send)
            self._fail(httpx2.RemoteProtocolError("The application returned without an answer."))
        except Exception as e:  # noqa: BLE001 - it is the reader's to handle
            self._fail(e)
        finally:
            await self._put(None)

    async def receive(self) -> Message:
        if self._body is not None:
            body, self._body = self._body, None
            return {"type": "http.request", "body": body, "more_body": False}
        await self._left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            if not self.started.done():
                self.started.set_result((message["status"], list(message.get("headers", ()))))
            return
        if body := message.get("body"):
            await self._put(body)
        if not message.get("more_body"):
            await self._put(None)

    def hang_up(self) -> None:
        """The reader has left: the application is told, and whatever it still sends is dropped."""
        self._left.set()
        while not self.parts.empty():
            self.parts.get_nowait()

    async def _put(self, part: bytes | None) -> None:
        if not self._left.is_set():
            await self.parts.put(part)

    def _fail(self, error: Exception) -> None:
        if not self.started.done():
            self.started.set_exception(error)
            self.started.exception()  # a reader who has left already does not want to be told
        elif not isinstance(error, httpx2.RemoteProtocolError):
            self.failure = error


class _Body(httpx2.AsyncByteStream):
    def __init__(self, exchange: _Exchange) -> None:
        self._exchange = exchange

    async def __aiter__(self) -> AsyncIterator[bytes]:
        while (part := await self._next()) is not None:
            yield part
        if self._exchange.failure is not None:
            raise httpx2.ReadError("The application failed in the middle of its answer.") from self._exchange.failure

    async def _next(self) -> bytes | None:
        try:
            async with asyncio.timeout(self._exchange.patience):
                return await self._exchange.parts.get()
        except TimeoutError as e:
            self._exchange.hang_up()
            raise httpx2.ReadTimeout(TOO_SLOW) from e

    async def aclose(self) -> None:
        self._exchange.hang_up()
