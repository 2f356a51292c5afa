"""What was measured, as a page of benchmarks/results/."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from machine import Load, Streamed, described

CALM_LOAD = 0.5


@dataclass(frozen=True)
class Row:
    """A line about whole answers. CPU is in seconds for 1,000 requests."""

    what: str
    connections: int
    load: Load
    web_cpu: float | None = None
    database_cpu: float | None = None
    resident_mb: float | None = None

    def __str__(self) -> str:
        seen = self.load
        return (
            f"| {self.what} | {self.connections} | {seen.per_second:,.0f} | {seen.p50_ms:.2f} | {seen.p99_ms:.2f} | "
            f"{shown(self.web_cpu, '.3f')} | {shown(self.database_cpu, '.3f')} | {shown(self.resident_mb, '.0f')} | {seen.errors} |"
        )


@dataclass(frozen=True)
class StreamRow:
    """A line about streams. CPU is in seconds for 1,000 streams."""

    what: str
    at_once: int
    seen: Streamed
    web_cpu: float | None = None
    resident_mb: float | None = None

    def __str__(self) -> str:
        seen = self.seen
        return (
            f"| {self.what} | {self.at_once} | {seen.median_seconds:.2f} | {seen.p99_seconds:.2f} | {seen.first_median_ms:.1f} | "
            f"{seen.first_p99_ms:.1f} | {shown(self.web_cpu, '.2f')} | {shown(self.resident_mb, '.0f')} | {seen.broken} |"
        )


def write(rows: Sequence[Row | StreamRow], *, asked: int, settled: int, busy: float, seconds: int, folder: Path) -> None:
    """Write the page, and print it."""
    now = datetime.now(UTC)
    root = Path(__file__).resolve().parents[2]
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
    lines = [
        f"# Relay, {now:%Y-%m-%d}",
        "",
        f"Commit {commit or '?'}; {described()}; load average before the run: {busy:.1f}"
        + (" — OTHERS WERE AT WORK, the figures are too low." if busy > CALM_LOAD else "."),
        "Menhir's `web` (one process) pinned to core 0, load and the fake upstream to core 1; loopback; PostgreSQL 18 (embedded), its",
        "durability as usual, each call opened and settled by a committed row. Compare within one run only: machines are noisy.",
        "",
        f"Whole answers, {seconds} s a line after a warm-up:",
        "",
        "| | connections | req/s | p50 ms | p99 ms | CPU s per 1,000: web | …: PostgreSQL | web RSS MB | errors |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(str(row) for row in rows if isinstance(row, Row)),
        "",
        "Streams of 50 chunks, 20 ms apart (1.00 s each at best), all begun in the same moment, three rounds:",
        "",
        "| | at once | duration median s | p99 s | first token median ms | p99 ms | web CPU s per 1,000 | web RSS MB | broken |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|",
        *(str(row) for row in rows if isinstance(row, StreamRow)),
        "",
        f"The upstream answered {asked:,} calls through Menhir; the ledger settled {settled:,} calls that reached an upstream.",
        "",
    ]
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"relay-{now:%Y-%m-%d}.md"
    path.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))
    print(f"Written to {path}")


def shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
