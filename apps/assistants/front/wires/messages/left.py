"""What is left of the caller's limits, in the headers that Anthropic's clients know."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from apps.assistants.front.reply import Headers

OURS: Final = re.compile(rb"x-ratelimit-(limit|remaining|reset)-(requests|tokens)")
SPAN: Final = re.compile(r"(\d+)(ms|d|h|m|s)")
UNITS: Final = {"ms": "milliseconds", "s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def headers_of(headers: Sequence[tuple[bytes, bytes]], *, now: datetime) -> Headers:
    """Say again what the `x-ratelimit-*` among these headers say; a window ends at a time there, not after one.

    >>> from datetime import UTC
    >>> headers_of([(b"x-ratelimit-reset-tokens", b"1m5s"), (b"date", b"")], now=datetime(2026, 1, 1, tzinfo=UTC))
    [(b'anthropic-ratelimit-tokens-reset', b'2026-01-01T00:01:05Z')]
    """
    found = [(match, value) for name, value in headers if (match := OURS.fullmatch(name)) is not None]
    return [
        (b"anthropic-ratelimit-%b-%b" % (match[2], match[1]), _at(value, now) if match[1] == b"reset" else value) for match, value in found
    ]


def _at(span: bytes, now: datetime) -> bytes:
    wait = timedelta(**{UNITS[unit]: int(number) for number, unit in SPAN.findall(span.decode("latin-1"))})
    # To the second, and never before the window is over.
    end = now + wait + timedelta(microseconds=999_999)
    return end.replace(microsecond=0).isoformat().replace("+00:00", "Z").encode()
