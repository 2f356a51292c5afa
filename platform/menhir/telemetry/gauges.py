"""What is looked up at the moment somebody scrapes: depths, levels, states.

    gauges.register("menhir_ledger_waiting", "Rows that wait to be written.", lambda: writer.depth)

A room registers a function when it is imported; it is called for each scrape, in a thread, and so must only look: no lock, no query. It
gives a number, or a number for each set of labels: `{("closed",): 12, ("open",): 1}` with `labels=("state",)`. One that raises is left out
of that scrape. Labels are words of ours, never a tenant's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

Reading = float | Mapping[tuple[str, ...], float]


class Gauge(NamedTuple):
    """A name, and how to find out."""

    name: str
    help: str
    read: Callable[[], Reading]
    labels: tuple[str, ...]


registered: dict[str, Gauge] = {}


def register(name: str, help_: str, read: Callable[[], Reading], *, labels: Sequence[str] = ()) -> None:
    """Show what `read` gives under this name; registered again, the later one holds."""
    registered[name] = Gauge(name, help_, read, tuple(labels))
