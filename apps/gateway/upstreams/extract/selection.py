"""Which units of which passages answer a question.

Each unit is scored like a document of its own by BM25 (Robertson & Zaragoza 2009), with the words of its heading and of its
document's title counted in at a fraction; what covers more of the question counts more, what stands in a better passage a little
more. Then the best are taken one by one, near-duplicates left out, until the next is far behind the first, and are given in the order in
which they would be read.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import log

from apps.gateway.upstreams.extract.passages import Passage
from apps.gateway.upstreams.extract.sentences import Unit, units
from apps.gateway.upstreams.extract.words import words

K1 = 1.2
B = 0.5
HEADING_WEIGHT = 0.6
TITLE_WEIGHT = 0.25
PASSAGE_PRIOR = 0.3
CODE_WEIGHT = 0.6  # its words are names, and match by accident

MOST_UNITS_READ = 4_000
MOST_WEIGHED = 60
MOST_QUOTED = 4
MOST_CHARACTERS = 1_000
FAR_BEHIND = 0.45
NEXT_IN_LINE = 1.3
ALIKE = 0.6
LEAST_FIT = 0.3
MUCH_WORSE = 0.5
FEW_WORDS = 2
EARLIER_WEIGHT = 0.4
POINTS_BACK = re.compile(r"\b(it|its|that|this|they|them|those|these|one|ones|there|so|es|das|den|sie|ça|cela|eso|esto)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Quote:
    """A unit that is quoted, and where from."""

    unit: Unit
    passage: Passage
    order: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Candidate:
    """A unit with its words and how well it fits."""

    quote: Quote
    bag: frozenset[str]
    score: float
    fit: float


def select(question: str, passages: Sequence[Passage], *, earlier: Sequence[str] = ()) -> list[Quote]:
    """One to four quotes in reading order, or none where nothing fits.

    A question of hardly a word of its own that points back ("How do I revoke it?") is read together with the one before it.

    >>> passage = Passage("1", "Keys", "Keys open doors. To create a key, press New key. Lunch is at noon.")
    >>> [quote.unit.text for quote in select("How do I create a key?", [passage])]
    ['To create a key, press New key.']
    >>> select("Who won the match?", [passage])
    []
    """
    asked = dict.fromkeys(words(question), 1.0)
    if len(asked) < FEW_WORDS and earlier and POINTS_BACK.search(question):
        asked = {**dict.fromkeys(words(earlier[-1]), EARLIER_WEIGHT), **asked}
    if not asked:
        return []
    return sorted(_taken(_scored(asked, passages)), key=lambda quote: quote.order)


def _scored(asked: Mapping[str, float], passages: Sequence[Passage]) -> list[Candidate]:
    read = _read(passages)
    if not read:
        return []
    bags = [Counter(words(quote.unit.text)) for quote in read]
    headings = [frozenset(words(quote.unit.heading)) for quote in read]
    mean = sum(bag.total() for bag in bags) / len(bags) or 1.0
    having = {word: sum(word in bag or word in above for bag, above in zip(bags, headings, strict=True)) for word in asked}
    rarity = {word: emphasis * _idf(having[word], len(read)) for word, emphasis in asked.items()}
    # For whether a unit fits at all, a word that every unit has still says something: the passages were retrieved by it.
    rarest = _idf(0, len(read))
    weight = {word: 0.5 * emphasis + rarity[word] / rarest for word, emphasis in asked.items()}
    whole = sum(weight.values())
    scored = []
    places: Counter[tuple[int, str]] = Counter()
    for quote, bag, above in zip(read, bags, headings, strict=True):
        place = places[quote.order[0], quote.unit.heading]
        places[quote.order[0], quote.unit.heading] += 1
        if not any(word in bag or word in above for word in asked):
            continue
        title = words(quote.passage.title)
        counts = {word: bag[word] + HEADING_WEIGHT * (word in above) + TITLE_WEIGHT * (word in title) for word in asked}
        length = K1 * (1 - B + B * bag.total() / mean)
        bm25 = sum(rarity[word] * count * (K1 + 1) / (count + length) for word, count in counts.items())
        fit = sum(weight[word] * min(1.0, count) for word, count in counts.items()) / whole
        # Under a heading that asks the question itself, the answer begins with the first sentence.
        lead = 1 + sum(weight[word] for word in asked if word in above) / whole / (1 + place)
        prior = (1 + PASSAGE_PRIOR / (1 + quote.order[0])) * (CODE_WEIGHT if quote.unit.kind == "code" else 1)
        scored.append(Candidate(quote, frozenset(bag), bm25 * (0.5 + 0.5 * fit) * lead * prior, fit))
    return scored


def _read(passages: Sequence[Passage]) -> list[Quote]:
    """All that could be quoted, each text once: overlapping passages repeat themselves."""
    found: dict[str, Quote] = {}
    for at, passage in enumerate(passages):
        for position, unit in enumerate(units(passage.text)):
            found.setdefault(unit.text, Quote(unit, passage, (at, position)))
        if len(found) >= MOST_UNITS_READ:
            break
    return list(found.values())


def _idf(having: int, of: int) -> float:
    return log(1 + (of - having + 0.5) / (having + 0.5))


def _taken(candidates: list[Candidate]) -> list[Quote]:
    left = sorted((one for one in candidates if one.fit >= LEAST_FIT), key=lambda one: (-one.score, one.quote.order))[:MOST_WEIGHED]
    if not left:
        return []
    first = left.pop(0)
    taken = [first]
    while left and len(taken) < MOST_QUOTED:
        best = max(left, key=lambda one: (_worth(one, taken), [-place for place in one.quote.order]))
        left.remove(best)
        if _worth(best, taken) < FAR_BEHIND * first.score:
            break
        if best.fit < MUCH_WORSE * first.fit:
            continue
        characters = sum(len(one.quote.unit.text) for one in taken) + len(best.quote.unit.text)
        if characters <= MOST_CHARACTERS and not any(_alike(best.bag, one.bag) for one in taken):
            taken.append(best)
    return [one.quote for one in taken]


def _worth(candidate: Candidate, taken: Sequence[Candidate]) -> float:
    """The next sentence of a paragraph that is quoted already finishes its thought."""
    passage, position = candidate.quote.order
    follows = any(one.quote.order == (passage, position - 1) and one.quote.unit.block == candidate.quote.unit.block for one in taken)
    return candidate.score * (NEXT_IN_LINE if follows else 1.0)


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= ALIKE * max(1, len(one | other))
