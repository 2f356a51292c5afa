"""Cut a text into chunks that an embedding model can take whole, at the boundaries the text itself has.

Tokens are counted by the word pieces of the default model, all-MiniLM-L6-v2, which are those of `bert-base-uncased`. They lie beside this
file (`wordpieces.txt`, Apache-2.0, from google-research/bert), so that counting needs neither torch nor the model's weights, and a text is
cut alike on every machine. That model reads 256 pieces at most and forgets the rest in silence: two are its own marks, up to
`HEADING_TOKENS` are the document's title, which is embedded before each chunk, and the chunk has what remains with room to spare.
Models of other makers count by other pieces and read far more; chunks of this size suit them, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:  # loaded where something is cut: web only knows of it
    from semantic_text_splitter import MarkdownSplitter, TextSplitter
    from tokenizers import Tokenizer

CHUNK_TOKENS = (160, 200)
"""A chunk is full once it has the first, and never has more than the second."""

OVERLAP_TOKENS = 24
BLOCK_CHARACTERS = 16_000
LONGEST_CHARACTERS = 4_000
"""A "word" of more than 100 characters is one unknown token, however long; what has no boundaries (base64, say) is cut by this."""

HEADING_TOKENS = 48
HEADING_LONGEST_CHARACTERS = 400
WORDPIECES = Path(__file__).with_name("wordpieces.txt")


class Span(NamedTuple):
    """Where a chunk stands in its text, in characters, and how many tokens it has."""

    start: int
    end: int
    tokens: int


def chunk(text: str, *, markdown: bool = False) -> list[Span]:
    """The spans of a text's chunks, in order, overlapping by a sentence or so.

    >>> chunk("One sentence. Another.")
    [Span(start=0, end=22, tokens=5)]
    """
    cut = [
        (at + start, part)
        for at, block in blocks(text)
        for whole in splitter(markdown=markdown).chunk_indices(block)
        for start, part in bounded(*whole)
    ]
    counts = tokenizer().encode_batch_fast([piece for _, piece in cut], add_special_tokens=False)
    return [Span(start, start + len(piece), len(count.ids)) for (start, piece), count in zip(cut, counts, strict=True) if piece.strip()]


def blocks(text: str) -> Iterator[tuple[int, str]]:
    """The text in stretches of some five pages, each ending where a paragraph does if it can: the splitter's time grows with the square.

    >>> [len(block) for _, block in blocks("word. " * 5_000)]
    [15996, 14004]
    """
    at = 0
    while len(text) - at > BLOCK_CHARACTERS:
        least, most = at + BLOCK_CHARACTERS // 2, at + BLOCK_CHARACTERS
        ends = (text.rfind(mark, least, most) + len(mark) for mark in ("\n\n", "\n", ". ", " ") if text.rfind(mark, least, most) >= 0)
        end = next(ends, most)
        yield at, text[at:end]
        at = end
    yield at, text[at:]


def bounded(start: int, piece: str) -> list[tuple[int, str]]:
    """The piece in parts that are not longer than any sensible chunk; nearly always it is one."""
    if len(piece) <= LONGEST_CHARACTERS:
        return [(start, piece)]
    return [(start + at, piece[at : at + LONGEST_CHARACTERS]) for at in range(0, len(piece), LONGEST_CHARACTERS)]


def heading(title: str) -> str:
    """As much of a title as is embedded before each chunk of its document.

    >>> heading("How to raise a stone")
    'How to raise a stone'
    """
    title = " ".join(title.split())[:HEADING_LONGEST_CHARACTERS]
    encoded = tokenizer().encode(title, add_special_tokens=False)
    return title if len(encoded.ids) <= HEADING_TOKENS else title[: encoded.offsets[HEADING_TOKENS - 1][1]]


def count_tokens(text: str) -> int:
    """How many word pieces a text has."""
    return len(tokenizer().encode(text, add_special_tokens=False).ids)


@cache
def tokenizer() -> Tokenizer:
    """The word pieces of all-MiniLM-L6-v2, never truncating."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordPiece
    from tokenizers.normalizers import BertNormalizer
    from tokenizers.pre_tokenizers import BertPreTokenizer

    pieces = {piece: number for number, piece in enumerate(WORDPIECES.read_text(encoding="utf-8").splitlines())}
    found = Tokenizer(WordPiece(pieces, unk_token="[UNK]", max_input_chars_per_word=100))  # noqa: S106 - a token of another kind
    found.normalizer = BertNormalizer(clean_text=True, handle_chinese_chars=True, strip_accents=None, lowercase=True)
    found.pre_tokenizer = BertPreTokenizer()
    return found


@cache
def splitter(*, markdown: bool) -> MarkdownSplitter | TextSplitter:
    """The splitter for a text with Markdown's structure, or with none but its lines and sentences."""
    from semantic_text_splitter import MarkdownSplitter, TextSplitter

    kind = MarkdownSplitter if markdown else TextSplitter
    return kind.from_huggingface_tokenizer(tokenizer(), CHUNK_TOKENS, overlap=OVERLAP_TOKENS)
