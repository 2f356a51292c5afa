"""What an exception that nobody caught was about: the request after all, the database that is away, or ourselves."""

from __future__ import annotations

import psycopg
from django.core.exceptions import BadRequest, RequestDataTooBig, SuspiciousOperation
from django.db import DataError, InterfaceError, OperationalError
from django.http.multipartparser import MultiPartParserError

# Django's, and psycopg's own as procrastinate wraps them.
AWAY = (OperationalError, InterfaceError, psycopg.OperationalError, psycopg.InterfaceError)


def status_for(error: BaseException | None) -> int | None:
    r"""The status when the request is to blame, or the database is away for the moment (503); None when we are.

    The database keeps no U+0000 and no half of a surrogate pair, in whatever field they come. Where we expect them they are refused by
    name; this is for where we did not.

    >>> status_for(UnicodeEncodeError("utf-8", "\ud800", 0, 1, "surrogates not allowed")), status_for(ValueError())
    (400, None)
    """
    if isinstance(error, RequestDataTooBig):
        return 413
    if isinstance(error, BadRequest | SuspiciousOperation | MultiPartParserError | DataError | UnicodeEncodeError | RecursionError):
        return 400
    if isinstance(error, AWAY) or (error is not None and isinstance(error.__cause__, AWAY)):
        return 503
    return None
