"""What a request says in its headers, read in one pass: asking the list again for each name was dearer than the rest of admission."""

from __future__ import annotations

import re
from collections.abc import MutableMapping
from typing import Any, Final

import msgspec

from menhir.telemetry.requests import new_request_id

Scope = MutableMapping[str, Any]

REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
MOST_DIGITS: Final = 3


class Asked(msgspec.Struct):
    """The headers that mean something here; of several of one name the first."""

    request_id: bytes = b""
    """The client's own when it is a plain word, else a new one."""
    authorization: bytes | None = None
    api_key: bytes | None = None
    """Where Anthropic's clients put their key."""
    content_length: bytes | None = None
    idempotency_key: bytes | None = None
    cache_control: bytes | None = None
    retry_count: bytes | None = None
    """How often the client itself has tried before, as the official clients say."""
    traceparent: bytes | None = None
    anthropic_version: bytes | None = None
    """Who names one speaks Anthropic's wire, at paths that both wires have, too."""
    anthropic_beta: bytes | None = None
    organization: bytes | None = None
    """Which tenant a token is for, by its short name; to a key it says nothing new."""

    @property
    def retries(self) -> int:
        """The client's own earlier tries."""
        given = self.retry_count
        return int(given) if given is not None and given.isdigit() and len(given) <= MOST_DIGITS else 0


FIELDS: Final = {
    b"x-request-id": "request_id",
    b"authorization": "authorization",
    b"x-api-key": "api_key",
    b"content-length": "content_length",
    b"idempotency-key": "idempotency_key",
    b"cache-control": "cache_control",
    b"x-stainless-retry-count": "retry_count",
    b"traceparent": "traceparent",
    b"anthropic-version": "anthropic_version",
    b"anthropic-beta": "anthropic_beta",
    b"openai-organization": "organization",
}


def read(scope: Scope) -> Asked:
    """Read a request's headers.

    >>> asked = read({"headers": [(b"authorization", b"Bearer a"), (b"x-stainless-retry-count", b"2"), (b"accept", b"*/*")]})
    >>> asked.authorization, asked.retries, asked.content_length
    (b'Bearer a', 2, None)
    """
    said: dict[str, bytes] = {}
    for name, value in scope["headers"]:
        field = FIELDS.get(name)
        if field is not None and not said.get(field):
            said[field] = value
    asked = Asked(**said)
    if not asked.request_id or not REQUEST_ID.fullmatch(asked.request_id):
        asked.request_id = new_request_id().encode()
    return asked
