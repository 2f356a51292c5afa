"""The walk through the caches: what is kept, what is under way, what means the same; only then is a model asked.

It is entered for a route that keeps answers, and for no other. Whatever is found is answered from without waiting for the database: no
upstream was asked and no money moved, so its row in the ledger may come a moment later.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Protocol

import msgspec
import orjson

from apps.gateway import afterwards
from apps.gateway.cache import exact, semantic
from apps.gateway.cache.flight import Flight, Follower, follow
from apps.gateway.cache.key import key_of
from apps.gateway.cache.recording import OK, ChatRecording, events_of
from apps.gateway.errors import UpstreamBusy, UpstreamDown, UpstreamError
from apps.gateway.hangup import HungUp
from apps.gateway.holding import user_of
from apps.gateway.measuring import measure
from apps.gateway.settle import HUNG_UP_STATUS, Tally, open_call, settle
from apps.gateway.sse import data_of
from apps.gateway.wire import DONE_EVENT, loaded, preface_event, read_chunk
from menhir.errors import MenhirError, status_of
from menhir.metering.entries import NO_USAGE
from menhir.metering.ledger import Note, ledger

if TYPE_CHECKING:
    from apps.gateway.cache.recording import Kept
    from apps.gateway.cache.semantic import Meaning
    from apps.gateway.call import Call, ResolvedRoute, Respond
    from apps.gateway.hangup import Gone
    from apps.gateway.relay import Headers
    from apps.gateway.settle import Outcome

PIECE_BYTES: Final = 64 * 1024
STALE: Final = (b"warning", b'110 - "Response is Stale"')
OURS_ALONE: Final = frozenset({b"content-length", b"x-menhir-cache"})

_flights: dict[bytes, Flight[ChatRecording]] = {}


class Walk(Protocol):
    """What is done for a call that no cache answers."""

    async def __call__(self, call: Call, route: ResolvedRoute, respond: Respond, gone: Gone) -> None:
        """Ask a model."""


async def answer(call: Call, route: ResolvedRoute, respond: Respond, gone: Gone, walk: Walk) -> None:
    """Answer a call of a route that keeps answers; raises what `walk` raises."""
    control = call.cache_control.lower() if call.cache_control is not None else b""
    # Who has the provider store the answer wants that done, each time.
    if b"no-store" in control or call.body.get("store"):
        await walk(call, route, respond, gone)
        return
    key = key_of(call, route)
    reads = b"no-cache" not in control
    meaning: Meaning | None = None
    if reads:
        if (kept := await exact.find(call.principal.tenant_id, key, seconds=route.cache_seconds)) is not None:
            call.kept = kept
            await tell(call, route, kept, respond, how=b"hit")
            return
        if route.semantic_threshold is not None and key not in _flights:
            meaning = await semantic.meaning_of(call, route)
            if meaning is not None:
                near = await semantic.find(call, meaning, threshold=route.semantic_threshold, seconds=route.cache_seconds)
                if near is not None:
                    await tell(call, route, near, respond, how=b"semantic")
                    return
    await _fly(call, route, key, respond, gone, walk, reads=reads, meaning=meaning)


async def _fly(
    call: Call, route: ResolvedRoute, key: bytes, respond: Respond, gone: Gone, walk: Walk, *, reads: bool, meaning: Meaning | None
) -> None:
    flight = _flights.get(key) if reads else None
    joins = flight is not None and flight.joinable
    if flight is None or not joins:
        flight = _depart(call, route, key, walk, meaning)
    client = _Client(call, route, flight.recording, respond, joins=joins)
    try:
        await follow(flight, client, gone)
    except HungUp:
        client.broke("cancelled", HUNG_UP_STATUS, "client_hung_up")
        return
    except MenhirError as error:
        if client.started:
            client.broke("failed", status_of(error), error.code)
            raise
        if isinstance(error, UpstreamBusy | UpstreamDown) and route.stale_seconds:
            stale = await exact.find(call.principal.tenant_id, key, seconds=route.cache_seconds + route.stale_seconds)
            if stale is not None:
                await tell(call, route, stale, respond, how=b"stale", noted=joins)
                return
        if not joins or isinstance(error, UpstreamError):
            raise
        # A limit, a budget: what stopped the first need not stop this one.
        await walk(call, route, respond, gone)


def _depart(call: Call, route: ResolvedRoute, key: bytes, walk: Walk, meaning: Meaning | None) -> Flight[ChatRecording]:
    """Begin the call, as nobody's in particular: each follower gets the preface and the usage that are his."""
    shared: Call = msgspec.structs.replace(call, preface=None, wants_usage=True)

    async def fly(recording: ChatRecording, gone: Gone) -> None:
        recording.call = shared
        try:
            await walk(shared, route, recording, gone)
            if (
                shared.completed
                and (kept := recording.keep(_header(recording.headers, b"x-menhir-upstream").decode("latin-1"))) is not None
            ):
                exact.keep(shared, route, key, kept, meaning=meaning)
        finally:
            if _flights.get(key) is flight:
                del _flights[key]

    flight = Flight(ChatRecording(), fly)
    _flights[key] = flight
    return flight


class _Client(Follower):
    """One of those who follow a call: the first is told what it cost, the others that it cost them nothing."""

    def __init__(self, call: Call, route: ResolvedRoute, recording: ChatRecording, respond: Respond, *, joins: bool) -> None:
        super().__init__(recording, respond)
        self.started = False
        self._call = call
        self._route = route
        self._joins = joins
        self._recording = recording
        self._prefaced = call.preface is None
        self._unwritten = False
        """The ledger is yet to be told how it went: only of those who joined, and were promised an answer."""

    async def start(self) -> None:
        """Send the beginning; of a whole answer only once its length is known."""
        if self.recording.stream:
            await self._begin([])

    async def part(self, data: bytes, *, more: bool) -> None:
        """Send a part, with what is this client's own."""
        if not self.recording.stream:
            data = _prefaced_body(self._call, data)
            await self._begin([(b"content-length", b"%d" % len(data))])
        else:
            if not self._prefaced and data:
                self._prefaced = True
                data = _preface_before(self._call, data) + data
            if not more and self._call.wants_usage:
                data = self._recording.usage + data
        if not more:
            self._over()
        if data or not more:
            await self.respond.send(data, more)

    def _over(self) -> None:
        """Everything is here, or an error that says why it is not."""
        self._call.completed = self._recording.completed
        if not self._recording.completed:
            self.broke("failed", OK, self._recording.call.error_code if self._recording.call is not None else None)
        elif self._unwritten:
            self._unwritten = False
            note(self._call, self._route)

    def broke(self, outcome: Outcome, status: int, error_code: str | None) -> None:
        """Have the ledger told of one who joined and did not get everything."""
        if self._unwritten:
            self._unwritten = False
            afterwards.begin(_write(self._call, self._route, outcome, status, error_code), name="a torn answer that was shared")

    async def _begin(self, more: Headers) -> None:
        self.started = True
        if self._joins:
            self._unwritten = self.recording.status == OK
            provider = _header(self.recording.headers, b"x-menhir-upstream")
            headers = told_headers(self._call, self._route, provider, how=b"hit", stream=self.recording.stream)
        else:
            headers = [pair for pair in self.recording.headers if pair[0] not in OURS_ALONE]
            headers.append((b"x-menhir-cache", b"miss"))
        await self.respond.start(self.recording.status, [*headers, *more])


async def _write(call: Call, route: ResolvedRoute, outcome: Outcome, status: int, error_code: str | None) -> None:
    await open_call(call, route)
    await settle(call, Tally(), outcome=outcome, status=status, error_code=error_code, provider="cache")


async def tell(call: Call, route: ResolvedRoute, kept: Kept, respond: Respond, *, how: bytes, noted: bool = True) -> None:
    """Answer with what is kept. With `noted`, the ledger is told that a call was answered without an upstream."""
    headers = told_headers(call, route, kept.provider.encode("latin-1", "replace"), how=how, stream=kept.stream)
    headers.append((b"age", b"%d" % max(0, time.time() - kept.created)))
    if how == b"stale":
        headers.append(STALE)
    if noted:
        note(call, route)
    call.completed = True
    try:
        if not kept.stream:
            body = _prefaced_body(call, kept.body)
            headers.append((b"content-length", b"%d" % len(body)))
            await respond.start(OK, headers)
            await respond.send(body, False)
            return
        await respond.start(OK, headers)
        if call.preface is not None:
            await respond.send(_preface_before(call, kept.body), True)
        last = (kept.usage if call.wants_usage else b"") + DONE_EVENT
        if len(kept.body) <= PIECE_BYTES:
            await respond.send(kept.body + last, False)
            return
        for start in range(0, len(kept.body), PIECE_BYTES):
            await respond.send(kept.body[start : start + PIECE_BYTES], True)
        await respond.send(last, False)
    except OSError:
        return


def told_headers(call: Call, route: ResolvedRoute, provider: bytes, *, how: bytes, stream: bool) -> Headers:
    """The headers of an answer that no upstream was asked for: whose words they are, and that they cost nothing now."""
    elapsed = time.perf_counter() - call.received
    headers: Headers = list(STREAM_HEADERS) if stream else [(b"content-type", b"application/json")]
    headers += [
        (b"x-menhir-route", route.name.encode("latin-1", "replace")),
        (b"x-menhir-upstream", provider),
        (b"x-menhir-attempts", b"0"),
        (b"x-menhir-cost", b"0"),
        (b"openai-processing-ms", b"%d" % (elapsed * 1000)),
        (b"x-menhir-overhead-ms", b"%.2f" % (elapsed * 1000)),
        (b"x-menhir-cache", how),
    ]
    if call.prompt_version is not None:
        headers.append((b"x-menhir-prompt-version", call.prompt_version.encode("latin-1", "replace")))
    return headers


def note(call: Call, route: ResolvedRoute) -> None:
    """Tell the ledger, and whoever measures, of a call that was answered without an upstream."""
    measure(call, Tally(), NO_USAGE, outcome="completed", status=OK, error_code=None, provider="cache")
    who = call.principal
    ledger.note(
        Note(
            tenant_id=who.tenant_id,
            call_id=call.id,
            opened_at=call.opened_at,
            settled_at=datetime.now(UTC),
            operation=call.operation,
            model=call.model,
            route=route.name,
            api_key_id=who.key_id,
            user_id=who.user_id,
            assistant_id=call.assistant_id,
            prompt_version_id=call.prompt_version_id,
            stream=call.stream,
            upstream_model=route.targets[0].upstream_model,
            latency_ms=int((time.perf_counter() - call.received) * 1000),
            unit=user_of(call),
        )
    )


STREAM_HEADERS: Final = (
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
)


def _prefaced_body(call: Call, body: bytes) -> bytes:
    return body if call.preface is None else orjson.dumps({**loaded(body), "menhir": call.preface})


def _preface_before(call: Call, data: bytes) -> bytes:
    """The event that carries a call's preface, in the name of the answer whose first events these are."""
    said = next(filter(None, map(data_of, events_of(data))), None)
    if call.preface is None or said is None:
        return b""
    try:
        return preface_event(read_chunk(said), call.preface)
    except ValueError:  # the stream broke before it said anything
        return b""


def _header(headers: Headers, name: bytes) -> bytes:
    return next((value for key, value in headers if key == name), b"")
