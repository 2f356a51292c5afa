"""The door itself: one ASGI application, a handful of paths, and no way out but an answer in OpenAI's shape."""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import suppress
from typing import Any, Final, NamedTuple, cast
from urllib.parse import unquote

from apps.assistants.errors import UnknownEndpoint, WrongMethod
from apps.assistants.front import admit, models
from apps.assistants.front.admit import ClientLeft, Receive
from apps.assistants.front.asked import Asked, Scope, read
from apps.assistants.front.ground import ground
from apps.assistants.front.reply import Bare, InternalError, Reply, Send, ShuttingDown
from apps.assistants.front.resolve import resolve
from apps.assistants.front.wires import registry
from apps.assistants.front.wires.frame import WireReply
from apps.gateway import corridor, idempotency
from apps.gateway.cache import shortcut
from apps.gateway.call import Operation
from apps.gateway.hangup import Ears, Gone
from apps.gateway.idempotency import Claimed
from menhir.errors import MenhirError
from menhir.telemetry.calls import ARRIVED, QUEUED
from menhir.tenancy.principal import Principal

logger = logging.getLogger(__name__)

OPERATIONS: Final[dict[str, Operation]] = {
    "/v1/chat/completions": "chat",
    "/v1/embeddings": "embeddings",
    "/v1/moderations": "moderations",
    "/v1/rerank": "rerank",
}
METHOD_NOT_ALLOWED: Final = 405


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer one request below `/v1`."""
    now = time.perf_counter()
    received: float = scope.get(ARRIVED, now)
    QUEUED.observe(now - received)
    asked = read(scope)
    operation = OPERATIONS.get(scope["path"])
    wire = registry.find(scope["path"], asked) if operation is None else None
    reply = Reply(send, request_id=asked.request_id) if wire is None else wire.reply(send, asked)
    try:
        if operation is None and wire is None:
            await _describe(scope, asked, reply)
        elif wire is not None and (scope["method"] != "POST" or scope["path"] != wire.path):
            await wire.beside(scope, asked, receive, cast("WireReply", reply))
        elif scope["method"] != "POST":
            await _refuse_method(scope, reply, allowed=b"POST")
        else:
            await _answer(scope, asked, receive, reply, operation=operation or "chat", received=received)
    except ClientLeft:
        return
    except MenhirError as error:
        await reply.error(error)
    except asyncio.CancelledError:
        # This process is going and has waited long enough; the ledger has what there is. To be cut off would look like a broken network.
        with suppress(OSError):
            await reply.error(ShuttingDown())
        raise
    except Exception:
        logger.exception("A request failed unexpectedly: %s", asked.request_id.decode())
        await reply.error(InternalError())


async def _answer(scope: Scope, asked: Asked, receive: Receive, reply: Reply, *, operation: Operation, received: float) -> None:
    who = await admit.principal(scope, asked)
    raw = await admit.body(asked, receive)
    if operation == "chat" and asked.cache_control is None and asked.idempotency_key is None and type(reply) is Reply:
        found = shortcut.find(who, raw)
        if found is not None:
            await shortcut.tell(*found, who, reply, received=received)
            return
    fields = admit.parsed(raw)
    request = _Request(fields, raw, who, asked, operation, received)
    with Ears(receive) as gone:
        if asked.idempotency_key is None:
            await _walk(request, reply, gone)
            return
        key = idempotency.key_of(asked.idempotency_key, who=who, path=scope["path"], fields=fields)
        await idempotency.once(key, Bare(reply), gone, lambda claimed, gone: _walk(request, reply.onto(claimed), gone, claimed=claimed))


class _Request(NamedTuple):
    """A request that was read and admitted."""

    fields: dict[str, Any]
    raw: bytes
    who: Principal
    asked: Asked
    operation: Operation
    received: float


async def _walk(request: _Request, reply: Reply, gone: Gone, *, claimed: Claimed | None = None) -> None:
    fields, raw, who, asked, operation, received = request
    since = shortcut.generation()
    if isinstance(reply, WireReply):
        decoded = await reply.wire.decode(fields, who=who, reply=reply)
        call = admit.call(
            decoded.body, decoded.raw, operation=decoded.operation, who=who, asked=asked, received=received, wire=reply.wire.name
        )
        reply.call = call
    else:
        call = admit.call(fields, raw, operation=operation, who=who, asked=asked, received=received)
    if claimed is not None:
        claimed.call = call
    grounds = await resolve(call)
    if grounds is not None:
        await ground(call, grounds)
    await corridor.run(call, reply, gone)
    if call.kept is not None and grounds is None and type(reply) is Reply:
        shortcut.learn(call, since=since)


async def _describe(scope: Scope, asked: Asked, reply: Reply) -> None:
    path: str = scope["path"]
    if path.rstrip("/") != models.PATH and not path.startswith(f"{models.PATH}/"):
        raise UnknownEndpoint(f"Unknown request URL: {scope['method']} {path}.")
    if scope["method"] not in {"GET", "HEAD"}:
        await _refuse_method(scope, reply, allowed=b"GET")
        return
    who = await admit.principal(scope, asked)
    name = path.removeprefix(models.PATH).strip("/")
    await reply.json(await models.one(who, unquote(name)) if name else await models.every(who))


async def _refuse_method(scope: Scope, reply: Reply, *, allowed: bytes) -> None:
    error = WrongMethod(f"Not allowed: {scope['method']} {scope['path']}. It takes {allowed.decode()}.")
    await reply.error(error, status=METHOD_NOT_ALLOWED, headers=[(b"allow", allowed)])
