"""The limits of a process: holds for its calls, and the one task that talks to Postgres about them.

A call whose slices suffice never comes here. One that lacks something waits in a line; whatever is lacking, for whomever and of
whatever meter, is asked for in one statement. Where Postgres has nothing left and other processes may have something to spare, it has
rung their bell within that statement; they give back and ring, and it is asked again, for a quarter of a second at most.

Once a second everything spent is reported, and what nobody needs is given back. A process that Postgres has not heard for ten seconds
spends nothing, since after twenty it is taken for dead and what it holds is given to others.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from uuid import UUID
from weakref import WeakSet

import psycopg
import structlog

from menhir.errors import Unavailable
from menhir.metering.ledger import ledger
from menhir.metering.limits import headers
from menhir.metering.limits.asking import asks_of
from menhir.metering.limits.holds import Hold, Part, take
from menhir.metering.limits.leases import Ask, exchange
from menhir.metering.limits.meters import METRICS, Amount, Slice
from menhir.metering.limits.models import KIND
from menhir.metering.limits.rules import Meters, Rule, Rules
from menhir.metering.limits.waiting import Waiter, refusal, serve, some_may_ask
from menhir.postgres import pools, sql
from menhir.postgres.hot import HotCache
from menhir.postgres.line import AWAY, Line
from menhir.postgres.listener import listener
from menhir.telemetry import gauges

CHANNEL = "menhir_limits"
ROUND_SECONDS = 1.0
PATIENCE_SECONDS = 0.25
"""How long a call waits for what other processes can spare."""
AWAY_SECONDS = 2.0
"""How long a call waits for the database."""
HEARD_SECONDS = 10.0
CALLED_SECONDS = 1.0
IDLE_SECONDS = 60.0
RETRY_SECONDS = 0.1
MOST_ASKS = 500
"""In one statement, which locks as many meters."""
LOW = 4
"""A slice below a quarter of its stride is filled up before it is empty."""
LEAST_STRIDE = 8
NOTHING = Decimal(0)

FIND_LIMITS = sql.load("menhir.metering", "find_limits")

Place = tuple[UUID, UUID, str]

log = structlog.get_logger(__name__)


class Limits:
    """One for each process; tests make several."""

    def __init__(
        self,
        process_id: Callable[[], UUID | None],
        *,
        patience_seconds: float = PATIENCE_SECONDS,
        at: Callable[[], datetime | None] = lambda: None,
    ) -> None:
        self._process_id = process_id
        self.patience_seconds = patience_seconds
        self._at = at
        self._rules: HotCache[Rules] = HotCache(KIND)
        self._compiled: WeakSet[Rules] = WeakSet()
        self._slices: dict[Place, Slice] = {}
        self._waiting: list[Waiter] = []
        self._heard = 0.0
        """Until when Postgres takes this process for alive, as far as it knows."""
        self._is_away = False
        self._next_round = 0.0
        self._task: asyncio.Task[None] | None = None
        self._line = Line("gateway")
        self._leave: Callable[[], None] | None = None

    async def start(self) -> None:
        """Begin to talk to Postgres on the running loop. Does nothing when it has."""
        if self._task is not None and not self._task.done() and self._task.get_loop() is asyncio.get_running_loop():
            return
        self._wake = asyncio.Event()
        self._slices.clear()
        self._waiting.clear()
        self._rules.clear()
        self._leave = listener.subscribe(CHANNEL, self._rung)
        self._next_round = time.monotonic() + ROUND_SECONDS
        self._task = asyncio.get_running_loop().create_task(self._attend(), name="limits")

    async def stop(self) -> None:
        """Report everything and give it back. Where the database is away, it is left to the sweeper."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        if self._leave is not None:
            self._leave()
        try:
            async with asyncio.timeout(AWAY_SECONDS):
                await self._give_everything_back()
        except (*AWAY, psycopg.Error) as e:
            log.warning("limits.not_given_back", error=str(e).strip())
        await self._line.close()

    def none_for(self, tenant_id: UUID) -> bool:
        """Whether it is known that a tenant has no limits: what most calls ask, and all that they pay for."""
        known = self._rules.known(tenant_id, None)
        return known is not None and known[1] is None

    async def meters(self, tenant_id: UUID, *, key_id: UUID | None, user: str | None, route: str) -> Meters | None:
        """Give the meters that apply to a caller; None when there are none."""
        if (known := self._rules.known(tenant_id, None)) is not None:
            return None if known[1] is None else known[1].of(key_id, user, route)

        async def load() -> Rules | None:
            async with pools.gateway.connection() as connection:
                rows = await FIND_LIMITS.all(connection, tenant_id=tenant_id)
            if not rows:
                return None
            rules = Rules([Rule.of(tenant_id, row) for row in rows], self._find)
            self._compiled.add(rules)
            return rules

        rules = await self._rules.get(tenant_id, None, load)
        return None if rules is None else rules.of(key_id, user, route)

    async def hold(self, meters: Meters, *, requests: int = 1, tokens: int = 0, slots: int = 1, money: Decimal = NOTHING) -> Hold:
        """Take so much of every meter, or raise and take nothing: RateLimitExceeded, QuotaExceeded, or Unavailable without a database."""
        amounts = (requests, tokens, slots, money)
        parts: list[Part] = [(piece, amounts[piece.kind]) for piece in meters.slices]
        now = time.monotonic()
        if now < self._heard:
            hold = take(parts, now)
            if hold is not None:
                for piece in meters.slices:
                    if LEAST_STRIDE <= piece.stride < piece.room and piece.free * LOW < piece.stride and not piece.news:
                        piece.news = True
                        self._wake.set()
                return hold
        for piece, amount in parts:
            if piece.refuses(amount, now):
                raise refusal(meters, piece, amount, now)
        return await self._wait(meters, parts, now)

    def headers(self, meters: Meters) -> headers.Headers:
        """Give what the caller is told of what is left."""
        return headers.of(meters.slices, time.monotonic())

    def levels(self) -> list[tuple[str, Amount, Amount]]:
        """Give metric, free and busy of each slice, for whoever measures this process, from whatever thread."""
        return [(METRICS[piece.kind], piece.free, piece.busy) for piece in tuple(self._slices.values())]

    @property
    def waiting(self) -> int:
        """How many calls lack something at this moment."""
        return len(self._waiting)

    async def _wait(self, meters: Meters, parts: list[Part], now: float) -> Hold:
        if self._task is None or self._task.done():
            raise Unavailable("This process does not keep limits: it has not started.")
        waiter = Waiter(meters, parts, now, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        for piece, _amount in parts:
            piece.news = True
            piece.used_at = now
        self._wake.set()
        try:
            async with asyncio.timeout(AWAY_SECONDS + self.patience_seconds):
                return await waiter.answer
        except BaseException as e:
            answer = waiter.answer
            if not answer.done():
                answer.cancel()
            elif not answer.cancelled() and answer.exception() is None:
                answer.result().release()  # given at the very moment in which the caller left
            if isinstance(e, TimeoutError):
                raise Unavailable("The limits cannot be asked at the moment. Try again shortly.") from e
            raise

    async def _attend(self) -> None:
        while True:
            await self._news()
            self._wake.clear()
            now = time.monotonic()
            self._waiting = serve(self._waiting, now, heard=self._heard)
            is_round = now >= self._next_round
            asks = asks_of(self._waiting, self._slices.values(), now, patience_seconds=self.patience_seconds, is_round=is_round)
            if is_round:
                self._next_round = now + ROUND_SECONDS
                self._let_go(now)
            try:
                await self._talk(asks, is_round=is_round)
            except (*AWAY, psycopg.Error) as e:
                if not self._is_away:
                    log.warning("limits.unheard", error=str(e).strip())
                self._is_away = True
                await self._again(asks)
            except Exception:  # whatever it is: without this task nobody who has a limit is served any more
                log.exception("limits.failed")
                await self._again(asks)
            now = time.monotonic()
            self._waiting = serve(self._waiting, now, heard=self._heard)
            if self._waiting and (now >= self._heard or some_may_ask(self._waiting, now)):
                self._wake.set()

    async def _again(self, asks: list[Ask]) -> None:
        for ask in asks:
            ask.piece.news = True
            ask.piece.answers |= ask.answers
        await asyncio.sleep(RETRY_SECONDS)

    async def _news(self) -> None:
        """Wait until somebody lacks something or calls, until a waiter's patience ends, or until the next round."""
        due = self._next_round
        for waiter in self._waiting:
            due = min(due, waiter.since + self.patience_seconds)
        try:
            async with asyncio.timeout(max(0.0, due - time.monotonic())):
                await self._wake.wait()
        except TimeoutError:
            return

    async def _talk(self, asks: list[Ask], *, is_round: bool) -> None:
        """Exchange; in a round even when there is nothing to say, as long as this process holds anything."""
        process_id = self._process_id()
        if process_id is None:
            raise psycopg.OperationalError("this process is not registered")
        is_unheard = bool(self._waiting) and time.monotonic() >= self._heard
        if not asks and not is_unheard and not (is_round and self._slices):
            return
        for start in range(0, max(1, len(asks)), MOST_ASKS):
            now = time.monotonic()
            async with asyncio.timeout(AWAY_SECONDS):
                gone, reached = await exchange(self._line, asks[start : start + MOST_ASKS], process_id=process_id, now=now, at=self._at())
            self._heard = now + HEARD_SECONDS
            self._is_away = False
            for piece in gone:
                self._slices.pop((piece.tenant_id, piece.limit_id, piece.subject), None)
                self._rules.evict(piece.tenant_id)
            for waiter in self._waiting if gone else ():
                waiter.parts = [(piece, amount) for piece, amount in waiter.parts if piece not in gone]
            for limit in reached:
                log.warning("limit.reached", **limit.said())

    def _let_go(self, now: float) -> None:
        """Forget slices that nobody has used for a minute: users come and go."""
        idle = [
            place
            for place, piece in self._slices.items()
            if not piece.free
            and not piece.busy
            and piece.total == piece.said
            and now - piece.used_at > IDLE_SECONDS
            and now > piece.left_until
        ]
        for place in idle:
            del self._slices[place]
        if idle:
            for rules in self._compiled:
                rules.forget()

    async def _give_everything_back(self) -> None:
        asks = []
        for piece in self._slices.values():
            if piece.turn is None:
                continue
            if piece.free > 0:
                piece.give_back(piece.free)
            asks.append(Ask(piece, piece.zero, piece.zero, piece.zero, answers=True))
        if asks:
            await self._talk(asks, is_round=False)
        self._slices.clear()

    def _find(self, rule: Rule, subject: str) -> Slice:
        place = (rule.tenant_id, rule.id, subject)
        piece = self._slices.get(place)
        if piece is None:
            piece = self._slices[place] = Slice(rule.tenant_id, rule.id, subject, kind=rule.kind, period=rule.period, amount=rule.amount)
        elif piece.amount != rule.amount:
            piece.amount, piece.left_until = rule.amount, 0.0
        return piece

    def _rung(self, payload: str) -> None:
        """Another process is short of something (`recall`), or has given something back (`back`)."""
        kind, process_id, tenant_id, limit_id, subject = payload.split(" ", 4)
        if process_id == str(self._process_id()):
            return
        piece = self._slices.get((UUID(tenant_id), UUID(limit_id), subject))
        if piece is None or piece.turn is None:
            return
        if kind == "recall":
            piece.answers = True
            piece.called = time.monotonic() + CALLED_SECONDS
        else:
            piece.left_until = 0.0
            piece.news = any(piece is waited for waiter in self._waiting for waited, _amount in waiter.parts)
        if piece.answers or piece.news:
            self._wake.set()


limits = Limits(lambda: ledger.process_id)
"""The limits of this process. Wiring starts and stops it, after the ledger and before it."""

gauges.register("menhir_limit_waiting_calls", "Calls that wait for a slice of a limit.", lambda: limits.waiting)
