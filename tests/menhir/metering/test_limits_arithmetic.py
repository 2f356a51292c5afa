"""The arithmetic of leases, by properties: whatever happens in whatever order, nothing is made and nothing is lost."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from menhir.metering.limits import leases
from menhir.metering.limits.asking import asks_of
from menhir.metering.limits.holds import take
from menhir.metering.limits.leases import Ask
from menhir.metering.limits.meters import MONEY, PARALLEL, REQUESTS, TOKENS, Granted, Slice
from menhir.postgres.ids import uuid7
from menhir.postgres.line import Line

KINDS = st.sampled_from([REQUESTS, TOKENS, PARALLEL, MONEY])
TENANT, LIMIT = uuid7(), uuid7()


def a_slice(kind, amount=1_000):
    return Slice(TENANT, LIMIT, "", kind=kind, period="minute", amount=Decimal(amount) if kind == MONEY else amount)


def given_out(piece, granted, *, room=0, others=0, pending=0, state="given"):
    return Granted(
        state=state, turn=1, epoch=0, told=piece.zero, granted=granted, amount=piece.amount, room=room, others=others, pending=pending, seconds=60.0
    )  # fmt: skip


def money(cents):
    return Decimal(cents) / 100


@given(
    kinds=st.lists(KINDS, min_size=1, max_size=4),
    stock=st.integers(0, 50),
    calls=st.lists(st.tuples(st.integers(0, 20), st.integers(0, 30), st.sampled_from(["settle", "release", "keep"])), max_size=30),
)
def test_what_a_process_was_given_is_always_free_busy_or_spent(kinds, stock, calls):
    pieces = [a_slice(kind) for kind in kinds]
    stocks = {piece: money(stock) if piece.kind == MONEY else stock for piece in pieces}
    for piece in pieces:
        piece.take_in(given_out(piece, stocks[piece]), need=stocks[piece], least=piece.zero, debt=piece.zero, asked=0.0, final=False)
    wanted = {TOKENS: lambda n: n, MONEY: money, REQUESTS: lambda _n: 1, PARALLEL: lambda _n: 1}
    kept = []
    for held, used, end in calls:
        before = [(piece.free, piece.busy, piece.total) for piece in pieces]
        hold = take([(piece, wanted[piece.kind](held)) for piece in pieces], 1.0)
        if hold is None:
            assert [(piece.free, piece.busy, piece.total) for piece in pieces] == before
        elif end == "settle":
            hold.settle(tokens=used, cost=money(used))
            hold.release()
        elif end == "release":
            hold.release()
            hold.settle(tokens=used, cost=money(used))
            assert [(piece.free, piece.busy, piece.total) for piece in pieces] == before
        else:
            kept.append(hold)
        for piece in pieces:
            assert piece.free + piece.busy + piece.total == stocks[piece]
            assert piece.busy >= 0
            assert piece.total >= 0
    for hold in kept:
        hold.release()
    assert all(piece.busy == 0 for piece in pieces)


@given(
    amount=st.integers(0, 100),
    shares=st.integers(1, 5),
    used=st.lists(st.integers(0, 40), min_size=5, max_size=5),
    branches=st.integers(0, 5),
)
def test_a_split_hold_is_the_sum_of_its_shares(amount, shares, used, branches):
    pieces = [a_slice(TOKENS), a_slice(MONEY), a_slice(PARALLEL), a_slice(REQUESTS)]
    for piece in pieces:
        piece.take_in(given_out(piece, piece.amount), need=piece.amount, least=piece.zero, debt=piece.zero, asked=0.0, final=False)
    hold = take([(pieces[0], amount), (pieces[1], money(amount) / 7), (pieces[2], 1), (pieces[3], 1)], 1.0)
    hold.split(shares)
    legs = [hold.branch() for _ in range(branches)]
    hold.settle(tokens=used[0], cost=money(used[0]))
    for leg, tokens in zip(legs, used[1:], strict=False):
        leg.settle(tokens=tokens, cost=money(tokens))
    for leg in legs:
        leg.release()
    spent = used[0] + sum(used[1 : 1 + branches])
    assert [piece.total for piece in pieces] == [spent, money(spent), 0, 1]
    assert [piece.busy for piece in pieces] == [0, 0, 0, 0]
    assert [piece.free for piece in pieces] == [1_000 - spent, 1_000 - money(spent), 1_000, 999]


@given(kind=KINDS, free=st.integers(-20, 100), needed=st.integers(0, 50), taken=st.integers(0, 50), called=st.booleans())
def test_no_more_is_given_back_than_nobody_needs(kind, free, needed, taken, called):
    piece = a_slice(kind)
    piece.free, piece.taken, piece.answers = free, taken, called
    surplus = piece.surplus(needed, 1.0)
    assert surplus >= 0
    assert surplus == 0 or free - surplus >= needed
    if called:
        assert surplus == max(0, free - needed)


@given(kind=KINDS, short=st.integers(1, 2_000), free=st.integers(-10, 50), room=st.integers(-5, 50), others=st.integers(0, 5))
def test_a_refusal_is_remembered_no_longer_than_it_is_true(kind, short, free, room, others):
    piece = a_slice(kind)
    piece.free, amount = free, max(0, free) + short
    need = amount - free
    piece.turn = 1
    piece.take_in(given_out(piece, 0, room=room, others=others), need=need, least=need, debt=0, asked=10.0, final=False)
    known = piece.refuses(amount, 10.05)
    assert known == (amount > 1_000 or amount - max(piece.free, 0) > room)
    if others and amount <= 1_000:
        assert not piece.refuses(amount, 10.2)
    piece.give_back(0)
    assert piece.refuses(amount, 10.05) == (amount > 1_000)


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["ask", "use", "use", "more", "back", "lose", "round"]), st.integers(1, 12)), max_size=25
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from([("requests", "minute"), ("tokens", "hour"), ("money", "day")]), amount=st.integers(1, 40), steps=STEPS)
def test_three_processes_and_postgres_agree_on_every_unit(tenants, look, kind, amount, steps):
    """Whoever asks, spends, gives back, or loses an answer on its way: what was spent and what is held is never more than the limit."""
    made = tenants(*kind, amount)
    asyncio.run(_play(made, look, steps))


async def _play(made, look, steps):
    play = Play(made, look)
    for number, step, units in steps:
        await play.step(number, step, units)
        play.agrees()
    await play.end()


class Play:
    """Three processes, played by hand: each its slice, and what it tells Postgres when."""

    def __init__(self, made, look):
        self.made, self.look = made, look
        self.kind = {"requests": REQUESTS, "tokens": TOKENS, "money": MONEY}[made.metric]
        self.amount = made.amount if self.kind == MONEY else int(made.amount)
        piece = {"kind": self.kind, "period": made.period, "amount": self.amount}
        self.processes = [(uuid7(), Slice(made.tenant_id, made.id, "", **piece)) for _ in range(3)]
        self.line = Line("gateway")
        self.used = self.debts = 0

    async def step(self, number, step, units):
        process_id, piece = self.processes[number]
        size = Decimal(units) if self.kind == MONEY else units
        if step in {"ask", "lose"}:
            state = [getattr(piece, name) for name in piece.__slots__]
            need = max(piece.zero, size - piece.free)
            await self.say(number, need=need, least=need, want=piece.want(need, 1.0), final=True)
            if step == "lose":  # the statement was done, and its answer never came
                for name, value in zip(piece.__slots__, state, strict=True):
                    setattr(piece, name, value)
        elif step == "back":
            piece.give_back(max(piece.zero, piece.free))
            await self.say(number)
        elif step == "round":
            asks = asks_of([], [piece], 1.0, patience_seconds=1.0, is_round=True)
            await leases.exchange(self.line, asks, process_id=process_id, now=1.0)
        else:
            self.spend(piece, size, units, more=3 if step == "more" and self.kind != REQUESTS else 0)

    def spend(self, piece, size, units, *, more):
        hold = take([(piece, 1 if self.kind == REQUESTS else size)], 1.0)
        if hold is not None:
            hold.settle(tokens=units + more, cost=Decimal(units + more))
            self.used += 1 if self.kind == REQUESTS else units + more
            self.debts += more

    async def say(self, number, **ask):
        process_id, piece = self.processes[number]
        asks = [Ask(piece, **{"need": piece.zero, "least": piece.zero, "want": piece.zero, **ask})]
        await leases.exchange(self.line, asks, process_id=process_id, now=1.0)

    def agrees(self):
        assert self.used <= self.amount + self.debts
        for spent, leased in self.look("SELECT spent, leased FROM metering_meter WHERE limit_id = %s", self.made.id):
            assert spent + leased <= self.amount + self.debts
            assert (
                self.look("SELECT coalesce(sum(held), 0) AS held FROM metering_lease WHERE limit_id = %s", self.made.id)[0].held == leased
            )

    async def end(self):
        for number, (_process_id, piece) in enumerate(self.processes):
            if piece.turn is not None:
                piece.give_back(max(piece.zero, piece.free))
                await self.say(number)
        assert sum(row.spent for row in self.look("SELECT spent FROM metering_meter WHERE limit_id = %s", self.made.id)) == self.used
        self.look("DELETE FROM metering_process WHERE id = ANY(%s)", [process_id for process_id, _piece in self.processes])
        await self.line.close()
