"""Plain text, Markdown and tables as text."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Iterator, Sequence

from apps.knowledge.extraction.encodings import decode

HEADING = re.compile(r"^# +(.+?)\s*#*$", re.MULTILINE)
FENCE = re.compile(r"^---\n.*?^title:\s*[\"']?(.+?)[\"']?\s*$.*?^---$", re.MULTILINE | re.DOTALL)
NUMBER = re.compile(r"^[\s\d.,:%/€$£+()-]*$")
FIELD_LIMIT_CHARACTERS = 1_000_000


def read_text(content: bytes) -> tuple[str, str]:
    """Its text and no title."""
    return decode(content), ""


def read_markdown(content: bytes) -> tuple[str, str]:
    """Its text as it is, and its first heading."""
    text = decode(content)
    return text, title_of(text)


def title_of(markdown: str) -> str:
    r"""The title that a front matter or the first heading gives.

    >>> title_of("# The stone\n\nstands"), title_of("no heading")
    ('The stone', '')
    """
    if markdown.startswith("---\n") and (matter := FENCE.match(markdown[:4096])):
        return matter[1]
    heading = HEADING.search(markdown)
    return heading[1] if heading else ""


def read_csv(content: bytes) -> tuple[str, str]:
    """A line for each record, each value with the name of its column: a chunk out of the middle still says what its numbers are."""
    text = decode(content)
    try:
        dialect: type[csv.Dialect] | csv.Dialect = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel_tab if "\t" in text[:1024] else csv.excel
    csv.field_size_limit(FIELD_LIMIT_CHARACTERS)
    return "\n".join(records(csv.reader(io.StringIO(text, newline=""), dialect))), ""


def records(rows: Iterable[Sequence[object]]) -> Iterator[str]:
    """Each row as `column: value; …`, when the first row can be a header; otherwise as its values alone.

    >>> list(records([["name", "age"], ["Ann", 30], ["Ben", None]]))
    ['name: Ann; age: 30', 'name: Ben']
    >>> list(records([[1, 2], [3, 4]]))
    ['1; 2', '3; 4']
    """
    header: list[str] | None = None
    for row in rows:
        cells = [" ".join(str(cell).split()) if cell is not None else "" for cell in row]
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            continue
        if header is None:
            header = cells if len(cells) > 1 and not any(NUMBER.match(cell) for cell in cells) else []
            if header:
                continue
        named = [f"{header[i]}: {cell}" if i < len(header) else cell for i, cell in enumerate(cells) if cell]
        yield "; ".join(named)
