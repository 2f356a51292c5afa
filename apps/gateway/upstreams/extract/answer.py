"""The words of the answer: quotes with their citations, or a plain statement that there is nothing to quote."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from apps.gateway.upstreams.extract.passages import Asked
from apps.gateway.upstreams.extract.selection import Quote, select

NO_QUESTION = "There is no question in this conversation. I am no language model: I answer questions by quoting documents."
NOT_GROUNDED = (
    "I am no language model. I answer by quoting sentences of documents that I am given along with a question, and with this one I was "
    "given none. Ask an assistant that has documents, or choose another model."
)
NOTHING_FOUND = "I found nothing about that in the documents I may quote."
NOTHING_FITS = (
    "None of the passages I was given answers that. I can only quote documents, word for word; "
    "asking in the words the documents use may help."
)


def answer(asked: Asked) -> str:
    """The whole answer, in Markdown."""
    parts = [asked.begin, _body(asked), asked.end]
    return "\n\n".join(part for part in parts if part)


def _body(asked: Asked) -> str:
    if not asked.question:
        return NO_QUESTION
    if asked.passages is None:
        return NOT_GROUNDED
    if not asked.passages:
        return NOTHING_FOUND
    quotes = select(asked.question, asked.passages, earlier=asked.earlier)
    return "\n\n".join(_paragraphs(quotes)) if quotes else NOTHING_FITS


def _paragraphs(quotes: Sequence[Quote]) -> Iterator[str]:
    """Sentences of one passage run on and share a citation; a list or a block of code stands alone."""
    for _, run in groupby(quotes, key=lambda quote: (quote.passage.id, quote.unit.kind == "sentence" or quote.order)):
        same = list(run)
        citation = f"[{same[0].passage.id}]"
        yield " ".join(_cited(quote, citation if quote is same[-1] else "") for quote in same)


def _cited(quote: Quote, citation: str) -> str:
    text = quote.unit.text
    if not citation:
        return text
    if quote.unit.kind == "code":
        return f"{text}\n\n{citation}"
    if quote.unit.kind == "group":
        lead, _, body = text.partition("\n\n")
        return f"{lead} {citation}\n\n{body}"
    return f"{text} {citation}"
