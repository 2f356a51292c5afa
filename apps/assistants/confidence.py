"""How far an answer is supported by the passages it cites: a number from 0 to 1 that says what it means.

It is the product of two shares, both of content words (stop words and endings removed, English and German):

- *coverage*: of the question's words, those that occur in the cited passages. A passage that does not even speak of what was asked
  supports no answer to it.
- *groundedness*: of the answer's words beyond the question's own, those that occur in the cited passages. What the model added of its
  own lowers it; a verbatim quotation has 1.

Without a citation there is no support, and the confidence is 0. It is lexical overlap, not a probability that the answer
is true: a paraphrase scores lower than a quotation that is as right, and retrieval scores, which mean nothing across
queries, are left out.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final

CITATION: Final = re.compile(r"\[(\d{1,3})\]")
WORD: Final = re.compile(r"\w+")
ENDINGS: Final = re.compile(r"(?<=\w{3})(?:ing|ings|ed|ion|ions|es|s|e|ly|en|er|ern)$")
ENGLISH: Final = """
a about after all also an and any are as at be because been before being but by can could did do does doing for from had has have having
he her here him his how i if in into is it its just me more most my no not of off on once one only or other our out over own please she
should so some such than that the their them then there these they this those through to too under until up us very was we were what
when where which while who whom whose why will with would you your
"""
GERMAN: Final = """
aber alle als am an auch auf aus bei bin bis das dass dein dem den der des die dies diese dieser dieses doch du durch ein eine einem
einen einer eines er es euch für gibt habe haben hat hatte ich ihr im in ist ja kann kein keine können man mein mich mir mit muss nach
nicht noch nur ob oder ohne sein sich sie sind so soll über um und uns unter vom von vor war was wenn wer werden wie wird wir wo zu zum
zur
"""
STOP_WORDS: Final = frozenset((ENGLISH + GERMAN).split())


def confidence(question: str, answer: str, passages: Sequence[str]) -> float:
    """Rate an answer that cites `passages` by their numbers, the first being `[1]`.

    >>> confidence("Where are API keys made?", "API keys are made in the console [1].", ["API keys are made in the console."])
    1.0
    >>> confidence("Where are API keys made?", "API keys are made in the console.", ["API keys are made in the console."])
    0.0
    >>> confidence("Who won the match?", "API keys are made in the console [1].", ["API keys are made in the console."])
    0.0
    """
    support = words(" ".join(passages[number - 1] for number in cited(answer, len(passages))))
    if not support:
        return 0.0
    asked = words(question)
    coverage = len(asked & support) / len(asked) if asked else 1.0
    said = words(CITATION.sub(" ", answer)) - asked
    groundedness = len(said & support) / len(said) if said else 1.0
    return round(coverage * groundedness, 3)


def cited(answer: str, count: int) -> list[int]:
    """Give the numbers that the answer cites, of those that exist, each once.

    >>> cited("So [2]. And so [1][2], but not [9].", 3)
    [2, 1]
    """
    numbers = (int(match[1]) for match in CITATION.finditer(answer))
    return list(dict.fromkeys(number for number in numbers if 1 <= number <= count))


def words(text: str) -> set[str]:
    """Give the content words of a text, without endings, so that `keys` and `key` are one.

    >>> sorted(words("How are the keys created?"))
    ['creat', 'key']
    """
    found = (match[0].casefold() for match in WORD.finditer(text))
    return {ENDINGS.sub("", word) if len(word) > 3 else word for word in found if word not in STOP_WORDS}  # noqa: PLR2004
