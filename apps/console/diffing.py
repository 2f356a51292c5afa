"""The difference between two texts, line by line, with the changed words marked inside changed lines."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Literal

from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe

CONTEXT_LINES = 3
WORDS = re.compile(r"\s+|\w+|[^\w\s]")
SIMILAR_ENOUGH = 0.4


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a difference. A skipped one stands for `skipped` equal lines that are not shown."""

    kind: Literal["same", "added", "removed", "skipped"]
    old: int | None
    new: int | None
    html: SafeString
    skipped: int = 0

    @property
    def sign(self) -> str:
        """What stands before it."""
        return {"added": "+", "removed": "\N{MINUS SIGN}"}.get(self.kind, "")


@dataclass(frozen=True, slots=True)
class Difference:
    """All lines, and how many came and went."""

    lines: list[Line]
    added: int
    removed: int


def difference(old: str, new: str) -> Difference:
    r"""Compare two texts.

    >>> found = difference("Be kind.\nBe brief.", "Be kind.\nBe very brief.")
    >>> [(line.kind, str(line.html)) for line in found.lines]
    [('same', 'Be kind.'), ('removed', 'Be brief.'), ('added', 'Be<ins> very</ins> brief.')]
    """
    lines = list(_lines(old.splitlines(), new.splitlines()))
    added, removed = (sum(line.kind == kind for line in lines) for kind in ("added", "removed"))
    return Difference(lines=lines, added=added, removed=removed)


def _lines(old: list[str], new: list[str]) -> Iterator[Line]:
    blocks = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
    for place, (kind, old_from, old_to, new_from, new_to) in enumerate(blocks):
        if kind == "equal":
            yield from _equal(old, (old_from, old_to), new_from, is_first=place == 0, is_last=place == len(blocks) - 1)
            continue
        pairs = dict(enumerate(zip(old[old_from:old_to], new[new_from:new_to], strict=False)))
        marked = {index: words(*pair) for index, pair in pairs.items()}
        for index in range(old_to - old_from):
            html = marked[index][0] if index in marked else escape(old[old_from + index])
            yield Line("removed", old_from + index + 1, None, html)
        for index in range(new_to - new_from):
            html = marked[index][1] if index in marked else escape(new[new_from + index])
            yield Line("added", None, new_from + index + 1, html)


def _equal(old: list[str], span: tuple[int, int], new_from: int, *, is_first: bool, is_last: bool) -> Iterator[Line]:
    start, end = span
    head = 0 if is_first else CONTEXT_LINES
    tail = 0 if is_last else CONTEXT_LINES
    hidden = range(start + head, max(start + head, end - tail))
    for number in range(start, end):
        if len(hidden) > 1 and number in hidden:
            if number == hidden.start:
                yield Line("skipped", None, None, mark_safe(""), skipped=len(hidden))
            continue
        yield Line("same", number + 1, new_from + number - start + 1, escape(old[number]))


def words(old: str, new: str) -> tuple[SafeString, SafeString]:
    """Two lines with what differs marked, unless hardly anything is shared."""
    before, after = WORDS.findall(old), WORDS.findall(new)
    match = SequenceMatcher(None, before, after, autojunk=False)
    if match.ratio() < SIMILAR_ENOUGH:
        return escape(old), escape(new)
    left, right = [], []
    for kind, i, j, k, m in match.get_opcodes():
        gone, came = escape("".join(before[i:j])), escape("".join(after[k:m]))
        left.append(gone if kind == "equal" or not gone else f"<del>{gone}</del>")
        right.append(came if kind == "equal" or not came else f"<ins>{came}</ins>")
    return mark_safe("".join(left)), mark_safe("".join(right))  # noqa: S308 - every piece was escaped above
