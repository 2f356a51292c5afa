"""Who may upload at all, asked before a byte of a body is read: the doors of files take a hundred megabytes, to disk, before a view runs.

Only whether somebody is there who could be admitted is asked; what he may do, and where, is for the view to say.
"""

from __future__ import annotations

from collections.abc import MutableMapping
from typing import Any, Final

from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.sessions.backends.db import SessionStore
from django.http import parse_cookie

from menhir.errors import Unauthenticated, Unavailable
from menhir.postgres import pools, sql
from menhir.tenancy.authentication import principal_of_key
from menhir.wiring.bounds import FORMS, UPLOADS

MOST_SESSION_CHARACTERS: Final = 40
FIND_SESSION = sql.load(__package__, "find_session")

Scope = MutableMapping[str, Any]


async def is_nobody(scope: Scope) -> bool:
    """Whether a file would come from somebody who shows neither a key nor a session that is live. False at every other door."""
    if _header(scope, b"content-length") in {"", "0"} and not _header(scope, b"transfer-encoding"):
        return False
    try:
        if UPLOADS.match(scope["path"]):
            return not await _holds_key(scope)
        if FORMS.match(scope["path"]):
            return not await _is_signed_in(scope)
    except Unavailable:  # the view says so, too, and needs no body for it
        return True
    return False


async def _holds_key(scope: Scope) -> bool:
    kind, _, given = _header(scope, b"authorization").partition(" ")
    if kind.lower() != "bearer":
        return False
    try:
        await principal_of_key(given.strip())
    except Unauthenticated:
        return False
    return True


async def _is_signed_in(scope: Scope) -> bool:
    session_key = parse_cookie(_header(scope, b"cookie")).get(settings.SESSION_COOKIE_NAME, "")
    if not 0 < len(session_key) <= MOST_SESSION_CHARACTERS or not session_key.isalnum():
        return False
    async with pools.app.connection() as connection:
        row = await FIND_SESSION.one(connection, session_key=session_key)
    return row is not None and SESSION_KEY in SessionStore().decode(row.session_data)


def _header(scope: Scope, wanted: bytes) -> str:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), "")
