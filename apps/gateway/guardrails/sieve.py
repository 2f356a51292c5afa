"""A text that arrives in pieces, searched as if it had come whole.

What has come is held back for as long as a match could still begin in it, or grow beyond it. So wherever a stream was cut, the
same is found in it, and nothing of a match is let through before the match is complete.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, Protocol

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

    def find(self, text: str, start: int) -> Iterator[Span]:
        """Give the matches that begin at `start` or later, leftmost first, none within another. What is before `start` is context."""

    def held(self, text: str) -> int:
        """How many characters at the end of the text could still be the beginning of a match."""


Found = Callable[[Span, str], str]
"""Told of each span with its text; gives what stands in its place, or raises."""


class Sieve:
    """Lets a text through in which each match was replaced by what `found` gives for it."""

    def __init__(self, finder: Finder, found: Found, *, eager: bool = False) -> None:
        """With `eager`, `found` is told of a match as soon as it is certain, though it could still grow."""
        self._finder = finder
        self._found = found
        self._eager = eager and finder.certain
        self._text = ""
        self._done = 0

    def feed(self, more: str, *, ended: bool = False) -> str:
        """Take a piece, the last one with `ended`; give what may go on."""
        text = self._text + more if self._text else more
        length = len(text)
        cut = length if ended else max(self._done, length - self._finder.held(text))
        passed: list[str] = []
        done = self._done
        for span in self._finder.find(text, done):
            if self._eager and span.end < length:
                self._found(span, text[span.start : span.end])
            if span.start >= cut:
                break
            if span.end == length and not ended and length - span.start < MOST_HELD_CHARACTERS:
                cut = span.start  # with the next piece it may be longer
                break
            passed += (text[done : span.start], self._found(span, text[span.start : span.end]))
            done = span.end
        if done < cut:
            passed.append(text[done:cut])
            done = cut
        kept = max(0, done - CONTEXT_CHARACTERS)
        self._text, self._done = text[kept:], done - kept
        if ended:
            self._text, self._done = "", 0
        return "".join(passed)


class Pattern:
    """Finds a regular expression's matches: those of up to `window` characters for certain, longer ones as far as they are seen."""

    certain: ClassVar[bool] = True

    def __init__(self, expression: object, *, window: int, kind: str) -> None:
        self._expression = expression
        self._window = window
        self._kind = kind

    def find(self, text: str, start: int) -> Iterator[Span]:
        """Search on from match to match; an empty match is none."""
        while start < len(text):
            match = self._expression.search(text, start)  # type: ignore[attr-defined]
            if match is None:
                return
            begin, end = match.span()
            if end > begin:
                yield Span(begin, end, self._kind)
            start = max(end, begin + 1) if end > begin else end + 1

    def held(self, text: str) -> int:
        """Hold back the window."""
        return self._window
