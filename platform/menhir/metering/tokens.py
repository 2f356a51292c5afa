"""Tokens from text, where nobody counted them.

A tokenizer of the upstream would be exact for one family of models and wrong for the next; a rule of thumb is wrong for all by
little, costs nothing, and is marked as an estimate wherever it is kept. OpenAI's own rule: four characters of English make a
token. Chinese, Japanese and Korean take about one token a character, other non-Latin scripts about one for two.
"""

from __future__ import annotations

import re

CHARACTERS_PER_TOKEN = 4
IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]")
BEYOND_LATIN = re.compile("[\u0250-\u303f\ua000-\uabff\ufb50-\uffff\U00010000-\U0010ffff]")


def of_characters(characters: int) -> int:
    """The tokens of so many characters of English, rounded up.

    >>> of_characters(0), of_characters(1), of_characters(400)
    (0, 1, 100)
    """
    return -(-characters // CHARACTERS_PER_TOKEN)


def of_text(text: str) -> int:
    r"""The tokens of a text, by the scripts it is written in.

    >>> of_text("How do I create an API key?")
    7
    >>> of_text("\u5982\u4f55\u521b\u5efa")
    4
    """
    if text.isascii():
        return of_characters(len(text))
    ideographs = len(IDEOGRAPHS.findall(text))
    beyond = len(BEYOND_LATIN.findall(text))
    return ideographs + -(-beyond // 2) + of_characters(len(text) - ideographs - beyond)
