"""PDF, by PDFium: text in reading order, lines joined to paragraphs."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator

from apps.knowledge.errors import Damaged, Encrypted, NoText, TooMuchText

PDFIUM_PASSWORD, PDFIUM_SECURITY = 4, 5
PAGES_LIMIT = 5_000
FULL_LINE = 0.75
"""A line this much of the page's usual width runs on into the next; a shorter one ends its paragraph."""

PRESENTATION = re.compile("[\ufb00-\ufdff\ufe70-\ufefc]+")
"""Ligatures and the shapes of Arabic letters: how a thing is drawn, not what is written; nobody searches for them."""

HYPHEN = "\ufffe"  # PDFium's mark for a hyphen that a line end brought about


def read_pdf(content: bytes) -> tuple[str, str]:
    """Its pages as plain text, and the title of its properties."""
    import pypdfium2

    try:
        document = pypdfium2.PdfDocument(content)
    except pypdfium2.PdfiumError as e:
        if getattr(e, "err_code", None) in {PDFIUM_PASSWORD, PDFIUM_SECURITY} or "password" in str(e):
            raise Encrypted("This PDF is protected by a password. Remove the password and upload it again.") from e
        raise Damaged("This PDF is damaged and cannot be opened. Check that it opens on your computer and upload it again.") from e
    if len(document) > PAGES_LIMIT:
        raise TooMuchText(f"This PDF has more than {PAGES_LIMIT:,} pages. Split it into parts and upload them one by one.")
    pages = []
    try:
        for page in document:
            text = page.get_textpage()
            pages.append(paragraphs(text.get_text_range()))
            text.close()
            page.close()
    except pypdfium2.PdfiumError as e:
        raise Damaged("A page of this PDF is damaged. Print it to a new PDF and upload that.") from e
    if not any(page.strip() for page in pages):
        raise NoText("This PDF holds pictures of pages but no text. Run text recognition (OCR) on it and upload the result.")
    return "\n\n".join(page for page in pages if page), str(document.get_metadata_dict().get("Title") or "")


def paragraphs(page: str) -> str:
    r"""The text of a page with the line ends of its layout taken out.

    >>> paragraphs("A heading\r\nThis is a long line which runs\r\non into the next one and on\r\nand ends.")
    'A heading\nThis is a long line which runs on into the next one and on and ends.'
    """
    page = PRESENTATION.sub(lambda shapes: unicodedata.normalize("NFKC", shapes[0]), page.replace("\r\n", "\n"))
    page = page.replace(f"{HYPHEN}\n", "").replace(HYPHEN, "")
    lines = [line.strip() for line in page.split("\n")]
    lengths = sorted(len(line) for line in lines if line)
    if not lengths:
        return ""
    width = lengths[(len(lengths) * 9) // 10]
    return "\n".join(joined(lines, full=width * FULL_LINE))


def joined(lines: list[str], *, full: float) -> Iterator[str]:
    """Paragraphs: a full line takes the next one on, unless it ends a sentence well before the edge."""
    paragraph = ""
    for line in lines:
        if not line:
            continue
        paragraph = f"{paragraph} {line}" if paragraph else line
        if len(line) < full:
            yield paragraph
            paragraph = ""
    if paragraph:
        yield paragraph
