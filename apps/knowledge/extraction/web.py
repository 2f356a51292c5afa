"""HTML: the main text of the page, without its navigation."""

from __future__ import annotations

import re

from apps.knowledge.errors import Damaged
from apps.knowledge.extraction.encodings import decode

FOOTNOTES = re.compile(r"<sup>\\?\[[^<]{0,40}\]</sup>")
CHARSET = re.compile(rb"""<meta[^>]+charset=["']?\s*([\w-]+)""", re.IGNORECASE)
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)


def read_html(content: bytes) -> tuple[str, str]:
    """Its main text as Markdown, and its title."""
    import html

    import trafilatura

    page = characters(content)
    tree = trafilatura.load_html(page)
    if tree is None:
        raise Damaged("This page holds no HTML that can be read. Save it again from your browser and upload that.")
    text = trafilatura.extract(tree, output_format="markdown", include_comments=False, include_links=False, favor_recall=True) or ""
    if not text.strip():
        # A page of one short list is no article to trafilatura, and still somebody's knowledge.
        text = trafilatura.html2txt(page) or ""
    title = TITLE.search(page[:65536])
    return FOOTNOTES.sub("", text), html.unescape(title[1]) if title else ""


def characters(content: bytes) -> str:
    """The characters of a page, in the encoding that it names itself when that one works."""
    if named := CHARSET.search(content[:4096]):
        try:
            return content.decode(named[1].decode("ascii"))
        except (LookupError, UnicodeDecodeError):
            pass
    return decode(content)
