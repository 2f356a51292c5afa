from __future__ import annotations

import io
import os
import sys
import zipfile

import pytest

from apps.knowledge.errors import Damaged, Encrypted, NoText, TookTooLong, TookTooMuchMemory, TooMuchText, Unreadable, UnsupportedType
from apps.knowledge.extraction import caged, extract, read
from apps.knowledge.extraction.sniffing import sniff

REAL = [
    ("google-doc-document.pdf", "pdf", "PDF Example Document", "Beautiful is better than ugly."),
    ("multicolumn.pdf", "pdf", "", "Two-Column Document with Lorem Ipsum"),
    ("pdflatex-4-pages.pdf", "pdf", "", "Hello, here is some text without a meaning."),
    ("test.pdf", "pdf", "", "Large language models (LLMs) are becoming a crucial building block"),
    ("REPAIR-2022-INV-001_multipage.pdf", "pdf", "", "Gabriel Diaz"),
    ("habibi.pdf", "pdf", "habibi", "habibi"),
    ("test.docx", "docx", "AutoGen: Enabling Next-Gen LLM Applications via Multi-Agent Conversation", "# Abstract"),
    ("equations.docx", "docx", None, r"\frac{a}{λ}"),
    ("test.pptx", "pptx", None, "AutoGen agents are customizable, conversable"),
    ("test.xlsx", "xlsx", None, "Alpha: 58; Beta: 6ff4173b-42a5-4784-9b19-f49caff4d93d; Gamma: 22; Delta: 9"),
    ("test.epub", "epub", "Test EPUB Document", "It includes:"),
    ("test_blog.html", "html", None, "the baseline accuracy of untuned gpt-4 can be improved by 20%"),
    ("test_wikipedia.html", "html", "Microsoft - Wikipedia", "headquartered in Redmond, Washington"),
    ("test_mskanji.csv", "csv", "", "名前: 佐藤太郎; 年齢: 30; 住所: 東京"),
]


@pytest.mark.parametrize(("name", "kind", "title", "words"), REAL)
async def test_reads_real_files_in_a_child(documents_folder, name, kind, title, words):
    found = await extract((documents_folder / name).read_bytes(), filename=name, media_type="application/octet-stream")
    assert found.kind == kind
    assert words in found.text
    assert title is None or found.title == title
    assert found.spans
    for span in found.spans:
        assert found.text[span.start : span.end].strip()
    assert "\r" not in found.text
    assert "data:image" not in found.text
    assert "\ufffe" not in found.text


async def test_a_pdf_under_a_password_says_so(documents_folder):
    with pytest.raises(Encrypted) as refused:
        await extract((documents_folder / "libreoffice-writer-password.pdf").read_bytes(), filename="a.pdf", media_type="application/pdf")
    assert refused.value.message == "This PDF is protected by a password. Remove the password and upload it again."


async def test_the_bytes_decide_and_not_the_name(documents_folder):
    found = await extract((documents_folder / "test.docx").read_bytes(), filename="letter.pdf", media_type="application/pdf")
    assert found.kind == "docx"


@pytest.mark.parametrize("name", ["test.docx", "test.pptx", "test.xlsx", "test.epub", "test.pdf"])
async def test_half_a_file_is_damaged(documents_folder, name):
    content = (documents_folder / name).read_bytes()
    with pytest.raises(Damaged):
        await extract(content[: len(content) // 2], filename=name, media_type="")


async def test_an_office_file_of_noise_is_damaged():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("word/document.xml", "<not-xml")
    with pytest.raises(Damaged):
        await extract(made.getvalue(), filename="a.docx", media_type="")


def one_page_pdf(content: bytes = b"") -> bytes:
    """A page that holds a picture at most."""
    import pypdfium2

    document = pypdfium2.PdfDocument.new()
    document.new_page(200, 200)
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "name", "kind", "word"),
    [
        (b"", "a.txt", NoText, "empty"),
        (b" \n\t ", "a.txt", NoText, "empty"),
        (b"--- *** ---", "a.txt", NoText, "OCR"),
        (one_page_pdf(), "scan.pdf", NoText, "OCR"),
        (b"%PDF-1.7 and then nothing", "a.pdf", Damaged, "damaged"),
        (b"\x89PNG\r\n\x1a\n....", "a.png", UnsupportedType, "image"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1....", "a.doc", UnsupportedType, ".docx"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + "EncryptedPackage".encode("utf-16-le"), "a.docx", Encrypted, "password"),
        (b"{\\rtf1 hello}", "a.rtf", UnsupportedType, "RTF"),
        (b"\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00", "a.bin", UnsupportedType, "cannot be read"),
    ],
)
async def test_what_cannot_be_read_says_what_to_do(content, name, kind, word):
    with pytest.raises(kind) as refused:
        await extract(content, filename=name, media_type="application/octet-stream")
    assert word in refused.value.message
    assert refused.value.message.endswith(".")


def archive_of(**entries: bytes) -> bytes:
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name.replace("__", "/"), content)
    return made.getvalue()


async def test_archives_are_not_unpacked():
    with pytest.raises(UnsupportedType, match="Unpack"):
        await extract(archive_of(notes=b"hello"), filename="a.zip", media_type="application/zip")


async def test_a_bomb_is_refused_before_it_is_unpacked():
    bomb = archive_of(**{"word__document.xml": b"\0" * (401 * 1024 * 1024)})
    assert len(bomb) < 1024 * 1024
    with pytest.raises(TookTooMuchMemory):
        await extract(bomb, filename="a.docx", media_type="")


async def test_too_much_memory_ends_the_child_and_not_us():
    large = archive_of(**{"word__document.xml": b"<a>" + b"x" * (150 * 1024 * 1024) + b"</a>"})
    with pytest.raises(TookTooMuchMemory):
        await extract(large, filename="a.docx", media_type="", memory_bytes=220 * 1024 * 1024)


async def test_too_much_time_ends_the_child():
    words = " ".join(f"word{n}" for n in range(700_000)).encode()
    with pytest.raises(TookTooLong):
        await extract(words, filename="a.txt", media_type="", cpu_seconds=1)
    with pytest.raises(TookTooLong):
        await extract(words, filename="a.txt", media_type="", wall_seconds=0.2)


async def test_too_much_text_is_refused():
    with pytest.raises(TooMuchText):
        await extract(b"word " * 2_000_001, filename="a.txt", media_type="")


def test_the_child_knows_no_secret(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgresql://secret")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    assert not [value for value in caged.environment().values() if "secret" in value]


async def test_nobody_who_reads_files_is_loaded_here(documents_folder):
    """The libraries that read files live in the child alone."""
    for name in ("test.docx", "test.xlsx", "test_blog.html"):
        await extract((documents_folder / name).read_bytes(), filename=name, media_type="")
    import subprocess

    code = "import apps.knowledge.extraction, sys; print([m for m in ('magika','onnxruntime','mammoth','openpyxl','trafilatura','torch') if m in sys.modules])"
    out = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=caged.ROOT,
        env=caged.environment() | {"PATH": os.defpath},
    )
    assert out.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        (b"<!DOCTYPE html><html><body>x", "page", "html"),
        (b"<?xml version='1.0'?>\n<html xmlns='x'>", "page", "html"),
        (b"a,b\n1,2", "t.csv", "csv"),
        (b"# Title\n\ntext", "notes", "markdown"),
        (b"plain words", "notes", "text"),
        ("größe".encode("utf-16"), "notes.txt", "text"),
    ],
)
def test_sniffing(content, name, kind):
    assert sniff(content, filename=name, media_type="") == kind


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32", "cp1252", "shift_jis"])
def test_encodings(encoding):
    text = "名前は佐藤太郎です。住所は東京です。" * 3 if encoding == "shift_jis" else "Größe und Äpfel: schön, naïve café."
    assert read(text.encode(encoding), filename="a.txt", media_type="text/plain").text == text


@pytest.mark.parametrize("text", ["One.\n\nTwo  spaces,\ttab.\n  indented", "%PDF-1.7 is a header", "<html> is a tag"])
def test_text_that_came_as_text_is_not_changed(text):
    assert read(text.encode(), filename="", media_type="text/plain").text == text


async def test_an_unreadable_is_raised_from_the_thread_as_well():
    with pytest.raises(Unreadable):
        await extract(b"***", filename="", media_type="text/plain")
