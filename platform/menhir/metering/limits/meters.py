"""A slice of a meter and its arithmetic: what a process may spend without asking, what it asks for, and what it gives back.

Amounts are whole numbers (requests, tokens, slots) or exact decimals of USD, never mixed. `now` is `time.monotonic()` by the door.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal
from uuid import UUID

Metric = Literal["requests", "tokens", "parallel", "money"]
Amount = int | Decimal

REQUESTS, TOKENS, PARALLEL, MONEY = range(4)
METRICS: tuple[Metric, ...] = ("requests", "tokens", "parallel", "money")
AGAIN_SECONDS = 1.0
"""Who asks again within this time is busy, and gets twice as much."""
NOT_AGAIN_SECONDS = 0.1
"""How long a refusal stands while other processes may still give something back."""
NO_LESS: dict[int, Amount] = {REQUESTS: 0, TOKENS: 0, PARALLEL: 0, MONEY: Decimal(0)}


@dataclass(frozen=True, slots=True)
class Granted:
    """What Postgres said to one ask."""

    state: Literal["given", "lost", "over", "gone"]
    turn: int
    epoch: int
    told: Amount
    granted: Amount
    amount: Amount
    room: Amount
    """What nobody has taken yet."""
    others: Amount
    """What other processes hold, unspent or in use."""
    pending: int
    """How many of them have not yet said whether they can spare it."""
    seconds: float | None
    """Until the window ends; None when it never does."""


class Slice:
    """What this process holds of one meter.

    `free` may be spent; `busy` is held by calls under way; `total` was spent in this window by this process. What it holds is at all times
    `free + busy`. `free` is negative after a call that used more than it held: the next exchange covers that.
    """

    __slots__ = (
        "amount",
        "answers",
        "asked_at",
        "busy",
        "called",
        "ends",
        "epoch",
        "free",
        "generation",
        "kind",
        "left",
        "left_until",
        "limit_id",
        "news",
        "period",
        "room",
        "said",
        "since",
        "stride",
        "subject",
        "taken",
        "tenant_id",
        "total",
        "turn",
        "used_at",
        "zero",
    )

    def __init__(self, tenant_id: UUID, limit_id: UUID, subject: str, *, kind: int, period: str, amount: Amount) -> None:
        self.tenant_id, self.limit_id, self.subject, self.kind, self.period, self.amount = (
            tenant_id,
            limit_id,
            subject,
            kind,
            period,
            amount,
        )
        self.zero = NO_LESS[kind]
        self.generation = 0
        self.room: Amount = amount
        self.stride: Amount = self.zero
        self.asked_at = self.used_at = 0.0
        self.said: Amount = self.zero
        """What was reported last."""
        self.answers = False
        """Another process has asked for what can be spared."""
        self.called = 0.0
        """Until when others are known to be short: nothing is kept in store."""
        self._begin()

    def _begin(self) -> None:
        self.turn: int | None = None
        self.epoch = 0
        self.free: Amount = self.zero
        self.busy: Amount = self.zero
        self.total: Amount = self.zero
        self.taken: Amount = self.zero
        self.ends = 0.0
        self.left: Amount = self.zero
        self.left_until = 0.0
        self.since: str | None = None
        self.news = False

    def forget(self) -> None:
        """Start over: the window has ended, or the lease is gone. Holds from before are about nothing now."""
        self.generation += 1
        self._begin()

    def spare(self, now: float) -> Amount:
        """What a call may take here and now."""
        return self.free if now < self.ends else self.zero

    def refuses(self, amount: Amount, now: float) -> bool:
        """Whether it is known that nobody can give so much: no need to ask."""
        return amount > self.amount or (now < self.left_until and amount - max(self.spare(now), self.zero) > self.left)

    def want(self, need: Amount, now: float) -> Amount:
        """What to ask for when `need` is needed at once: twice as much as last time while one comes back within a second."""
        if now < self.called:
            return need
        busy = now - self.asked_at < AGAIN_SECONDS
        half = self.stride / 2 if isinstance(self.stride, Decimal) else self.stride // 2
        self.stride = max(need, self.stride * 2 if busy else half)
        self.asked_at = now
        return self.stride

    def surplus(self, needed: Amount, now: float) -> Amount:
        """What can be given back: all beyond what waits when somebody calls or nothing was taken lately, else what is more than enough."""
        kept = needed if self.answers or now < self.called else max(needed, 2 * self.taken)
        return max(self.zero, self.free - kept)

    def give_back(self, surplus: Amount) -> None:
        """Let go of it. What is held is told absolutely: should the word be lost, the next one says the same."""
        self.free -= surplus
        self.left_until = 0.0

    @property
    def keep(self) -> Amount:
        """What this process holds on to."""
        return max(self.zero, self.free + self.busy)

    @property
    def debt(self) -> Amount:
        """What was spent beyond all that was held. Postgres books it as spent, as soon as it is told."""
        return max(self.zero, -(self.free + self.busy)) if self.turn is not None else self.zero

    def take_in(self, said: Granted, *, need: Amount, least: Amount, debt: Amount, asked: float, final: bool) -> None:
        """Learn what Postgres said to an ask made at `asked`; `final` when no more patience is left for other processes."""
        self.amount = said.amount
        if said.state == "over":
            self.forget()
            return
        if (said.turn, said.epoch) != (self.turn, self.epoch):
            # Used before it had a lease: of the new one, but for what a lease that is lost has counted already.
            early = (self.free, self.busy, self.total) if self.turn is None and said.state == "given" else (self.zero, self.zero, self.zero)
            if self.turn is not None:
                self.forget()
            self.turn, self.epoch = said.turn, said.epoch
            self.free, self.busy, self.total = early[0], early[1], said.told + early[2]
        else:
            self.free += debt
        self.free += said.granted
        self.room = said.room
        self.ends = math.inf if said.seconds is None else asked + said.seconds
        if not need or said.state == "lost":
            return
        if said.granted >= least:
            self.since, self.left_until = None, 0.0
        elif not said.pending or final:
            self.since = None
            self.left = said.room
            # Nobody else holds any more of it: so it stays until the window ends, or this process itself gives back.
            for_good = not said.pending and not said.others
            self.left_until = self.ends if for_good else min(self.ends, asked + NOT_AGAIN_SECONDS)
