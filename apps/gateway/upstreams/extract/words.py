"""Words as they are compared: small, without endings and without those that say nothing."""

from __future__ import annotations

import re
from importlib.resources import files

WORD = re.compile(r"[^\W_]+")
IDEOGRAPHS = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af\uf900-\ufaff]+")
SHORTEST_STEM = 3

# What questions are made of, in the languages our users ask in.
SILENT = frozenset(files(__package__).joinpath("silent.txt").read_text(encoding="utf-8").split())

# What a manual calls one way and its reader another; by stems.
SAME = {
    "mak": "creat",
    "generat": "creat",
    "remov": "delet",
    "edit": "chang",
    "modifi": "chang",
    "updat": "chang",
    "pric": "cost",
    "launch": "start",
    "login": "sign",
    "log": "sign",
}


def words(text: str) -> list[str]:
    r"""The words of a text in order, stemmed, one for those that mean the same; of scripts without spaces, its pairs of characters.

    >>> words("How do I create API keys?")
    ['creat', 'api', 'key']
    >>> words("\u521b\u5efa\u5bc6\u94a5")
    ['创建', '建密', '密钥']
    """
    found: list[str] = []
    for word in WORD.findall(text.casefold()):
        if word in SILENT:
            continue
        runs = () if word.isascii() else IDEOGRAPHS.findall(word)
        if runs:
            for run in runs:
                found.extend(run[at : at + 2] for at in range(max(1, len(run) - 1)))
        else:
            stemmed = stem(word)
            found.append(SAME.get(stemmed, stemmed))
    return found


def stem(word: str) -> str:
    """A light English stem: plurals, -ing, -ed, -ion and a final e go; words of other languages mostly stay as they are.

    >>> {stem(word) for word in ("create", "creates", "created", "creating", "creation")}
    {'creat'}
    >>> [stem(word) for word in ("keys", "policies", "stopped", "status", "this", "configuration", "configure")]
    ['key', 'polici', 'stop', 'status', 'thi', 'configur', 'configur']
    """
    if not word.isascii() or not word.isalpha():
        return word
    word = _without_plural(word)
    for ending in ("ing", "ed"):
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM and re.search("[aeiouy]", word[: -len(ending)]):
            word = word[: -len(ending)]
            if word[-1] == word[-2] and word[-1] not in "lsz":
                word = word[:-1]
            break
    if word.endswith(("tion", "sion")) and len(word) > SHORTEST_STEM + 3:
        word = word[:-3]
    if word.endswith("e") and len(word) > SHORTEST_STEM:
        word = word[:-1]
    if word.endswith("at") and len(word) > SHORTEST_STEM + 4:
        word = word[:-2]
    if word.endswith("y") and len(word) > SHORTEST_STEM:
        word = word[:-1] + "i"
    return word


def _without_plural(word: str) -> str:
    if len(word) <= SHORTEST_STEM:
        return word
    if word.endswith("ies"):
        return word[:-3] + "y"
    if word.endswith("sses"):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith(("ss", "us")) else word
