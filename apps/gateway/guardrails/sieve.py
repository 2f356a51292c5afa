"""A text that arrives in pieces, searched as if it had come whole.

What has come is held back for as long as a match could still begin in it, or grow beyond it. So wherever a stream was cut, the
same is found in it, and nothing of a match is let through before the match is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar, NamedTuple, Protocol

from apps.gateway.guardrails.budget import Budget, Exhausted

CONTEXT_CHARACTERS = 16
"""Kept of what went before, for patterns that look at the character before a match."""
MOST_HELD_CHARACTERS = 16_384
"""A match that grows beyond this is taken as it is."""


class Span(NamedTuple):
    """Something that was found: from where to where, and of which kind."""

    start: int
    end: int
    kind: str


class Finder(Protocol):
    """Whatever finds spans in a text."""

    certain: ClassVar[bool]
    """Whether a match that is followed by a character stays one, whatever else follows."""

    def find(self, text: str, start: int, budget: Budget | None = None) -> Iterator[Span]:
        """Give the matches that begin at `start` or later, leftmost first, none within another. What is before `start` is context.

        Raises Exhausted when that takes more than the budget.
        """

    def held(self, text: str) -> int:
        """How many characters at the end of the text could still be the beginning of a match."""


Found = Callable[[Span, str], str]
"""Told of each span with its text; gives what stands in its place, or raises."""


class Searched(NamedTuple):
    """What was found in texts that are there whole."""

    spans: list[list[Span]]
    exhausted: bool
    """Whether the budget did not last: what came after is not known."""


def searched(finder: Finder, texts: Sequence[str], budget: Budget) -> Searched:
    """Search these texts."""
    spans: list[list[Span]] = [[] for _ in texts]
    try:
        for text, found in zip(texts, spans, strict=True):
            for span in finder.find(text, 0, budget):
                found.append(span)
    except Exhausted:
        return Searched(spans, exhausted=True)
    return Searched(spans, exhausted=False)


def replaced(text: str, spans: Sequence[Span], found: Found) -> str:
    """Give the text with what `found` gives in the place of each span."""
    passed: list[str] = []
    done = 0
    for span in spans:
        passed += (text[done : span.start], found(span, text[span.start : span.end]))
        done = span.end
    return "".join([*passed, text[done:]]) if passed else text


class Sieve:
    """Lets a text through in which each match was replaced by what `found` gives for it."""

    def __init__(self, finder: Finder, found: Found, *, eager: bool = False, give_up: Callable[[], None] | None = None) -> None:
        """With `eager`, `found` is told of a match as soon as it is certain, though it could still grow.

        `give_up` is told when the text costs more than the budget; unless it raises, the rest passes as it is.
        """
        self._finder = finder
        self._found = found
        self._give_up = give_up
        self._budget: Budget | None = Budget()
        self.rewrote = False
        """Whether it let through anything but what came."""
        self._eager = eager and finder.certain
        self._text = ""
        self._done = 0

    def feed(self, more: str, *, ended: bool = False) -> str:
        """Take a piece, the last one with `ended`; give what may go on."""
        text = self._text + more if self._text else more
        passed: list[str] = []
        cut = len(text)
        if self._budget is not None:
            try:
                cut = self._sift(text, passed, ended=ended)
            except Exhausted:
                self._budget = None
                if self._give_up is None:
                    raise
                self._give_up()
        if self._done < cut:
            passed.append(text[self._done : cut])
            self._done = cut
        kept = max(0, self._done - CONTEXT_CHARACTERS)
        self._text, self._done = text[kept:], self._done - kept
        if ended:
            self._text, self._done = "", 0
        return "".join(passed)

    def _sift(self, text: str, passed: list[str], *, ended: bool) -> int:
        """Pass on what was found and what stands before it; give up to where the rest may follow."""
        length = len(text)
        cut = length if ended else max(self._done, length - self._finder.held(text))
        for span in self._finder.find(text, self._done, self._budget):
            if self._eager and span.end < length:
                self._found(span, text[span.start : span.end])
            if span.start >= cut:
                break
            if span.end == length and not ended and length - span.start < MOST_HELD_CHARACTERS:
                return span.start  # with the next piece it may be longer
            was = text[span.start : span.end]
            now = self._found(span, was)
            self.rewrote |= now != was
            passed += (text[self._done : span.start], now)
            self._done = span.end
        return cut


class Pattern:
    """Finds a regular expression's matches: those of up to `window` characters for certain, longer ones as far as they are seen."""

    certain: ClassVar[bool] = True

    def __init__(self, expression: Any, *, window: int, kind: str) -> None:
        self._expression = expression
        self._window = window
        self._kind = kind

    def find(self, text: str, start: int, budget: Budget | None = None) -> Iterator[Span]:
        """Walk on from match to match, in time that grows with the text alone; an empty match is none."""
        # One walk: each search by itself would encode the whole text anew.
        for match in self._expression.finditer(text, start):
            begin, end = match.span()
            if end > begin:
                yield Span(begin, end, self._kind)

    def held(self, text: str) -> int:
        """Hold back the window."""
        return self._window
