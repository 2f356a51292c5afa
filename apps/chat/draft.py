"""An answer as its run tells it: the events of the stream journal, and what they add up to."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.urls import reverse

from apps.chat.sources import Source, Sources

PASSAGES, TEXT, END = "passages", "text", "end"


@dataclass(frozen=True, slots=True)
class Passage:
    """A numbered piece of a document that the model was given."""

    number: int
    chunk: UUID
    document: UUID
    title: str
    start: int
    end: int
    text: str

    @classmethod
    def of(cls, told: Mapping[str, Any]) -> Passage:
        """From the member `menhir.passages` of an answer (WIRE.md)."""
        return cls(
            number=int(told["id"]),
            chunk=UUID(told["chunk"]),
            document=UUID(told["document"]),
            title=str(told["title"]),
            start=int(told["start"]),
            end=int(told["end"]),
            text=str(told["text"]),
        )

    def href(self, tenant_slug: str) -> str:
        """The passage, marked in its document."""
        return f"{reverse('chat:document', args=[tenant_slug, self.document])}?chunk={self.chunk}#passage"


@dataclass(slots=True)
class Draft:
    """What came so far. `passages` is None for an answer that was not asked to look anything up, `outcome` until the run has ended."""

    passages: list[Passage] | None = None
    outcome: str | None = None
    _pieces: list[str] = field(default_factory=list)

    def take(self, event: Mapping[str, Any]) -> str:
        """Add one event; gives the text it brought."""
        if event["kind"] == PASSAGES:
            self.passages = [Passage.of(passage) for passage in event["passages"]]
        if event["kind"] == END:
            self.outcome = event["outcome"]
        if event["kind"] != TEXT:
            return ""
        piece: str = event["text"]
        self._pieces.append(piece)
        return piece

    @property
    def text(self) -> str:
        """The whole text so far."""
        if len(self._pieces) > 1:
            self._pieces = ["".join(self._pieces)]
        return self._pieces[0] if self._pieces else ""


def sources_of(passages: Iterable[Passage], *, tenant_slug: str) -> Sources:
    """What the numbers in a text point at."""
    return {passage.number: Source(href=passage.href(tenant_slug), title=passage.title) for passage in passages}
