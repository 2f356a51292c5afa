"""What stands in the place of what was found: the same for the same within a call, and put back where that was asked for."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar

from apps.gateway.guardrails.budget import Budget
from apps.gateway.guardrails.sieve import Span

LONGEST_CHARACTERS = 40
BEGUN = re.compile(rf"\[[A-Z0-9_]{{0,{LONGEST_CHARACTERS}}}\Z")
PLACEHOLDER = re.compile(r"\[[A-Z][A-Z_]*_\d+\]")


class Placeholders:
    """The placeholders of one call.

    >>> placeholders = Placeholders()
    >>> [placeholders.of("email", text, restore=True) for text in ("a@example.com", "b@example.com", "a@example.com")]
    ['[EMAIL_1]', '[EMAIL_2]', '[EMAIL_1]']
    >>> placeholders.original("[EMAIL_2]")
    'b@example.com'
    """

    certain: ClassVar[bool] = False

    def __init__(self) -> None:
        self._given: dict[tuple[str, str], str] = {}
        self._counts: dict[str, int] = {}
        self._originals: dict[str, str] = {}

    def __bool__(self) -> bool:
        """Whether anything is to be put back."""
        return bool(self._originals)

    def of(self, kind: str, text: str, *, restore: bool) -> str:
        """Give the placeholder of a text of this kind."""
        given = self._given.get((kind, text))
        if given is None:
            self._counts[kind] = number = self._counts.get(kind, 0) + 1
            given = self._given[kind, text] = f"[{kind.upper()}_{number}]"
        if restore:
            self._originals[given] = text
        return given

    def original(self, placeholder: str) -> str:
        """Give what a placeholder stands for; itself when that is not to be put back."""
        return self._originals.get(placeholder, placeholder)

    # A finder of placeholders, for the way back.

    def find(self, text: str, start: int, budget: Budget | None = None) -> Iterator[Span]:
        """Give every placeholder."""
        for match in PLACEHOLDER.finditer(text, start):
            yield Span(match.start(), match.end(), "placeholder")

    def held(self, text: str) -> int:
        """Hold back a bracket that was opened, and what could be a name in it."""
        match = BEGUN.search(text, max(0, len(text) - LONGEST_CHARACTERS - 1))
        return len(text) - match.start() if match is not None else 0

    def restored(self, span: Span, text: str) -> str:
        """What goes to the client in a placeholder's stead."""
        return self.original(text)
