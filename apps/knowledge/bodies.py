"""What a PUT of a document may bring: JSON with its text, a form with its file, or the file itself.

| Content-Type          | body                                                                                     |
|-----------------------|------------------------------------------------------------------------------------------|
| `application/json`    | `{"title": …, "text": …, "metadata": {…}}`                                                 |
| `multipart/form-data` | a part `file`, and parts `title` and `metadata` (JSON) if wanted                           |
| anything else         | the file's bytes; its name by `Content-Disposition` or at the end of the external id, a title by `?title=` |
"""

from __future__ import annotations

import json
from email.message import Message
from typing import Any, Final

from django.conf import settings
from django.core.exceptions import RequestDataTooBig, TooManyFieldsSent
from django.http import HttpRequest
from django.http.multipartparser import MultiPartParser, MultiPartParserError
from pydantic import BaseModel, ConfigDict, StrictStr, ValidationError

from apps.knowledge.errors import BadUpload, UploadTooLarge
from apps.knowledge.intake import Upload

OVERHEAD_BYTES = 1024 * 1024
"""What a form or JSON may have around the file itself."""

UPLOAD_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["text"],
                    "properties": {"title": {"type": "string"}, "text": {"type": "string"}, "metadata": {"type": "object"}},
                }
            },
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "title": {"type": "string"},
                        "metadata": {"type": "string", "description": "JSON"},
                    },
                }
            },
            "application/octet-stream": {"schema": {"type": "string", "format": "binary"}},
        },
    }
}
"""For the OpenAPI document: Ninja cannot see these, as they are read by hand."""


class TextIn(BaseModel):
    """A document as its text."""

    model_config = ConfigDict(extra="forbid")

    text: StrictStr
    title: StrictStr = ""
    metadata: dict[str, Any] | None = None

    def upload(self, external_id: str) -> Upload:
        """As an upload of text that has no file, and so is text whatever it looks like."""
        content = self.text.replace("\x00", "").encode("utf-8", errors="replace")
        return Upload(external_id, content, media_type="text/plain", title=self.title, metadata=self.metadata)


def upload_of(request: HttpRequest, external_id: str) -> Upload:
    """The document in a request. Raises UploadTooLarge as soon as its length says so, BadUpload for what cannot be read."""
    limit = settings.MENHIR_UPLOAD_LIMIT_BYTES
    if declared(request) > limit + OVERHEAD_BYTES:
        raise too_large(limit)
    try:
        if request.content_type == "application/json":
            return of_json(request.body, external_id)
        if request.content_type == "multipart/form-data":
            return of_form(request, external_id)
        content = request.body
    except RequestDataTooBig as e:
        raise too_large(limit) from e
    if len(content) > limit:
        raise too_large(limit)
    return Upload(
        external_id,
        content,
        filename=named(request.headers.get("Content-Disposition", "")) or external_id.rsplit("/", 1)[-1],
        media_type=request.content_type or "",
        title=request.GET.get("title", ""),
    )


def declared(request: HttpRequest) -> int:
    """The length that the request says it has; 0 when it says none."""
    length = request.headers.get("Content-Length") or "0"
    return int(length) if length.isdigit() else 0


def too_large(limit: int) -> UploadTooLarge:
    """The refusal, with the limit in it."""
    return UploadTooLarge(f"An upload may have {limit:,} bytes at most.", param="content")


def of_json(body: bytes, external_id: str) -> Upload:
    """A document as JSON."""
    try:
        return TextIn.model_validate_json(body).upload(external_id)
    except ValidationError as e:
        problem = e.errors()[0]
        field = ".".join(str(part) for part in problem["loc"]) or None
        raise BadUpload(f"{field}: {problem['msg']}" if field else problem["msg"], param=field) from e


def of_form(request: HttpRequest, external_id: str) -> Upload:
    """A document as a form; Django parses forms of POST alone by itself."""
    try:
        fields, files = MultiPartParser(request.META, request, request.upload_handlers, request.encoding or "utf-8").parse()
    except (MultiPartParserError, TooManyFieldsSent) as e:
        raise BadUpload(f"The form cannot be read: {e}") from e
    file = files.get("file")
    if file is None:
        raise BadUpload("The form has no part named file.", param="file")
    if (file.size or 0) > settings.MENHIR_UPLOAD_LIMIT_BYTES:
        raise too_large(settings.MENHIR_UPLOAD_LIMIT_BYTES)
    return Upload(
        external_id,
        file.read(),
        filename=file.name or "",
        media_type=file.content_type or "",
        title=str(fields.get("title", "")),
        metadata=object_of(str(fields.get("metadata", ""))),
    )


def object_of(text: str) -> dict[str, Any] | None:
    """The JSON object in a form's field, None when it is empty.

    >>> object_of('{"year": 2026}'), object_of("")
    ({'year': 2026}, None)
    """
    if not text:
        return None
    try:
        found = json.loads(text)
    except ValueError as e:
        raise BadUpload("metadata is not JSON.", param="metadata") from e
    if not isinstance(found, dict):
        raise BadUpload("metadata is not a JSON object.", param="metadata")
    return found


def named(disposition: str) -> str:
    """The file name in a Content-Disposition header, or nothing.

    >>> named('attachment; filename="report.pdf"')
    'report.pdf'
    """
    message = Message()
    message["Content-Disposition"] = disposition.encode("ascii", errors="ignore").decode()
    return message.get_filename("") or ""
