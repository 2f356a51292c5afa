r"""Server-sent events, as bytes: where one ends, and what it says (WHATWG HTML, §9.2.6).

Events are cut out, not decoded: joined again they are the bytes that came in, so that a relay passes them on untouched.
Nothing here looks at characters, so UTF-8 that is split between two reads is none of its business.
"""

from __future__ import annotations

import re

from apps.gateway.errors import UpstreamCut

MAX_EVENT_BYTES = 8 * 1024 * 1024

# A line may end in \r\n, \n or \r, and an event ends in an empty line. The groups are atomic: a \r\n is never read as two ends.
BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
LINE = re.compile(rb"\r\n|\n|\r")


class EventSplitter:
    r"""Cuts a byte stream into events, wherever the reads happened to cut it.

    >>> splitter = EventSplitter()
    >>> splitter.feed(b"data: a\n\ndata: b\n"), splitter.feed(b"\n")
    ([b'data: a\n\n'], [b'data: b\n\n'])
    """

    __slots__ = ("_rest", "_seen")

    def __init__(self) -> None:
        self._rest = b""
        self._seen = 0  # how much of the rest is known to hold no boundary: long events are not searched again and again

    @property
    def rest(self) -> bytes:
        """What came after the last whole event."""
        return self._rest

    def feed(self, data: bytes) -> list[bytes]:
        """Give the events that are now whole, each with the empty line that ends it; raises UpstreamCut when one grows without end."""
        rest = self._rest + data if self._rest else data
        events: list[bytes] = []
        start, seen = 0, self._seen
        plain = b"\r" not in rest
        while True:
            if plain:
                end = rest.find(b"\n\n", seen) + 2
                if end == 1:
                    break
            else:
                match = BOUNDARY.search(rest, seen)
                # A \r at the very end may be half of a \r\n: the next read tells.
                if match is None or (match.end() == len(rest) and rest.endswith(b"\r")):
                    break
                end = match.end()
            events.append(rest[start:end])
            start = seen = end
        self._rest = rest[start:] if start else rest
        # The next boundary begins at most three bytes before what is not there yet.
        self._seen = max(0, len(self._rest) - 3)
        if len(self._rest) > MAX_EVENT_BYTES:
            raise UpstreamCut("The upstream sent an event that does not end.")
        return events


def data_of(event: bytes) -> bytes | None:
    r"""Give what an event says: its `data` lines, joined; None when it has none (a comment, a keep-alive).

    >>> data_of(b"event: error\r\ndata: {}\r\n\r\n")
    b'{}'
    >>> data_of(b": still there\n\n") is None
    True
    """
    if event.startswith(b"data: ") and event.count(b"\n") == 2 and b"\r" not in event:  # noqa: PLR2004 - the shape nearly every event has
        return event[6:-2]
    lines = [_value(line) for line in LINE.split(event) if line.startswith(b"data:") or line == b"data"]
    return b"\n".join(lines) if lines else None


def _value(line: bytes) -> bytes:
    value = line[5:]
    return value[1:] if value.startswith(b" ") else value
