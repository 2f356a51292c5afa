"""What a file is, by its bytes. Its name decides only where bytes cannot: CSV, Markdown and plain text all look alike."""

from __future__ import annotations

import io
import re
import zipfile
from typing import Literal

from apps.knowledge.errors import Damaged, Encrypted, NoText, TookTooMuchMemory, UnsupportedType
from apps.knowledge.extraction.encodings import decode

Kind = Literal["pdf", "docx", "pptx", "xlsx", "epub", "html", "markdown", "csv", "text"]

UNPACKED_LIMIT_BYTES = 400 * 1024 * 1024
HEAD_BYTES = 4096

IMAGES = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\x00", b"MM\x00*", b"BM")
COMPOUND = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
PARTS: dict[str, Kind] = {"word/document.xml": "docx", "ppt/presentation.xml": "pptx", "xl/workbook.xml": "xlsx"}
SUFFIXES: dict[str, Kind] = {
    ".html": "html", ".htm": "html", ".xhtml": "html", ".md": "markdown", ".markdown": "markdown", ".csv": "csv", ".tsv": "csv",
}  # fmt: skip
MEDIA_TYPES: dict[str, Kind] = {
    "text/html": "html", "application/xhtml+xml": "html", "text/markdown": "markdown", "text/csv": "csv",
    "text/tab-separated-values": "csv", "application/csv": "csv",
}  # fmt: skip
HTML = re.compile(r"^\s*(?:<\?xml[^>]*>\s*)?(?:<!--.*?-->\s*)*<(?:!doctype\s+html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
MARKDOWN = re.compile(r"^(?:#{1,6} \S|```|\|(?: ?:?-{3,}:? ?\|)+\s*$)", re.MULTILINE)


def sniff(content: bytes, *, filename: str, media_type: str) -> Kind:
    """The kind of a file; raises an Unreadable that says what is wrong with it or what to upload in its place.

    >>> sniff(b"%PDF-1.7 ...", filename="letter.docx", media_type="")
    'pdf'
    >>> sniff(b"a,b", filename="table.csv", media_type="")
    'csv'
    """
    if not content.strip():
        raise NoText("This file is empty. Upload one that has something in it.")
    if not filename and media_type == "text/plain":  # it came as text, not as a file
        return "markdown" if MARKDOWN.search(decode(content)) else "text"
    if b"%PDF-" in content[:1024]:
        return "pdf"
    if content.startswith(b"PK\x03\x04"):
        return packed(content)
    refuse_known_binaries(content)
    text = decode(content[: HEAD_BYTES * 4])
    if "\x00" in text:
        raise UnsupportedType
    claimed = SUFFIXES.get(suffix(filename)) or MEDIA_TYPES.get(media_type.partition(";")[0].strip().lower())
    if HTML.match(text[:HEAD_BYTES]):
        return "html"
    return claimed or ("markdown" if MARKDOWN.search(text) else "text")


def packed(content: bytes) -> Kind:
    """The kind of a ZIP archive, which is what Office and EPUB files are. Refuses one that unpacks to more than we would hold."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            names = {entry.filename for entry in entries}
            kind = next((kind for part, kind in PARTS.items() if part in names), None)
            if kind is None and "mimetype" in names and archive.read("mimetype")[:64].strip() == b"application/epub+zip":
                kind = "epub"
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as e:
        raise Damaged from e
    except RuntimeError as e:  # zipfile's word for an entry under a password
        raise Encrypted from e
    if sum(entry.file_size for entry in entries) > UNPACKED_LIMIT_BYTES:
        raise TookTooMuchMemory
    if kind is None and any(name.endswith((".odt", ".ods", ".odp", "content.xml")) for name in names):
        raise UnsupportedType("OpenDocument files cannot be read. Save it as .docx, .xlsx, .pptx or PDF and upload that.")
    if kind is None:
        raise UnsupportedType("This is an archive. Unpack it and upload the files in it.")
    if any(entry.flag_bits & 1 for entry in entries) or "META-INF/encryption.xml" in names:
        raise Encrypted
    return kind


def refuse_known_binaries(content: bytes) -> None:
    """Raise the sentence that helps for the kinds people try most."""
    if content.startswith(COMPOUND):
        if "EncryptedPackage".encode("utf-16-le") in content:
            raise Encrypted
        raise UnsupportedType("This is a file of an Office before 2007. Save it as .docx, .xlsx, .pptx or PDF and upload that.")
    if content.startswith(IMAGES) or content[4:12] in {b"ftypheic", b"ftypavif"} or content[8:12] == b"WEBP":
        raise UnsupportedType("This is an image. Run text recognition (OCR) on it and upload the resulting PDF or text.")
    if content.startswith(b"{\\rtf"):
        raise UnsupportedType("RTF files cannot be read. Save it as .docx or PDF and upload that.")


def suffix(filename: str) -> str:
    """The lower-cased ending of a file name with its dot, or nothing.

    >>> suffix("Report.Final.PDF"), suffix("README")
    ('.pdf', '')
    """
    _, dot, ending = filename.rpartition(".")
    return f".{ending.lower()}" if dot else ""
