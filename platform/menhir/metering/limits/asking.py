"""What a process has to say to Postgres at this moment: for whoever waits, for other processes that are short, and once a second."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from menhir.metering.limits.leases import Ask
from menhir.metering.limits.meters import Amount, Slice
from menhir.metering.limits.waiting import Waiter


def asks_of(waiting: Sequence[Waiter], slices: Collection[Slice], now: float, *, patience_seconds: float, is_round: bool) -> list[Ask]:
    """Give what is to be said, a line for each slice; in a round of every slice that has changed."""
    wanted: dict[Slice, list[Amount]] = {}
    since: dict[Slice, float] = {}
    for waiter in waiting:
        for piece, amount in waiter.parts:
            wanted.setdefault(piece, []).append(amount)
            since[piece] = min(since.get(piece, waiter.since), waiter.since)
    others = [piece for piece in slices if (is_round or piece.news or piece.answers) and piece not in wanted]
    asks = []
    for piece in (*wanted, *others):
        is_late = piece in since and now >= since[piece] + patience_seconds
        ask = _ask(piece, wanted.get(piece, ()), now, is_round=is_round, is_late=is_late)
        if ask is not None:
            asks.append(ask)
    return asks


def _ask(piece: Slice, amounts: Sequence[Amount], now: float, *, is_round: bool, is_late: bool) -> Ask | None:
    is_over = piece.turn is not None and now >= piece.ends
    needed = sum(amounts, piece.zero)
    surplus = _surplus(piece, needed, now, is_round=is_round, is_over=is_over)
    if surplus > 0:
        piece.give_back(surplus)
    free = piece.free + piece.debt
    need = max(piece.zero, needed - free) if needed else piece.zero
    least = max(piece.zero, min((amount for amount in amounts if amount), default=piece.zero) - free)
    waits = need > 0 and (piece.since is None or piece.news or is_late)
    fills = not amounts and piece.news and piece.turn is not None and not is_over
    answers, piece.answers, piece.news = piece.answers, False, False
    changed = piece.turn is not None and (piece.total != piece.said or surplus > 0)
    if is_round:
        piece.taken = piece.zero
    if not (waits or fills or answers or (is_round and changed)):
        return None
    want = piece.want(need, now) if waits or fills else piece.zero
    if not waits:
        need = least = piece.zero
    return Ask(piece, need, least, want, is_over=is_over, answers=answers, final=is_late)


def _surplus(piece: Slice, needed: Amount, now: float, *, is_round: bool, is_over: bool) -> Amount:
    if is_over:  # what is left of a window that has ended is worth nothing in the next
        return max(piece.zero, piece.free)
    return piece.surplus(needed, now) if is_round or piece.answers else piece.zero
