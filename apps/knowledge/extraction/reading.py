"""The whole way of a file inside one process: sniff, read, tidy, cut. Pure: bytes in, text and spans out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apps.knowledge.chunking import Span, chunk
from apps.knowledge.errors import NoText, TooMuchText
from apps.knowledge.extraction import office, pdf, plain, web
from apps.knowledge.extraction.sniffing import Kind, sniff
from apps.knowledge.extraction.tidying import one_line, tidy

TEXT_LIMIT_CHARACTERS = 10_000_000
TITLE_LIMIT_CHARACTERS = 200
MARKED_UP: frozenset[Kind] = frozenset({"docx", "pptx", "xlsx", "epub", "html", "markdown"})

READERS: dict[Kind, Callable[[bytes], tuple[str, str]]] = {
    "pdf": pdf.read_pdf,
    "docx": office.read_docx,
    "pptx": office.read_pptx,
    "xlsx": office.read_xlsx,
    "epub": office.read_epub,
    "html": web.read_html,
    "markdown": plain.read_markdown,
    "csv": plain.read_csv,
    "text": plain.read_text,
}


@dataclass(frozen=True, slots=True)
class Extracted:
    """What was found in a file: its kind, the title that it gives itself (or nothing), its text and the spans of its chunks."""

    kind: str
    title: str
    text: str
    spans: tuple[Span, ...]


def read(content: bytes, *, filename: str, media_type: str) -> Extracted:
    """Read a file in this process; raises an Unreadable whose message is for the person who uploaded it."""
    kind = sniff(content, filename=filename, media_type=media_type)
    raw, title = READERS[kind](content)
    if len(raw) > TEXT_LIMIT_CHARACTERS:
        raise TooMuchText
    text = tidy(raw)
    if not any(map(str.isalnum, text)):
        raise NoText
    return Extracted(
        kind=kind,
        title=one_line(title, longest=TITLE_LIMIT_CHARACTERS),
        text=text,
        spans=tuple(chunk(text, markdown=kind in MARKED_UP)),
    )
