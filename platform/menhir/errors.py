"""The public errors of Menhir; rooms hang their own below these.

* MenhirError ............. never raised itself
  x Invalid ............... the caller must change the request; `param` names the field
  x Unauthenticated ....... nobody we know
  x Forbidden ............. known, and not allowed to
  x NotFound .............. absent, or another tenant's: the two look alike
  x Conflict .............. true at another time, not now
  x TooLarge .............. over a stated limit
  x Unsupported ........... a media type or a method we do not take
  x LimitReached .......... allowed, but not so often or so much
  x Unavailable ........... something behind us is away for now
  x TimedOut .............. something behind us took longer than it may

The docstring of a class is its default message. What a status is, is said once: in `STATUS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar


class MenhirError(Exception):
    """Something went wrong."""

    code: ClassVar[str] = "menhir_error"
    headers: Sequence[tuple[bytes, bytes]] = ()
    """What the answer says besides, such as when to try again."""

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().split("\n\n")[0]
        self.param = param
        super().__init__(self.message)


class Invalid(MenhirError):
    """The request cannot be understood."""

    code = "invalid_request"


class Unauthenticated(MenhirError):
    """Authentication is required."""

    code = "unauthenticated"


class Forbidden(MenhirError):
    """This is not allowed."""

    code = "forbidden"


class NotFound(MenhirError):
    """There is no such thing."""

    code = "not_found"


class Conflict(MenhirError):
    """The present state does not allow this."""

    code = "conflict"


class TooLarge(MenhirError):
    """This is larger than the limit."""

    code = "too_large"


class Unsupported(MenhirError):
    """This kind of content is not supported."""

    code = "unsupported"


class LimitReached(MenhirError):
    """A limit is reached."""

    code = "limit_reached"


class Unavailable(MenhirError):
    """A part of the platform is away for the moment. Try again shortly."""

    code = "unavailable"


class TimedOut(MenhirError):
    """This took longer than it may. Try again shortly."""

    code = "timed_out"


STATUS: dict[type[MenhirError], int] = {
    Invalid: 400,
    Unauthenticated: 401,
    Forbidden: 403,
    NotFound: 404,
    Conflict: 409,
    TooLarge: 413,
    Unsupported: 415,
    LimitReached: 429,
    Unavailable: 503,
    TimedOut: 504,
}


def status_of(error: MenhirError) -> int:
    """The HTTP status of an error: its own class's or the nearest ancestor's, 500 when none is listed.

    >>> class UnknownVariable(Invalid): ...
    >>> status_of(UnknownVariable("no"))
    400
    """
    return next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), 500)
