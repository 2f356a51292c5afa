r"""Server-sent events, as bytes: where one ends, and what it says (WHATWG HTML, §9.2.6).

Events are cut out, not decoded: joined again they are the bytes that came in, so that a relay passes them on untouched.
Nothing here looks at characters, so UTF-8 that is split between two reads is none of its business.
"""

from __future__ import annotations

import re

from apps.gateway.errors import UpstreamCut

MAX_EVENT_BYTES = 64 * 1024 * 1024
"""As much as a whole answer may have: a picture comes in one event. It is held once while it grows, and for a moment twice."""
MARK = b"\xef\xbb\xbf"
"""The byte order mark, which a stream may begin with and nobody reads."""

# A line may end in \r\n, \n or \r, and an event ends in an empty line. The groups are atomic: a \r\n is never read as two ends.
BOUNDARY = re.compile(rb"(?>\r\n|\n|\r)(?>\r\n|\n|\r)")
LINE = re.compile(rb"\r\n|\n|\r")


class EventSplitter:
    r"""Cuts a byte stream into events, wherever the reads happened to cut it.

    >>> splitter = EventSplitter()
    >>> splitter.feed(b"data: a\n\ndata: b\n"), splitter.feed(b"\n")
    ([b'data: a\n\n'], [b'data: b\n\n'])
    """

    __slots__ = ("_begun", "_plain", "_rest", "_seen")

    def __init__(self) -> None:
        self._begun = False
        self._rest: bytes | bytearray = b""
        self._plain = True
        """The rest holds no \\r."""
        self._seen = 0
        """How much of it is known to hold no boundary: long events are not searched, nor copied, again and again."""

    @property
    def rest(self) -> bytes:
        """What came after the last whole event."""
        return bytes(self._rest)

    def feed(self, data: bytes) -> list[bytes]:
        """Give the events that are now whole, each with the empty line that ends it; raises UpstreamCut when one grows without end."""
        if not self._begun:
            data = self._opened(data)
        plain = self._plain and b"\r" not in data
        rest: bytes | bytearray = data
        whole = data
        if self._rest:
            self._rest += data  # grows where it is: to put a long event together anew with each read would take a second for each megabyte
            rest = self._rest
        events: list[bytes] = []
        start, seen = 0, self._seen
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
            if not start and rest is not data:
                whole = bytes(rest)
            events.append(whole[start:end])
            start = seen = end
        if start == len(rest):
            self._rest, self._plain, self._seen = b"", True, 0
        else:
            self._keep(rest, start, plain=plain)
        return events

    def _keep(self, rest: bytes | bytearray, start: int, *, plain: bool) -> None:
        """Keep what begins at `start` until more of it comes."""
        if start:
            rest = rest[start:]
            plain = plain or b"\r" not in rest
        if len(rest) > MAX_EVENT_BYTES:
            raise UpstreamCut("The upstream sent an event that does not end.")
        self._rest = bytearray(rest) if isinstance(rest, bytes) else rest
        self._plain = plain
        # The next boundary begins at most three bytes before what is not there yet.
        self._seen = max(0, len(rest) - 3)

    def _opened(self, data: bytes) -> bytes:
        """Take the mark off the beginning, however it was cut."""
        start = bytes(self._rest) + data
        self._begun = len(start) >= len(MARK) or not MARK.startswith(start)
        self._rest = b"" if self._begun else bytearray(start)
        return start.removeprefix(MARK) if self._begun else b""


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
