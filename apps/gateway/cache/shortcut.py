"""The shortest way to a kept answer: the same bytes from the same caller, answered without reading them.

The first hit of a plain request goes the whole way and leaves a shortcut: a hash of its bytes leads to the key of its answer. A
shortcut is its caller's alone, and lasts until anything at all is changed in the configuration of its tenant (whatever rings a bell of
`menhir.postgres.hot`); while bells cannot be heard, none is taken. So what is decided on the long way would be decided the same. A call
that somebody decides about anew each time, such as one with guardrails, or looks at, must leave none.
"""

from __future__ import annotations

import hashlib
import time
from collections import OrderedDict
from contextlib import suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

import msgspec

from apps.gateway.cache import exact
from apps.gateway.cache.answering import STREAM_HEADERS
from apps.gateway.cache.key import key_of
from apps.gateway.holding import user_of
from apps.gateway.wire import DONE_EVENT
from menhir.metering.ledger import Note, ledger
from menhir.postgres import hot
from menhir.postgres.ids import uuid7
from menhir.postgres.listener import listener
from menhir.telemetry import calls

if TYPE_CHECKING:
    from uuid import UUID

    from apps.gateway.cache.recording import Kept
    from apps.gateway.call import Call, Respond
    from apps.gateway.relay import Headers
    from menhir.tenancy.principal import Principal

MOST: Final = 20_000
"""Over all tenants; those that were not taken for longest go first."""
LONGEST_BYTES: Final = 64 * 1024
"""Longer requests are read: hashing them costs about as much."""
LARGEST_BYTES: Final = 64 * 1024
"""Larger answers are sent in pieces, the long way."""
OK: Final = 200

Place = tuple[str, object, str, str | None, frozenset[str] | None, bytes]


class Shortcut(msgspec.Struct, frozen=True):
    """Where the answer to some bytes is, and what stands around it."""

    key: bytes
    seconds: int
    wants_usage: bool
    stream: bool
    model: str
    route: str
    upstream_model: str
    headers: tuple[tuple[bytes, bytes], ...]
    unit: str | None = None
    """Whose call it is: the bytes say it, or the caller's token."""


_known: dict[UUID, dict[Place, Shortcut]] = {}
_order: OrderedDict[tuple[UUID, Place], None] = OrderedDict()
"""All of them, the one that was taken last at the end."""
_generation = 0


def find(who: Principal, raw: bytes) -> tuple[Shortcut, Kept] | None:
    """The way from these bytes, and the answer at its end, when it is still good."""
    known = _known.get(who.tenant_id)
    # Whoever watches calls, for a span or a line in the log, wants to see the call itself: that is made on the long way only.
    if known is None or len(raw) > LONGEST_BYTES or calls.watchers or not listener.connected:
        return None
    place = _place(who, raw)
    shortcut = known.get(place)
    if shortcut is None:
        return None
    with suppress(KeyError):  # another thread may forget a tenant at any time
        _order.move_to_end((who.tenant_id, place))
    kept = exact.memory.find(shortcut.key, seconds=shortcut.seconds)
    return None if kept is None else (shortcut, kept)


async def tell(shortcut: Shortcut, kept: Kept, who: Principal, respond: Respond, *, received: float) -> None:
    """Answer with it, and have the ledger know."""
    now = datetime.now(UTC)
    elapsed = time.perf_counter() - received
    body = kept.body
    headers: Headers = [
        *shortcut.headers,
        (b"age", b"%d" % max(0, time.time() - kept.created)),
        (b"openai-processing-ms", b"%d" % (elapsed * 1000)),
        (b"x-menhir-overhead-ms", b"%.2f" % (elapsed * 1000)),
    ]
    if shortcut.stream:
        body += kept.usage + DONE_EVENT if shortcut.wants_usage else DONE_EVENT
    else:
        headers.append((b"content-length", b"%d" % len(body)))
    ledger.note(
        Note(
            tenant_id=who.tenant_id,
            call_id=uuid7(),
            opened_at=now,
            settled_at=now,
            operation="chat",
            model=shortcut.model,
            route=shortcut.route,
            api_key_id=who.key_id,
            user_id=who.user_id,
            assistant_id=None,
            prompt_version_id=None,
            stream=shortcut.stream,
            upstream_model=shortcut.upstream_model,
            latency_ms=int(elapsed * 1000),
            unit=shortcut.unit,
        )
    )
    calls.finished(
        "chat", "completed", "cache", OK, seconds=elapsed, overhead=elapsed, first_token_ms=None, input_tokens=0, output_tokens=0
    )
    await respond.start(OK, headers)
    await respond.send(body, False)


def generation() -> int:
    """Changes with every change of any configuration: to be read before a call is resolved, and given to `learn`."""
    return _generation


def learn(call: Call, *, since: int) -> None:
    """Remember the way that a call went, when nobody changed its bytes, and nothing has changed `since` it began."""
    route, kept, raw = call.route, call.kept, call.raw
    if since != _generation or route is None or kept is None or raw is None or call.operation != "chat":
        return
    if route.capture is not None:
        return  # its texts are kept, each time
    if call.guard is not None or call.preface is not None or call.prompt_version_id is not None or call.assistant_id is not None:
        return
    if len(raw) > LONGEST_BYTES or len(kept.body) > LARGEST_BYTES or not listener.connected:
        return
    tenant_id, place = call.principal.tenant_id, _place(call.principal, raw)
    _order.pop((tenant_id, place), None)
    _order[tenant_id, place] = None
    _known.setdefault(tenant_id, {})[place] = Shortcut(
        key=key_of(call, route),
        seconds=route.cache_seconds,
        wants_usage=call.wants_usage,
        stream=call.stream,
        model=call.model,
        route=route.name,
        upstream_model=route.targets[0].upstream_model,
        headers=(
            *(STREAM_HEADERS if call.stream else ((b"content-type", b"application/json"),)),
            (b"x-menhir-route", route.name.encode("latin-1", "replace")),
            (b"x-menhir-upstream", kept.provider.encode("latin-1", "replace")),
            (b"x-menhir-attempts", b"0"),
            (b"x-menhir-cost", b"0"),
            (b"x-menhir-cache", b"hit"),
        ),
        unit=user_of(call),
    )
    if len(_order) > MOST:
        (tenant_id, place), _ = _order.popitem(last=False)
        _known.get(tenant_id, {}).pop(place, None)


def _place(who: Principal, raw: bytes) -> Place:
    return who.kind, who.id, who.name, who.unit, who.models, hashlib.sha256(raw).digest()


def _forget(tenant_id: UUID | None) -> None:
    global _generation  # noqa: PLW0603 - one count for the process
    _generation += 1
    if tenant_id is None:
        _known.clear()
        _order.clear()
    else:
        for place in tuple(_known.pop(tenant_id, ())):
            _order.pop((tenant_id, place), None)


hot.on_change(_forget)
