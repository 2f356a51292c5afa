"""Calls that lack something: who may go on, who will get nothing, and who has to wait for others."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import msgspec

from menhir.errors import LimitReached
from menhir.metering.limits import headers
from menhir.metering.limits.holds import Hold, Part, take
from menhir.metering.limits.meters import Amount, Slice
from menhir.metering.limits.rules import Meters


class Waiter(msgspec.Struct, eq=False):
    """A call that lacks something."""

    meters: Meters
    parts: list[Part]
    since: float
    answer: asyncio.Future[Hold]


def serve(waiting: Sequence[Waiter], now: float, *, heard: float) -> list[Waiter]:
    """Let everybody go who has what he needs, or of whom it is known that he will not get it; gives those who are left.

    Nothing is given after `heard`: by then this process may have been taken for dead, and what it holds given to others.
    """
    left: list[Waiter] = []
    for waiter in waiting:
        if waiter.answer.done():
            continue
        hold = take(waiter.parts, now) if now < heard else None
        if hold is not None:
            waiter.answer.set_result(hold)
            continue
        short = next(((piece, amount) for piece, amount in waiter.parts if piece.refuses(amount, now)), None)
        if short is None:
            left.append(waiter)
        else:
            waiter.answer.set_exception(refusal(waiter.meters, *short, now))
    return left


def some_may_ask(waiting: Sequence[Waiter], now: float) -> bool:
    """Whether somebody lacks something of which no other process has been asked: another has got it before him."""
    short = (piece for waiter in waiting for piece, amount in waiter.parts if amount > piece.spare(now))
    return any(piece.since is None for piece in short)


def refusal(meters: Meters, short: Slice, amount: Amount, now: float) -> LimitReached:
    """Give the error for a caller who lacks this."""
    return headers.refusal(meters.slices, short, amount, meters.whose[meters.slices.index(short)], now)
