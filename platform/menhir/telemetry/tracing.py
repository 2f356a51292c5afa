"""Where a call stands in its caller's trace (W3C Trace Context): read from `traceparent`, and sent on to whoever is asked for it.

While nobody exports, the caller's own header travels on as it came, and a call without one has none. While somebody does
(`menhir.telemetry.otel`), each call is a span of its own: it begins with a new id, and that id travels on.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from random import getrandbits

import msgspec

FORM = re.compile(rb"(?!ff)[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:-.*)?")
SAMPLED = 1
TRACE_BITS, SPAN_BITS = 128, 64


class Trace(msgspec.Struct, frozen=True):
    """A place in a trace."""

    trace_id: int
    span_id: int
    parent_id: int | None
    """Whoever called us; None for the first of a trace."""
    sampled: bool

    @property
    def header(self) -> str:
        """What whoever we call is told.

        >>> Trace(1, 2, None, True).header
        '00-00000000000000000000000000000001-0000000000000002-01'
        """
        return f"00-{self.trace_id:032x}-{self.span_id:016x}-{int(self.sampled):02x}"


Sampler = Callable[[int, int | None, bool], bool]
sampler: list[Sampler] = []
"""Who says whether a span is kept, given its trace, its caller and whether he keeps his; nobody while nothing is exported."""


def begin(traceparent: bytes | None) -> Trace | None:
    """The place of a call whose caller said this.

    >>> begin(b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01").header
    '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
    >>> begin(b"nonsense") is begin(None) is None
    True
    """
    said = _read(traceparent) if traceparent is not None else None
    if not sampler:
        return said
    trace_id, parent_id, kept = (said.trace_id, said.span_id, said.sampled) if said is not None else (_new(TRACE_BITS), None, False)
    return Trace(trace_id, _new(SPAN_BITS), parent_id, sampler[0](trace_id, parent_id, kept))


def below(trace: Trace) -> Trace:
    """The place of a part of that call: a leg or a shadow."""
    return Trace(trace.trace_id, _new(SPAN_BITS), trace.span_id, trace.sampled)


def _read(traceparent: bytes) -> Trace | None:
    found = FORM.fullmatch(traceparent)
    if found is None:
        return None
    trace_id, span_id = int(found[1], 16), int(found[2], 16)
    if not trace_id or not span_id:
        return None
    return Trace(trace_id, span_id, None, bool(int(found[3], 16) & SAMPLED))


def _new(bits: int) -> int:
    return getrandbits(bits) or 1
