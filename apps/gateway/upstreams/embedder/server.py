"""The role `embedder`: OpenAI's `/v1/embeddings` over the local model, on loopback. No Django, no database, no tenants.

`serve()` listens at once and loads the model meanwhile: `/healthz` says 503 until it is there, and requests wait for it. When the
model cannot be loaded the process ends with the reason.
"""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, nullcontext, suppress
from http import HTTPStatus
from typing import Any

import msgspec
import orjson
import structlog
import uvicorn

from apps.gateway.upstreams.embedder.batching import Batcher, Overloaded
from apps.gateway.upstreams.embedder.model import DIMENSIONS, NAME, EmbedderError, Model, Vectors
from menhir.telemetry import meters

MOST_TEXTS = 2_048
MOST_BODY_BYTES = 16 * 1024 * 1024
GRACE_SECONDS = 5
HEALTH = "/healthz"
RESPONSES = meters.counter("menhir_embedder_responses_total", "Answers to requests for vectors, by HTTP status.", "status")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

log = structlog.get_logger(__name__)


class Asked(msgspec.Struct):
    """The body of a request, in OpenAI's words."""

    input: str | list[str]
    model: str = NAME
    encoding_format: str | None = None
    dimensions: int | None = None
    user: str | None = None


class Refused(EmbedderError):
    """A request that is answered with an error in OpenAI's shape."""

    def __init__(self, status: HTTPStatus, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code


class HungUp(EmbedderError):
    """The client left."""


def serve(
    host: str,
    port: int,
    *,
    body_limit_bytes: int = MOST_BODY_BYTES,
    load: Callable[[], Model] = Model.load,
    beside: AbstractAsyncContextManager[None] | None = None,
) -> None:
    """Serve until told to stop, with `beside` held meanwhile; raises what kept the model from loading, or `beside` from being entered."""
    application = Application(body_limit_bytes=body_limit_bytes, load=load, beside=beside)
    config = uvicorn.Config(
        application, host=host, port=port, lifespan="on", access_log=False, log_config=None, timeout_graceful_shutdown=GRACE_SECONDS
    )
    server = uvicorn.Server(config)
    application.on_failure = lambda: setattr(server, "should_exit", True)
    server.run()
    if application.failure is not None:
        raise application.failure


class Application:
    """The ASGI application."""

    def __init__(
        self, *, body_limit_bytes: int, load: Callable[[], Model], beside: AbstractAsyncContextManager[None] | None = None
    ) -> None:
        self.body_limit_bytes = body_limit_bytes
        self.failure: BaseException | None = None
        self.on_failure: Callable[[], None] = lambda: None
        self._load = load
        self._beside = beside or nullcontext()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or the life of the process."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._answer(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.batcher = Batcher(self._load)
        async with AsyncExitStack() as stack:
            try:
                await stack.enter_async_context(self._beside)
            except Exception as error:  # noqa: BLE001  # whatever it is, `serve` raises it
                self.failure = error
                self.on_failure()
                await send({"type": "lifespan.startup.complete"})
                return
            working = asyncio.create_task(self.batcher.run(), name="embedder")
            working.add_done_callback(self._ended)
            await send({"type": "lifespan.startup.complete"})
            await receive()
            working.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await working
        await send({"type": "lifespan.shutdown.complete"})

    def _ended(self, working: asyncio.Task[None]) -> None:
        if not working.cancelled() and (error := working.exception()) is not None:
            log.error("embedder.failed", error=str(error))
            self.failure = error
            self.on_failure()

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            status, body = await self._routed(scope, receive)
        except Refused as refused:
            status = refused.status
            kind = "invalid_request_error" if status < HTTPStatus.INTERNAL_SERVER_ERROR else "server_error"
            body = orjson.dumps({"error": {"message": refused.message, "type": kind, "param": refused.param, "code": refused.code}})
        except HungUp:
            return
        except Exception:
            log.exception("embedder.request_failed")
            status = HTTPStatus.INTERNAL_SERVER_ERROR
            body = orjson.dumps({"error": {"message": "The model failed.", "type": "server_error", "param": None, "code": None}})
        headers = [(b"content-type", b"application/json"), (b"content-length", str(len(body)).encode())]
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            headers.append((b"retry-after", b"1"))
        if scope["path"] != HEALTH:
            RESPONSES.of(str(int(status))).add()
        await send({"type": "http.response.start", "status": int(status), "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _routed(self, scope: Scope, receive: Receive) -> tuple[HTTPStatus, bytes]:
        match scope["method"], scope["path"]:
            case (("GET" | "HEAD"), "/healthz"):
                ready = self.batcher.ready.is_set()
                status = HTTPStatus.OK if ready else HTTPStatus.SERVICE_UNAVAILABLE
                return status, orjson.dumps({"status": "ok" if ready else "loading", "model": NAME, "dimensions": DIMENSIONS})
            case "POST", "/v1/embeddings":
                asked = understood(await _body_of(scope, receive, most=self.body_limit_bytes))
                vectors, tokens = await self._embedded(asked, receive)
                return HTTPStatus.OK, answer(vectors, tokens, as_base64=asked.encoding_format == "base64")
            case _, ("/healthz" | "/v1/embeddings"):
                raise Refused(HTTPStatus.METHOD_NOT_ALLOWED, f"{scope['method']} is not allowed here.")
            case _:
                raise Refused(HTTPStatus.NOT_FOUND, "There is nothing here but /v1/embeddings and /healthz.")

    async def _embedded(self, asked: Asked, receive: Receive) -> tuple[Vectors, int]:
        """The vectors; a client who hangs up meanwhile takes his texts out of the queue."""
        texts = [asked.input] if isinstance(asked.input, str) else asked.input
        working = asyncio.create_task(self.batcher.embed(texts))
        leaving = asyncio.create_task(_left(receive))
        try:
            await asyncio.wait({working, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                raise HungUp
            return working.result()
        except Overloaded as e:
            raise Refused(HTTPStatus.SERVICE_UNAVAILABLE, "Too many texts are waiting already.", code="overloaded") from e
        finally:
            working.cancel()
            leaving.cancel()


def understood(body: bytes) -> Asked:
    """Read a request; raises Refused, naming the member that is wrong.

    >>> understood(b'{"input": "a", "encoding_format": "base64"}').encoding_format
    'base64'
    """
    try:
        asked = msgspec.json.decode(body, type=Asked)
    except msgspec.ValidationError as e:
        param = str(e).partition("`$.")[2].partition("`")[0].partition("[")[0] or None
        raise Refused(HTTPStatus.BAD_REQUEST, f"The request cannot be understood: {e}.", param=param) from e
    except msgspec.DecodeError as e:
        raise Refused(HTTPStatus.BAD_REQUEST, "The request is not valid JSON.") from e
    if asked.model.rpartition("/")[2] != NAME:
        raise Refused(HTTPStatus.NOT_FOUND, f"The only model here is {NAME}.", param="model", code="model_not_found")
    if asked.encoding_format not in {None, "float", "base64"}:
        raise Refused(HTTPStatus.BAD_REQUEST, "`encoding_format` is `float` or `base64`.", param="encoding_format")
    if asked.dimensions not in {None, DIMENSIONS}:
        raise Refused(HTTPStatus.BAD_REQUEST, f"The vectors of {NAME} have {DIMENSIONS} dimensions.", param="dimensions")
    texts = [asked.input] if isinstance(asked.input, str) else asked.input
    if not 1 <= len(texts) <= MOST_TEXTS or not all(texts):
        raise Refused(HTTPStatus.BAD_REQUEST, f"`input` is a text, or 1 to {MOST_TEXTS} texts, none of them empty.", param="input")
    return asked


def answer(vectors: Vectors, tokens: int, *, as_base64: bool) -> bytes:
    """The body of an answer, in OpenAI's words."""
    data = [
        {
            "object": "embedding",
            "index": at,
            "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode() if as_base64 else vector,
        }
        for at, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return orjson.dumps({"object": "list", "data": data, "model": NAME, "usage": usage}, option=orjson.OPT_SERIALIZE_NUMPY)


async def _body_of(scope: Scope, receive: Receive, *, most: int) -> bytes:
    declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    body = bytearray()
    too_large = declared.isdigit() and int(declared) > most
    while not too_large:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise HungUp
        body += message.get("body", b"")
        too_large = len(body) > most
        if not message.get("more_body", False):
            break
    if too_large:
        raise Refused(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"The body is larger than {most} bytes.")
    return bytes(body)


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
