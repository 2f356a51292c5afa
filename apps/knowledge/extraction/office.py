"""Word, PowerPoint, Excel and EPUB, as Markdown.

markitdown's converters are used one by one. Its package imports a file classifier (magika, with onnxruntime) and every other converter at
once, which is a second and a hundred megabytes in a process that lives for one file: here the packages are entered without being run.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import re
import sys
import zipfile
from types import ModuleType
from typing import Any

from apps.knowledge.errors import Damaged
from apps.knowledge.extraction.plain import records, title_of

TITLE_LINE_CHARACTERS = 150
PICTURES = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
COMMENTS = re.compile(r"<!--.*?-->", re.DOTALL)
LINKS = re.compile(r"(?<!!)\[([^\]]+)\]\((?!https?:)[^)]*\)")


def read_docx(content: bytes) -> tuple[str, str]:
    """Its text with headings, lists and tables, and the title of its properties, or what it begins with."""
    markdown = convert("_docx_converter", "DocxConverter", content, extension=".docx")
    return markdown, property_title(content) or first_line(markdown) or title_of(markdown)


def read_pptx(content: bytes) -> tuple[str, str]:
    """Its slides one after another, notes included."""
    markdown = convert("_pptx_converter", "PptxConverter", content, extension=".pptx")
    return markdown, property_title(content) or title_of(markdown)


def read_epub(content: bytes) -> tuple[str, str]:
    """Its chapters in reading order."""
    markdown = convert("_epub_converter", "EpubConverter", content, extension=".epub")
    title = re.match(r"\*\*Title:\*\* (.+)", markdown)
    return markdown, title[1] if title else title_of(markdown)


def read_xlsx(content: bytes) -> tuple[str, str]:
    """A heading for each sheet and a line for each row, each value with the name of its column."""
    import openpyxl  # type: ignore[import-untyped]

    try:
        book = openpyxl.load_workbook(io.BytesIO(content), read_only=True, data_only=True)
    except (KeyError, ValueError, TypeError, zipfile.BadZipFile) as e:
        raise Damaged from e
    parts = []
    for sheet in book.worksheets:
        lines = "\n\n".join(records(sheet.iter_rows(values_only=True)))
        if lines:
            parts.append(f"## {sheet.title}\n\n{lines}")
    return "\n\n".join(parts), property_title(content)


def convert(module: str, converter: str, content: bytes, *, extension: str) -> str:
    """What one converter of markitdown makes of a file, without pictures, comments and links into the file itself."""
    enter("markitdown")
    enter("markitdown.converters")
    reader: Any = getattr(importlib.import_module(f"markitdown.converters.{module}"), converter)()
    info: Any = importlib.import_module("markitdown._stream_info").StreamInfo(extension=extension)
    try:
        markdown: str = reader.convert(io.BytesIO(content), info).markdown
    except (MemoryError, RecursionError):
        raise
    except Exception as e:  # the libraries beneath raise whatever they stumble over; all of it means one thing
        raise Damaged from e
    return LINKS.sub(r"\1", PICTURES.sub(r"\1", COMMENTS.sub("", markdown)))


def first_line(markdown: str) -> str:
    r"""The line that a document begins with, where it can be its title: short, and no sentence.

    >>> first_line("# On stones\n\nThey stand."), first_line("They stand.")
    ('On stones', '')
    """
    line = markdown.strip().partition("\n")[0].lstrip("#").strip(" *_")
    return line if len(line) <= TITLE_LINE_CHARACTERS and not line.endswith((".", ":", ",", "|")) else ""


def enter(package: str) -> None:
    """Make a package importable from, without running its `__init__`."""
    if package in sys.modules:
        return
    spec = importlib.util.find_spec(package)
    if spec is None or spec.submodule_search_locations is None:
        raise ModuleNotFoundError(package)
    module = ModuleType(package)
    module.__path__ = list(spec.submodule_search_locations)
    sys.modules[package] = module


def property_title(content: bytes) -> str:
    """The title in an Office file's properties, or nothing."""
    from defusedxml import ElementTree  # type: ignore[import-untyped]

    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            tree = ElementTree.fromstring(archive.read("docProps/core.xml"))
    except (KeyError, ElementTree.ParseError, zipfile.BadZipFile):
        return ""
    return str(tree.findtext("{http://purl.org/dc/elements/1.1/}title") or "").strip()
