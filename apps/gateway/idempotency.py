"""`Idempotency-Key`: the same key and the same body within a day are one call, whichever process they reach.

The first to come claims the key with a row and makes the call; whoever comes meanwhile follows it in this process, and in another waits for
the bell that rings when its answer is written. What is kept is what the client was sent, byte for byte, and it is kept before his last byte
goes out: a client who did not get it all gets the rest by asking again. Failures are not kept, so that asking again helps.

A client who hangs up in the middle is given `LINGER_SECONDS` to ask again before his call is given up: that is what his key is for. A
process that dies is found out by its silence in `metering_process`, and its claims are taken over. Should it die after the upstream had
answered and before the answer was kept, the call is made once more: nobody can know that it was answered.
"""

from __future__ import annotations

import asyncio
import hashlib
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
import orjson
import structlog

from apps.gateway import afterwards
from apps.gateway.cache.flight import Flight, Follower, follow
from apps.gateway.cache.recording import OK, Recording
from apps.gateway.errors import KeyReused, MalformedKey
from apps.gateway.hangup import HungUp, Watch
from menhir.errors import Unavailable
from menhir.metering.ledger import ledger
from menhir.metering.process import SILENT_SECONDS
from menhir.postgres import pools, sql
from menhir.postgres.ids import uuid7
from menhir.postgres.line import AWAY
from menhir.postgres.listener import listener

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from apps.gateway.call import Call, Respond
    from apps.gateway.hangup import Gone
    from menhir.tenancy.principal import Principal

CHANNEL: Final = "menhir_idempotent"
HEADER: Final = "Idempotency-Key"
DAY_SECONDS: Final = 24 * 3600.0
LINGER_SECONDS: Final = 10.0
TICK_SECONDS: Final = 5.0
"""After which one who waits looks again: the holder may have died, or a bell been lost."""
MOST_BYTES: Final = 8 * 1024 * 1024
"""A longer answer is sent and not kept."""
MOST_CHARACTERS: Final = 255
FIRST_PAUSE_SECONDS, LAST_PAUSE_SECONDS = 0.1, 5.0
PIECE_BYTES: Final = 64 * 1024
REPLAYED: Final = (b"idempotency-replayed", b"true")
OF_ITS_TIME: Final = frozenset(
    {
        b"openai-processing-ms",
        b"x-menhir-overhead-ms",
        b"x-menhir-attempts",
        b"x-menhir-cost",
        b"retry-after",
    }
)
LEFT: Final = (b"x-ratelimit-", b"anthropic-ratelimit-")
"""What was true of the first answer and is not of its replay, and how the names of what was left of limits begin."""

CLAIM = sql.load(__package__, "claim_key")
FIND = sql.load(__package__, "find_key")
ANSWER = sql.load(__package__, "answer_key")
RELEASE = sql.load(__package__, "release_key")

log = structlog.get_logger(__name__)


class Key(msgspec.Struct, frozen=True):
    """A client's key, as it is looked up, and what it was first used for."""

    tenant_id: UUID
    id: UUID
    fingerprint: bytes


class Claimed(Recording):
    """What the client of a claimed key is sent; kept when its call turns out complete."""

    def __init__(self, key: Key) -> None:
        super().__init__(most_bytes=MOST_BYTES)
        self.key = key
        self.claim = uuid7()
        self.call: Call | None = None
        """Set by whoever makes the call: it knows whether it was completed."""
        self.replays = False
        self.held = False

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Keep a part; before the last one, all of them in the database."""
        if not more and self.held and self._is_worth_it():
            await self._keep(b"".join([*self.parts, data]))
        await super().send(data, more)

    def _is_worth_it(self) -> bool:
        return self.status == OK and self.call is not None and self.call.completed and not self.dropped

    async def _keep(self, body: bytes) -> None:
        if len(body) > MOST_BYTES:
            return
        headers = orjson.dumps([[name.decode("latin-1"), value.decode("latin-1")] for name, value in lasting(self.headers)])
        try:
            async with pools.gateway.connection() as connection:
                await ANSWER.run(
                    connection,
                    tenant_id=self.key.tenant_id,
                    id=self.key.id,
                    claim=self.claim,
                    status=self.status,
                    headers=headers,
                    body=body,
                )
            self.held = False
        except Unavailable:
            # The client has paid for his answer and gets it; asking again would make the call anew.
            log.warning("idempotency.not_kept", key=str(self.key.id))


_flights: dict[UUID, Flight[Claimed]] = {}
_waiting: dict[str, list[asyncio.Event]] = {}
_releasing: set[asyncio.Task[None]] = set()


def key_of(given: bytes, *, who: Principal, path: str, fields: dict[str, Any]) -> Key:
    """Read the header; raise MalformedKey. A key is its API key's, or its person's: another's is another key."""
    if not 0 < len(given) <= MOST_CHARACTERS or not given.isascii() or not given.decode().isprintable():
        raise MalformedKey(f"The header `{HEADER}` takes 1 to {MOST_CHARACTERS} printable ASCII characters.", param=HEADER)
    owner = f"{who.kind}\0{who.id}\0{who.unit or ''}\0".encode()
    place = hashlib.blake2b(who.tenant_id.bytes + owner + given, digest_size=16).digest()
    asked = orjson.dumps([path, fields], option=orjson.OPT_SORT_KEYS)
    return Key(who.tenant_id, UUID(bytes=place), hashlib.blake2b(asked, digest_size=32).digest())


async def once(key: Key, respond: Respond, gone: Gone, make: Callable[[Claimed, Gone], Awaitable[None]]) -> None:
    """Answer with what this key stands for, making the call when nobody has. Raises KeyReused for another body, or what `make` raises.

    `make` sends to the recording it is given, and sets its `call`; `respond` gets what was sent.
    """
    flight = _flights.get(key.id)
    joins = flight is not None and flight.joinable
    if flight is None or not joins:
        flight = _depart(key, make)
    elif flight.recording.key.fingerprint != key.fingerprint:
        raise KeyReused(param=HEADER)
    try:
        await follow(flight, _Client(flight.recording, respond, joins=joins), gone)
    except HungUp:
        return


def _depart(key: Key, make: Callable[[Claimed, Gone], Awaitable[None]]) -> Flight[Claimed]:
    async def fly(recording: Claimed, gone: Gone) -> None:
        try:
            kept = await _claim(recording, gone)
            if kept is not None:
                await _replay(kept, recording)
            else:
                await make(recording, gone)
        finally:
            if recording.held:
                _release(recording)
            if _flights.get(key.id) is flight:
                del _flights[key.id]

    flight = _flights[key.id] = Flight(Claimed(key), fly, linger_seconds=LINGER_SECONDS)
    return flight


async def _claim(recording: Claimed, gone: Gone) -> Any | None:
    """Claim the key, or wait until there is an answer under it, which is given. Raises KeyReused, and HungUp when nobody waits any more."""
    key = recording.key
    with Watch(gone):
        while True:
            with _bell(key.id) as bell:
                row = await _look(recording)
                if recording.held or (row is not None and row.answered):
                    return row
                if row is None:  # given back in this very moment
                    continue
                with suppress(TimeoutError):
                    async with asyncio.timeout(TICK_SECONDS):
                        await bell.wait()


async def _look(recording: Claimed) -> Any | None:
    """Claim the key; when it is not to be had, what is known of it. Raises KeyReused."""
    key = recording.key
    await ledger.registered()
    async with pools.gateway.connection() as connection:
        recording.held = True  # until we know better: cut short from here on, it must be given back
        mine = await CLAIM.one(
            connection,
            tenant_id=key.tenant_id,
            id=key.id,
            fingerprint=key.fingerprint,
            process_id=ledger.process_id,
            claim=recording.claim,
            seconds=DAY_SECONDS,
            silent_seconds=SILENT_SECONDS,
        )
        if mine is not None:
            return None
        recording.held = False
        row = await FIND.one(connection, tenant_id=key.tenant_id, id=key.id)
    if row is not None and bytes(row.fingerprint) != key.fingerprint:
        raise KeyReused(param=HEADER)
    return row


async def _replay(row: Any, recording: Claimed) -> None:
    recording.replays = True
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in orjson.loads(bytes(row.headers))]
    await recording.start(row.status, headers)
    body = bytes(row.body)
    for start in range(0, len(body) - PIECE_BYTES, PIECE_BYTES):
        await recording.send(body[start : start + PIECE_BYTES], True)
    rest = len(body) % PIECE_BYTES or min(len(body), PIECE_BYTES)
    await recording.send(body[len(body) - rest :], False)


class _Client(Follower):
    """One of those who gave the key: told that it is a replay unless the call was made for him."""

    def __init__(self, recording: Claimed, respond: Respond, *, joins: bool) -> None:
        super().__init__(recording, respond)
        self._claimed = recording
        self._joins = joins

    async def start(self) -> None:
        """Send the beginning."""
        headers = self.recording.headers
        if self._joins or self._claimed.replays:
            headers = [*lasting(headers), (b"x-menhir-cost", b"0"), REPLAYED]
        await self.respond.start(self.recording.status, headers)


def lasting(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """The headers that are still true when the answer is sent again.

    >>> lasting([(b"content-type", b"application/json"), (b"x-menhir-cost", b"1"), (b"x-ratelimit-limit-requests", b"9")])
    [(b'content-type', b'application/json')]
    """
    return [(name, value) for name, value in headers if name not in OF_ITS_TIME and not name.startswith(LEFT)]


def _release(recording: Claimed) -> None:
    """Give the key back, now or when the database is there again: held by a living process it would be held for a day."""
    recording.held = False
    task = asyncio.get_running_loop().create_task(_give_back(recording.key, recording.claim), name="idempotency release")
    _releasing.add(task)
    task.add_done_callback(_releasing.discard)


async def _give_back(key: Key, claim: UUID) -> None:
    pause = FIRST_PAUSE_SECONDS
    while True:
        try:
            async with pools.gateway.connection() as connection:
                await RELEASE.run(connection, tenant_id=key.tenant_id, id=key.id, claim=claim)
        except (*AWAY, Unavailable):
            await asyncio.sleep(pause)
            pause = min(pause * 2, LAST_PAUSE_SECONDS)
        else:
            return


async def released(*, within_seconds: float) -> None:
    """Wait until every key that is being given back is; those that are not in time are left to be taken over."""
    await afterwards.over(_releasing, within_seconds=within_seconds)


@contextmanager
def _bell(key: UUID) -> Iterator[asyncio.Event]:
    """Rings when an answer is kept under the key, or the key is given back."""
    name, bell = str(key), asyncio.Event()
    _waiting.setdefault(name, []).append(bell)
    try:
        yield bell
    finally:
        _waiting[name].remove(bell)
        if not _waiting[name]:
            del _waiting[name]


def _rung(payload: str) -> None:
    for bell in _waiting.get(payload, ()):
        bell.set()


def _rung_perhaps() -> None:
    for bells in _waiting.values():
        for bell in bells:
            bell.set()


listener.subscribe(CHANNEL, _rung)
listener.on_reconnect(_rung_perhaps)
