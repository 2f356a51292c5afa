"""What is counted and measured as it happens: plain lists and additions here, a form for Prometheus only when somebody asks.

    COMMITS = meters.histogram("menhir_ledger_commit_seconds", "How long a batch took.", meters.SECONDS)
    COMMITS.of().observe(0.003)

A family has a name, what it says, and label names; `of(…)` gives the series of these label values, which whoever is in a hurry keeps.
Label values are words of ours (operations, outcomes, kinds), never a tenant's: whoever reads the metrics need not see who our tenants are.
Only the event loop of a process writes; a scrape reads from wherever it likes.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from typing import Final, Generic, TypeVar

SECONDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
MOST_SERIES: Final = 500
"""Of one family. What comes beyond is counted together under `other`: a word of a stranger's must not fill the memory of two programs."""
OTHER: Final = "other"


class Count:
    """One number that grows."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, much: float = 1.0) -> None:
        """Add to it."""
        self.value += much


class Buckets:
    """How often a value was how large."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count a value.

        >>> sizes = Buckets((1, 10))
        >>> for size in (1, 2, 99):
        ...     sizes.observe(size)
        >>> sizes.counts, sizes.total
        ([1, 1, 1], 102.0)
        """
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


S = TypeVar("S", Count, Buckets)


class Family(Generic[S]):
    """The series of one name."""

    def __init__(self, name: str, help_: str, labels: Sequence[str], begin: Callable[[], S]) -> None:
        self.name, self.help, self.labels = name, help_, tuple(labels)
        self._begin: Callable[[], S] = begin
        self.series: dict[tuple[str, ...], S] = {}

    def of(self, *values: str) -> S:
        """The series of these label values, begun when it is new."""
        found = self.series.get(values)
        if found is None:
            if len(values) != len(self.labels):
                raise TypeError(f"{self.name} has the labels {', '.join(self.labels) or 'none'}; got {', '.join(values) or 'none'}")
            if len(self.series) >= MOST_SERIES:
                values = (OTHER,) * len(self.labels)
            found = self.series.setdefault(values, self._begin())
        return found


families: dict[str, Family[Count] | Family[Buckets]] = {}
"""Everything that is measured in this process, by name."""


def counter(name: str, help_: str, *labels: str) -> Family[Count]:
    """Something that is counted; its name ends in `_total`."""
    family = Family(name, help_, labels, Count)
    families[name] = family
    return family


def histogram(name: str, help_: str, bounds: Sequence[float], *labels: str) -> Family[Buckets]:
    """Something that is measured; `bounds` are the upper ends of its buckets, in rising order."""
    family = Family(name, help_, labels, lambda: Buckets(tuple(bounds)))
    families[name] = family
    return family
