"""What can go wrong with knowledge.

* MenhirError
  x Unreadable ............... the document itself is at fault: a failed document, its sentence shown to whoever uploaded it
    + Encrypted                 a password stands before it
    + Damaged                   it says that it is one thing, and cannot be read as that
    + NoText                    nothing in it can be read as text
    + UnsupportedType           a kind of file that we do not read
    + TooMuchText               more than one document may hold
    + TookTooLong               reading it passed its time
    + TookTooMuchMemory         reading it passed its memory
  x EmbeddingRefused ......... the embedding model will never take it as asked: a failed document
  x EmbeddingBusy ............ the embedding model is away or full: worth another try
  x UploadTooLarge ........... over the limit of an upload, refused at the door
  x UnknownCollection, UnknownDocument

The docstring of a class is what a person reads, so each says what to do next.
"""

from __future__ import annotations

from menhir.errors import Conflict, Invalid, MenhirError, NotFound, TooLarge, Unavailable


class Unreadable(MenhirError):
    """This document could not be read. Check that it opens on your computer and upload it again."""

    code = "document_unreadable"


class Encrypted(Unreadable):
    """This document is protected by a password. Remove the password and upload it again."""

    code = "document_encrypted"


class Damaged(Unreadable):
    """This document is damaged and cannot be opened. Check that it opens on your computer and upload it again."""

    code = "document_damaged"


class NoText(Unreadable):
    """No text was found in this document. If it is a scan, run text recognition (OCR) on it and upload the result."""

    code = "document_without_text"


class UnsupportedType(Unreadable):
    """This kind of file cannot be read. Upload PDF, Word, PowerPoint, Excel, EPUB, HTML, Markdown, CSV or plain text."""

    code = "document_type_unsupported"


class TooMuchText(Unreadable):
    """This document holds more text than one document may. Split it into parts and upload them one by one."""

    code = "document_too_much_text"


class TookTooLong(Unreadable):
    """Reading this document took too long. Split it into parts and upload them one by one."""

    code = "document_took_too_long"


class TookTooMuchMemory(Unreadable):
    """Reading this document took too much memory. Split it into parts, or save it anew in a simpler form, and upload that."""

    code = "document_took_too_much_memory"


UNREADABLE: dict[str, type[Unreadable]] = {
    kind.code: kind for kind in (Unreadable, Encrypted, Damaged, NoText, UnsupportedType, TooMuchText, TookTooLong, TookTooMuchMemory)
}
"""By code: how an error crosses from the child process that read the document."""


class EmbeddingRefused(MenhirError):
    """The embedding model refused this document."""

    code = "embedding_refused"


class EmbeddingBusy(Unavailable):
    """The embedding model is not answering. Try again shortly."""

    code = "embedding_busy"


class UploadTooLarge(TooLarge):
    """This upload is larger than the limit."""

    code = "upload_too_large"


class UnknownCollection(NotFound):
    """There is no such collection."""

    code = "unknown_collection"


class UnknownDocument(NotFound):
    """There is no such document."""

    code = "unknown_document"


class CollectionExists(Conflict):
    """A collection of this slug exists already."""

    code = "collection_exists"


class BadUpload(Invalid):
    """This upload cannot be understood."""

    code = "bad_upload"
