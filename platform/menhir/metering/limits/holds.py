"""A call's hold on every meter that applies to it: taken from all of them or from none, then settled or released, once."""

from __future__ import annotations

from decimal import Decimal

from menhir.metering.limits.meters import MONEY, PARALLEL, REQUESTS, TOKENS, Amount, Slice

Part = tuple[Slice, Amount]


def take(parts: list[Part], now: float) -> Hold | None:
    """Take from every slice, or from none of them when one has too little."""
    for piece, amount in parts:
        if amount and (piece.free < amount or now >= piece.ends):
            return None
    held: list[tuple[Slice, int, Amount]] = []
    for piece, amount in parts:
        piece.free -= amount
        piece.taken += amount
        piece.used_at = now
        if piece.kind == REQUESTS:
            piece.total += amount
        else:
            piece.busy += amount
        held.append((piece, piece.generation, amount))
    return Hold(held)


class Hold:
    """What one call has taken. The first word stands: after `settle`, `release` does nothing, and the other way round."""

    __slots__ = ("_held", "cost", "tokens")

    def __init__(self, held: list[tuple[Slice, int, Amount]]) -> None:
        self._held = held
        self.tokens = 0
        self.cost = Decimal(0)

    def add(self, *, tokens: int, cost: Decimal) -> None:
        """Count what a part of the call has used (a leg of a fan-out, a try that failed) on top of what `settle` will say."""
        self.tokens += tokens
        self.cost += cost

    def settle(self, *, tokens: int, cost: Decimal) -> None:
        """Spend what was used and give back the rest; what was used beyond the hold is spent, too."""
        held, self._held = self._held, []
        tokens += self.tokens
        cost += self.cost
        for piece, generation, amount in held:
            if piece.generation != generation:
                continue  # of a window that has ended, or a lease that was given up for dead
            kind = piece.kind
            if kind == TOKENS:
                piece.busy -= amount
                piece.total += tokens
                piece.free += amount - tokens
            elif kind == MONEY:
                piece.busy -= amount
                piece.total += cost
                piece.free += amount - cost
            elif kind == PARALLEL:
                piece.busy -= amount
                piece.free += amount

    def release(self) -> None:
        """Give everything back: the call was not made."""
        if self.tokens or self.cost:
            self.settle(tokens=0, cost=Decimal(0))
            return
        held, self._held = self._held, []
        for piece, generation, amount in held:
            if piece.generation != generation:
                continue
            piece.free += amount
            if piece.kind == REQUESTS:
                piece.total -= amount
            else:
                piece.busy -= amount
