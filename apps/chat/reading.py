"""A document as one reads it beside the chat: a part of its text, with one passage marked."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db.models.functions import Length, Substr

from apps.chat.models import Citation
from apps.knowledge.models import Chunk, Document
from menhir.errors import NotFound
from menhir.tenancy.principal import Principal

WINDOW_CHARACTERS = 24_000
LEAD_CHARACTERS = 8_000  # how much of it stands above the passage


@dataclass(frozen=True, slots=True)
class Reading:
    """A part of a document. `lost` is a passage as it was cited, when the document does not hold it any more."""

    document: Document
    above: str
    passage: str
    below: str
    earlier: int | None
    later: int | None
    lost: str = ""


def read(principal: Principal, document_id: UUID, *, chunk_id: UUID | None = None, offset: int = 0) -> Reading:
    """The part of a document around a passage, or from a character on. Raises NotFound for another tenant's."""
    documents = Document.objects.within(principal.tenant_id).filter(id=document_id)
    found: Document | None = documents.without_text().first()
    if found is None:
        raise NotFound
    length: int = documents.values_list(Length("text"), flat=True).get()
    start, end, lost = _passage(principal, found, chunk_id)
    begin = max(0, start - LEAD_CHARACTERS) if end else min(max(0, offset), max(0, length - 1))
    text = _text(found, begin, WINDOW_CHARACTERS)
    if begin and (line := text.find("\n", 0, max(start - begin, 400))) >= 0:
        begin, text = begin + line + 1, text[line + 1 :]
    stop = begin + len(text)
    first, last = (start - begin, end - begin) if end else (0, 0)
    return Reading(
        document=found,
        above=text[:first],
        passage=text[first:last],
        below=text[last:],
        earlier=max(0, begin - WINDOW_CHARACTERS + 1) if begin else None,
        later=stop if stop < length else None,
        lost=lost,
    )


def _passage(principal: Principal, document: Document, chunk_id: UUID | None) -> tuple[int, int, str]:
    """Where the passage stands now: (start, end, what is lost); (0, 0, …) when it is nowhere."""
    if chunk_id is None:
        return 0, 0, ""
    chunk = Chunk.objects.within(principal.tenant_id).filter(id=chunk_id, document_id=document.id).first()
    if chunk is not None and chunk.edition_id == document.live_edition:
        return chunk.start, chunk.end, ""
    # A newer edition has other chunks: find the words that were cited.
    mine = Citation.objects.within(principal.tenant_id).filter(message__conversation__owner_id=principal.user_id)
    cited = mine.filter(chunk=chunk_id, document=document.id).values_list("text", flat=True).first()
    if cited is None:
        return 0, 0, ""
    whole: str = Document.objects.within(principal.tenant_id).values_list("text", flat=True).get(id=document.id)
    place = whole.find(cited)
    return (place, place + len(cited), "") if place >= 0 else (0, 0, cited)


def _text(document: Document, start: int, length: int) -> str:
    documents = Document.objects.within(document.tenant_id).filter(id=document.id)
    text: str = documents.values_list(Substr("text", start + 1, length), flat=True).get()
    return text
