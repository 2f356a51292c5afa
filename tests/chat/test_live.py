"""Finished blocks stay still, and what was streamed is what a reload shows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import example, given, settings
from hypothesis import strategies as st

from apps.chat.live import LiveText, split
from apps.chat.markdown import render
from apps.chat.sources import Source

SOURCES = {1: Source(href="/d/1", title="One"), 2: Source(href="/d/2", title="Two")}
LINES = st.sampled_from([
    "", " ", "Some words", "more *words* [1]", "# Title", "#", "Title", "===", "---", "***", "- item", "- ", "-", "* star", "1. one", "2. two", "3)", "   indented",
    "    code", "\ttab", "```", "```py", "~~~", "````", "```a`b", "> quote", ">", "> - deep", "| a | b |", "|---|--:|", "| 1 | 2 |", "[1]: https://x.y", "[1], [2]",
    "<div>", "<!-- x -->", "$$", "x_1 $a_b$", "![i](https://x.y/z.png)", "  - nested", "  > nested", "\\", "&amp; `code`", "a  ", "**bold", "**", "😀 ü",
])  # fmt: skip
TEXTS = st.lists(LINES, max_size=24).flatmap(lambda lines: st.sampled_from(["\n", "\r\n"]).map(lambda end: end.join(lines)))


def pieces_of(text: str, cuts: list[int]) -> list[str]:
    places = sorted({0, len(text), *(cut % (len(text) + 1) for cut in cuts)})
    return [text[start:end] for start, end in pairwise(places)]


@settings(max_examples=1500, deadline=None)
@given(text=TEXTS, cuts=st.lists(st.integers(min_value=0, max_value=2000), max_size=30))
@example(text="a\r\nb", cuts=[2])
@example(text="```\ncode\n```\nafter", cuts=[4, 9])
@example(text="para\n#", cuts=[5])
def test_streamed_blocks_are_final_and_add_up_to_the_whole(text: str, cuts: list[int]):
    live = LiveText(SOURCES)
    seen: list[str] = []
    for piece in pieces_of(text, cuts):
        live.feed(piece)
        live.advance()
        assert live.finished[: len(seen)] == seen
        seen = list(live.finished)
    at_once = LiveText(SOURCES)
    at_once.feed(text)
    at_once.advance()
    assert at_once.finished == live.finished
    assert "".join(live.finished_html()) + live.open_html == render(text.removesuffix("\r"), SOURCES)


def test_a_code_block_is_open_until_its_fence_is_closed():
    text = "```py\n" + "x = 1\n" * 500
    assert split(text) == [text]
    assert split(text + "```\n\nafter\n") == [text + "```\n\n", "after\n"]


def test_html_from_a_block_on():
    live = LiveText()
    live.feed("one\n\ntwo\n\nthree")
    live.feed(" more\n")
    live.advance()
    assert live.finished_html(1) == ["<p>two</p>\n"]
    assert live.open_html == "<p>three more</p>\n"
