"""How much may be spent on looking at a text. Who writes it could else choose one that keeps a core busy for minutes."""

from __future__ import annotations

from collections.abc import Callable

MOST_STEPS = 50_000
"""A step is 4 to 10 µs of a core, so this is less than a second: six thousand phone numbers, or many more of other kinds."""
INLINE_STEPS = 1_000
"""What may be spent on the event loop, where everybody waits meanwhile."""
MOST_REMEMBERED = 1_000


class Exhausted(Exception):
    """A text costs more than may be spent on it."""


class Budget:
    """What is left."""

    __slots__ = ("_known", "left")

    def __init__(self, steps: int = MOST_STEPS) -> None:
        self.left = steps
        self._known: dict[str, bool] = {}

    def spend(self, steps: int) -> None:
        """Take so many steps off. Raises Exhausted."""
        self.left -= steps
        if self.left < 0:
            raise Exhausted

    def once(self, proof: Callable[[str], bool], text: str, *, steps: int) -> bool:
        """Ask a costly question, the same one only once: a stream's last words are searched again with every piece. Raises Exhausted."""
        known = self._known.get(text)
        if known is None:
            self.spend(steps)
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            known = self._known[text] = proof(text)
        return known
