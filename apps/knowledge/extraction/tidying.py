"""What any extracted text goes through before it is cut: after this, spans are final."""

from __future__ import annotations

import re

CONTROLS = dict.fromkeys([*range(9), 11, 12, *range(14, 32), 127, 0xFEFF, 0xFFFE, 0xFFFF, 0x00AD])
"""Never text: controls but tab and newline, byte order marks, soft hyphens. Postgres refuses U+0000."""

SURROGATES = re.compile("[\ud800-\udfff]")
TRAILING = re.compile(r"[ \t\u00a0]+$", re.MULTILINE)
BLANKS = re.compile(r"\n{4,}")


def tidy(text: str) -> str:
    r"""The text with one kind of line end, nothing unprintable, and no gaps of many lines.

    >>> tidy("a\r\nb \x00\n\n\n\n\n\nc")
    'a\nb\n\n\nc'
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n").translate(CONTROLS)
    text = SURROGATES.sub("\ufffd", text)
    text = TRAILING.sub("", text)
    return BLANKS.sub("\n\n\n", text).strip("\n")


def one_line(text: str, *, longest: int) -> str:
    r"""The text as a title: one line, cut at a word.

    >>> one_line("A  long\n title of things", longest=12)
    'A long title'
    """
    words = " ".join(tidy(text).split())
    return words if len(words) <= longest else (words[: longest + 1].rpartition(" ")[0] or words[:longest])
