"""Personal data by its form and its check digits: no model, no network, some microseconds for a sentence.

Each kind has a candidate (a regular expression with bounded length) and a proof by a library that is kept for that: `phonenumbers`
for phones, `python-stdnum` for IBANs, credit cards (Luhn), US social security numbers and German tax ids. A number that fails its
proof is not personal data; one that passes by chance is taken for it.

Whether something is found depends on the text around it alone, never on how the text was cut: see `held`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from ipaddress import ip_address
from typing import ClassVar

from apps.gateway.guardrails.budget import Budget, Exhausted
from apps.gateway.guardrails.sieve import Span

KINDS: tuple[str, ...] = ("email", "iban", "credit_card", "us_ssn", "de_tax_id", "ip_address", "phone")
"""Where two begin at the same place the longer is taken, then the one that stands first here."""

MOST_CHARACTERS = 640
"""Longer than any candidate."""
_WORD = r"A-Za-z0-9\u00c0-\u024f"
# Every candidate, and whatever could become one, is a run of one of these two.
_RUN = re.compile(rf"[{_WORD}._+%'@:-]{{0,{MOST_CHARACTERS}}}\Z")
_NUMBERS = re.compile(rf"[A-Z0-9 \u00a0()+./-]{{0,{MOST_CHARACTERS}}}\Z")
_GAP = "[ \u00a0]?"

CANDIDATES: dict[str, re.Pattern[str]] = {
    "email": re.compile(
        rf"(?<![A-Za-z0-9._+%-])[A-Za-z0-9_+%-][A-Za-z0-9._+%'-]{{0,63}}@(?:[{_WORD}-]{{1,63}}\.){{1,7}}[A-Za-z]{{2,24}}(?![A-Za-z0-9_-])"
    ),
    "iban": re.compile(
        rf"(?<![{_WORD}])(?:[A-Z]{{2}}\d{{2}}(?:{_GAP}[A-Z0-9]){{11,30}}|[A-Za-z]{{2}}\d{{2}}[A-Za-z0-9]{{11,30}})(?![A-Za-z0-9])"
    ),
    "credit_card": re.compile(rf"(?<![{_WORD}])[2-6]\d{{3}}(?:[ \u00a0-]?\d){{9,15}}(?!\d)"),
    "us_ssn": re.compile(rf"(?<![{_WORD}-])\d{{3}}[ -]\d{{2}}[ -]\d{{4}}(?![{_WORD}-])"),
    "de_tax_id": re.compile(rf"(?<![{_WORD}])\d{{2}}{_GAP}\d{{3}}{_GAP}\d{{3}}{_GAP}\d{{3}}(?![{_WORD}])"),
    "ip_address": re.compile(
        r"(?<![A-Za-z0-9.:])(?:(?:\d{1,3}\.){3}\d{1,3}(?![A-Za-z0-9_]|\.\d)|(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{0,4}(?![A-Za-z0-9_:]))"
    ),
    "phone": re.compile(rf"(?<![{_WORD}.+/-])(?:\(?\+|\(?\d)[\d \u00a0()./-]{{5,28}}\d(?![{_WORD}]|:\d)"),
}
LEAST_PHONE_DIGITS, MOST_PHONE_DIGITS = 7, 15
"""Of a number with its country code (E.164 allows 15)."""
MOST_PHONE_TRIES = 5
"""How many beginnings of a candidate may be asked after: what follows a number may look like more of it, but not for long."""
PHONE_STEPS, IBAN_STEPS = 8, 5
ISO_DATE = re.compile(r"\d{4}-\d\d-\d\d")
NO_TRUNK_PREFIX = frozenset({"US", "CA", "ES", "IT", "PT", "DK", "NO", "PL", "CZ", "GR", "LU", "SG", "HK"})
"""Where a number at home is written without a leading 0. Elsewhere digits without one are an amount, a date, an order."""
Proof = Callable[[str, Budget], int]
"""How many characters of a candidate are what it looks like; 0 when none are. Raises Exhausted."""


class PersonalData:
    """Finds the kinds that were asked for; `regions` (such as `DE`) are those whose phone numbers are known without their country code."""

    certain: ClassVar[bool] = False

    def __init__(self, kinds: Sequence[str] = KINDS, *, regions: Sequence[str] = ()) -> None:
        proofs = _proofs(tuple(regions))
        self._kinds = [(kind, CANDIDATES[kind], proofs[kind]) for kind in KINDS if kind in kinds]

    def find(self, text: str, start: int, budget: Budget | None = None) -> Iterator[Span]:
        """Give what begins at `start` or later, leftmost first; of what overlaps the one that begins first, then the longest."""
        budget = Budget() if budget is None else budget
        searches = [_Search(kind, candidate, proof, text, budget) for kind, candidate, proof in self._kinds]
        exhausted = False
        while True:
            best: Span | None = None
            for search in tuple(searches):
                try:
                    span = search.next_from(start)
                except Exhausted:  # the other kinds may cost nothing, and are found all the same
                    searches.remove(search)
                    exhausted = True
                    continue
                if span is not None and (best is None or (span.start, -span.end) < (best.start, -best.end)):
                    best = span
            if best is None:
                break
            yield best
            start = best.end
        if exhausted:
            raise Exhausted

    def held(self, text: str) -> int:
        """Hold back the last run of characters of which a candidate could be made: in prose, a word."""
        begin = max(0, len(text) - MOST_CHARACTERS)
        return max(_tail(_RUN, text, begin), _tail(_NUMBERS, text, begin))


class _Search:
    """One kind's next match, remembered until the walk has passed it."""

    def __init__(self, kind: str, candidate: re.Pattern[str], proof: Proof, text: str, budget: Budget) -> None:
        self._kind, self._candidate, self._proof, self._text, self._budget = kind, candidate, proof, text, budget
        self._next: Span | None = Span(-1, -1, kind)

    def next_from(self, start: int) -> Span | None:
        while self._next is not None and self._next.start < start:
            match = self._candidate.search(self._text, max(start, self._next.start + 1))
            if match is None:
                self._next = None
                break
            proven = self._proof(match[0], self._budget)
            self._next = Span(match.start(), match.start() + proven, self._kind)
            if not proven:
                start = max(start, match.start() + 1)
        return self._next


def _tail(run: re.Pattern[str], text: str, begin: int) -> int:
    match = run.search(text, begin)
    return len(text) - match.start() if match is not None else 0


def _proofs(regions: tuple[str, ...]) -> dict[str, Proof]:
    from stdnum import iban, luhn
    from stdnum.de import idnr
    from stdnum.us import ssn

    return {
        "email": _as_it_is,
        "iban": partial(_longest, iban.is_valid, IBAN_STEPS),
        "credit_card": partial(_longest, lambda text: luhn.is_valid(re.sub(r"\D", "", text)), 1),
        "us_ssn": partial(_whole, lambda text: ssn.is_valid(text.replace(" ", "-"))),
        "de_tax_id": partial(_whole, idnr.is_valid),
        "ip_address": _ip_address,
        "phone": partial(_phone, regions),
    }


def _as_it_is(candidate: str, budget: Budget) -> int:
    return len(candidate)


def _whole(is_valid: Callable[[str], bool], candidate: str, budget: Budget) -> int:
    budget.spend(1)
    return len(candidate) if is_valid(candidate) else 0


def _longest(is_valid: Callable[[str], bool], steps: int, candidate: str, budget: Budget) -> int:
    """The candidate, or the most of its groups from the first on that are valid: what follows a number may look like more of it."""
    end = len(candidate)
    while end > 0:
        budget.spend(steps)
        if is_valid(candidate[:end].replace("\u00a0", " ")):
            return end
        end = max(candidate.rfind(gap, 0, end) for gap in " \u00a0-")
    return 0


def _ip_address(candidate: str, budget: Budget) -> int:
    try:
        ip_address(candidate)
    except ValueError:
        return 0
    return len(candidate) if candidate != "::" else 0


def _phone(regions: Sequence[str], candidate: str, budget: Budget) -> int:
    """The candidate, or the most of its groups that are a number: anywhere when it begins with + or 00, else in one of the regions."""
    digits = _digits(candidate)
    skipped = 0  # of the digits: what dials out
    if candidate.lstrip("(")[:1] == "+" or digits.startswith("00"):
        skipped = 0 if "+" in candidate[:2] else 2
        where = ["+"] if _has_country(digits[skipped:]) else []
    elif ISO_DATE.match(candidate):
        where = []
    else:
        where = [f"{region} " for region in regions if region in NO_TRUNK_PREFIX or digits.startswith("0")]
    end, tries = len(candidate) if where else 0, 0
    while end > 0 and tries < MOST_PHONE_TRIES:
        said = _digits(candidate[:end])[skipped:]
        if len(said) < LEAST_PHONE_DIGITS or (candidate[0] == "(" and candidate.count("(", 0, end) > candidate.count(")", 0, end)):
            return 0  # a bracket that stays open is the sentence's
        if len(said) <= MOST_PHONE_DIGITS:
            tries += 1
            if any(budget.once(_is_phone, place + said, steps=PHONE_STEPS) for place in where):
                return end
        end = max(candidate.rfind(gap, 0, end) for gap in " \u00a0-/.(")
    return 0


def _digits(text: str) -> str:
    return "".join(filter(str.isdecimal, text))


def _has_country(digits: str) -> bool:
    """Whether a country has a code that these digits begin with: none begins with 0. A parser would take 20 times as long to say so."""
    from phonenumbers import COUNTRY_CODE_TO_REGION_CODE

    return int(digits[:1] or 0) > 0 and any(int(digits[:length]) in COUNTRY_CODE_TO_REGION_CODE for length in (1, 2, 3))


def _is_phone(number: str) -> bool:
    """Whether `+49301234567` or `DE 0301234567` is one."""
    from phonenumbers import NumberParseException, is_valid_number, parse

    region, _, national = number.rpartition(" ")
    try:
        return bool(is_valid_number(parse(national, region or None)))
    except NumberParseException:
        return False
