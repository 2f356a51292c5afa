"""Markdown while it is still being written.

A block (paragraph, list, table, code) is finished once another block has begun below it: from then on its HTML never changes,
so it is rendered and sent once. Only the last block is rendered anew as it grows. What is finished is a function of the text
alone, not of how the text was cut into pieces: a reader who comes back with "I have seen three blocks" is understood by any
process.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from itertools import pairwise

from markdown_it.token import Token

from apps.chat.markdown import PARSER, render
from apps.chat.sources import Sources

OPENING_FENCE = re.compile(r"(?:[ \t]*\n)* {0,3}(?:(`{3,})[^`\n]*|(~{3,})[^\n]*)\n")


@dataclass(slots=True)
class LiveText:
    """A growing text, as finished blocks and the one that still grows."""

    sources: Sources = field(default_factory=dict)
    finished: list[str] = field(default_factory=list)  # the source of each finished block
    _open: str = ""
    _unread: list[str] = field(default_factory=list)

    def feed(self, delta: str) -> None:
        """Append a piece of text; it costs nothing until somebody calls `advance`."""
        self._unread.append(delta)

    def advance(self) -> None:
        """Move the blocks that are finished by now from the open text to `finished`."""
        delta = "".join(self._unread)
        self._unread = ["\r"] if delta.endswith("\r") else []  # perhaps the first half of a line's end
        delta = delta.removesuffix("\r").replace("\r\n", "\n").replace("\r", "\n")
        self._open += delta
        if "\n" in delta:
            *finished, self._open = split(self._open)
            self.finished += finished

    @property
    def work(self) -> int:
        """How many characters the next look will have to render, about."""
        return len(self._open) + sum(map(len, self._unread))

    def finished_html(self, first: int = 0) -> list[str]:
        """Give the HTML of the finished blocks, from number `first` on."""
        return [render(block, self.sources) for block in self.finished[first:]]

    @property
    def open_html(self) -> str:
        """The HTML of the block that may still grow; empty when there is none."""
        return render(self._open, self.sources)


def split(text: str) -> list[str]:
    r"""Cut a text before each top-level block but the first; the last piece may still grow, the others are final.

    >>> split("# Title\nSome\ntext\n\n- a\n- b\n")
    ['# Title\n', 'Some\ntext\n\n', '- a\n- b\n']
    """
    if _inside_a_fence(text):
        return [text]
    complete, _, incomplete = text.rpartition("\n")  # a line that has not ended can still turn into anything
    lines = [f"{line}\n" for line in complete.split("\n")]
    tokens: list[Token] = []
    PARSER.block.parse(complete, PARSER, {}, tokens)
    starts = [token.map[0] for token in tokens if token.map and token.level == 0]
    cuts = [0, *starts[1:], len(lines)]
    pieces = ["".join(lines[start:end]) for start, end in pairwise(cuts)]
    pieces[-1] += incomplete
    return pieces


def _inside_a_fence(text: str) -> bool:
    """Whether a code block stands at the beginning and has not ended yet: the one long block, answered without a parse."""
    opening = OPENING_FENCE.match(text)
    if opening is None:
        return False
    marks = opening[1] or opening[2]
    end = re.compile(rf"^ {{0,3}}{marks[0]}{{{len(marks)},}}[ \t]*\n", re.MULTILINE)
    return end.search(text, opening.end()) is None
