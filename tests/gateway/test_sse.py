"""Where events end, wherever the network happened to cut them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gateway import sse
from apps.gateway.errors import UpstreamCut
from apps.gateway.sse import EventSplitter, data_of

LINE_ENDS = st.sampled_from([b"\n", b"\r\n", b"\r"])
LINES = st.sampled_from(
    [b"data: {}", b"data:x", b": ping", b"event: error", "data: „naïve“ 石 🪨".encode(), b"data: [DONE]", b"id: 1", b"data"]
)


@st.composite
def streams(draw: st.DrawFn) -> bytes:
    """Lines with any ends, empty lines among them, perhaps without an end at the end."""
    parts = draw(st.lists(st.tuples(st.one_of(LINES, st.just(b"")), LINE_ENDS), max_size=20))
    return b"".join(line + end for line, end in parts) + draw(st.sampled_from([b"", b"data: cut of"]))


@st.composite
def split_streams(draw: st.DrawFn) -> tuple[bytes, list[bytes]]:
    """A stream, and the same in pieces."""
    whole = draw(streams())
    cuts = sorted(draw(st.sets(st.integers(0, len(whole)), max_size=30)))
    return whole, [whole[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def feed(pieces: list[bytes]) -> tuple[list[bytes], bytes]:
    splitter = EventSplitter()
    events = [event for piece in pieces for event in splitter.feed(piece)]
    return events, splitter.rest


@given(split_streams())
def test_any_split_gives_the_same_events(case: tuple[bytes, list[bytes]]):
    whole, pieces = case
    assert feed(pieces) == feed([whole])
    assert feed([whole[i : i + 1] for i in range(len(whole))]) == feed([whole])


@given(split_streams())
def test_no_byte_is_lost_or_changed(case: tuple[bytes, list[bytes]]):
    whole, pieces = case
    events, rest = feed(pieces)
    assert b"".join(events) + rest == whole


@given(split_streams(), st.integers(0, 3))
def test_a_byte_order_mark_is_no_part_of_the_first_event(case: tuple[bytes, list[bytes]], cut: int):
    whole, pieces = case
    assert feed([sse.MARK[:cut], sse.MARK[cut:], *pieces]) == feed([whole])
    assert feed([sse.MARK + whole]) == feed([whole])


@given(streams())
def test_an_event_ends_in_an_empty_line_and_holds_no_other(whole: bytes):
    events, _rest = feed([whole])
    for event in events:
        lines = event.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        assert lines.endswith(b"\n\n") or lines == b"\n"
        assert b"\n\n" not in lines.lstrip(b"\n")[:-1].rstrip(b"\n")


@pytest.mark.parametrize(
    ("event", "said"),
    [
        (b"data: a\n\n", b"a"),
        (b"data:a\n\n", b"a"),
        (b"data:  a\r\n\r\n", b" a"),
        (b"data: a\ndata: b\n\n", b"a\nb"),
        (b"event: error\nid: 7\ndata: {}\n\n", b"{}"),
        (b"\r\rdata: late\r\r", b"late"),
        (b"data\n\n", b""),
        (b": ping\n\n", None),
        (b"dataset: no\n\n", None),
        (b"\n\n", None),
    ],
)
def test_what_an_event_says(event: bytes, said: bytes | None):
    assert data_of(event) == said


def test_an_event_without_end_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 100)
    splitter = EventSplitter()
    splitter.feed(b"data: " + b"x" * 90)
    with pytest.raises(UpstreamCut):
        splitter.feed(b"x" * 10)


def test_a_long_event_in_small_reads_is_searched_once():
    """Not again from its beginning with each read, which would be quadratic; nor copied."""
    splitter = EventSplitter()
    splitter.feed(b"data: ")
    growing = splitter._rest
    for _ in range(2000):
        assert splitter.feed(b"x" * 500) == []
    assert splitter._rest is growing
    assert splitter._seen >= 2000 * 500 - 3
    assert len(splitter.feed(b"\n\n")) == 1
