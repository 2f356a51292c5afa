"""Which meters apply to whom: a tenant's limits, compiled when they are loaded, so that a call looks up one dictionary."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from menhir.metering.limits.meters import METRICS, MONEY, TOKENS, Amount, Slice

MOST_CALLERS = 10_000
"""Callers whose meters are kept compiled; users come and go, and memory must not."""

Find = Callable[["Rule", str], Slice]
Caller = tuple[UUID | None, str | None, str]
"""The key, the user and the route of a call."""


@dataclass(frozen=True, slots=True)
class Rule:
    """One limit as it was loaded."""

    tenant_id: UUID
    id: UUID
    subject: str
    subject_id: str
    kind: int
    period: str
    amount: Amount

    @classmethod
    def of(cls, tenant_id: UUID, row: Any) -> Rule:
        """Read a row of `find_limits`."""
        return cls(
            tenant_id=tenant_id,
            id=row.id,
            subject=row.subject,
            subject_id=row.subject_id,
            kind=METRICS.index(row.metric),
            period=row.period,
            amount=row.amount if row.metric == "money" else int(row.amount),
        )


@dataclass(frozen=True, slots=True)
class Meters:
    """The meters that apply to one caller; `tokens` and `money` say whether anybody must find out how many and how much."""

    slices: tuple[Slice, ...]
    whose: tuple[str, ...]
    tokens: bool
    money: bool


class Rules:
    """A tenant's limits."""

    def __init__(self, rules: Sequence[Rule], find: Find) -> None:
        self._rules = rules
        self._find = find
        self._callers: dict[Caller, Meters | None] = {}

    def of(self, key_id: UUID | None, user: str | None, route: str) -> Meters | None:
        """Give the meters of a caller; None when no limit is about him."""
        caller = (key_id, user, route)
        try:
            return self._callers[caller]
        except KeyError:
            if len(self._callers) >= MOST_CALLERS:
                self._callers.clear()
            found = self._callers[caller] = self._compile(key_id, user, route)
            return found

    def forget(self) -> None:
        """Compile anew at the next call: slices that nobody used have been let go."""
        self._callers.clear()

    def _compile(self, key_id: UUID | None, user: str | None, route: str) -> Meters | None:
        """A limit that names its subject stands in for the one that is everybody's of its kind."""
        subjects = {"tenant": "", "key": str(key_id) if key_id is not None else None, "user": user, "route": route}
        chosen: dict[tuple[str, int, str], tuple[Rule, str]] = {}
        for rule in self._rules:
            subject = subjects[rule.subject]
            if subject is None or rule.subject_id not in {"", subject}:
                continue
            place = (rule.subject, rule.kind, rule.period)
            if rule.subject_id or place not in chosen:
                chosen[place] = (rule, subject)
        if not chosen:
            return None
        slices = tuple(self._find(rule, subject) for rule, subject in chosen.values())
        return Meters(
            slices=slices,
            whose=tuple(rule.subject for rule, _subject in chosen.values()),
            tokens=any(piece.kind == TOKENS for piece in slices),
            money=any(piece.kind == MONEY for piece in slices),
        )
