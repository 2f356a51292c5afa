"""A call's hold on every meter that applies to it: taken from all of them or from none, then settled or released, once."""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from menhir.metering.limits.meters import MONEY, PARALLEL, REQUESTS, TOKENS, Amount, Slice

Part = tuple[Slice, Amount]
Held = tuple[Slice, int, Amount]

FINEST = Decimal("1e-15")


def take(parts: list[Part], now: float) -> Hold | None:
    """Take from every slice, or from none of them when one has too little."""
    for piece, amount in parts:
        if amount and (piece.free < amount or now >= piece.ends):
            return None
    held: list[Held] = []
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

    __slots__ = ("_branches", "_held")

    def __init__(self, held: list[Held]) -> None:
        self._held = held
        self._branches: list[Hold] | None = None

    def split(self, shares: int) -> None:
        """Make it so many shares of tokens and money: one stays with the call, each of the others is for a leg of it (`branch`)."""
        mine, theirs = [], []
        for piece, generation, amount in self._held:
            share: Amount = amount
            if piece.kind == TOKENS:
                share = int(amount) // shares
            elif piece.kind == MONEY:
                share = (Decimal(amount) / shares).quantize(FINEST, ROUND_DOWN)
            if piece.kind in {TOKENS, MONEY}:
                theirs.append((piece, generation, share))
                mine.append((piece, generation, amount - share * (shares - 1)))
            else:
                mine.append((piece, generation, amount))
        self._held = mine
        self._branches = [Hold(list(theirs)) for _share in range(shares - 1)]

    def branch(self) -> Hold:
        """Give a leg its share, to settle or release by itself; one too many has nothing, and is still counted."""
        return (
            self._branches.pop() if self._branches else Hold([(piece, generation, piece.zero) for piece, generation, _held in self._held])
        )

    def settle(self, *, tokens: int, cost: Decimal) -> None:
        """Spend what was used and give back the rest; what was used beyond the hold is spent, too."""
        held = self._close()
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
        for piece, generation, amount in self._close():
            if piece.generation != generation:
                continue
            piece.free += amount
            if piece.kind == REQUESTS:
                piece.total -= amount
            else:
                piece.busy -= amount

    def _close(self) -> list[Held]:
        held, self._held = self._held, []
        if self._branches is not None:
            branches, self._branches = self._branches, None
            for branch in branches:
                branch.release()  # of legs that were never asked
        return held
