"""What was measured, as a page of benchmarks/results/."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from machine import Load, Offered, Streamed, described

CALM_LOAD = 0.5
ALONE = 4
"""Of the contestants so many are the upstream and Menhir itself: a page without another is about the relay alone."""
LONGEST_STREAM_SECONDS = 1.25
Costed = tuple[Load, float | None, float | None]


@dataclass
class Contestant:
    """What one of them showed: by connections, by calls a second, by streams at once."""

    name: str
    loads: dict[int, Costed] = field(default_factory=dict)
    rates: dict[int, Offered] = field(default_factory=dict)
    together: dict[int, Streamed] = field(default_factory=dict)
    apart: dict[int, Streamed] = field(default_factory=dict)
    resident_mb: float | None = None


@dataclass
class Page:
    """The whole run."""

    seconds: int
    busy: float
    priority: str
    contestants: dict[str, Contestant] = field(default_factory=dict)
    commit_ms: float = 0.0
    idle_mb: float = 0.0
    open_stream_kb: float = 0.0
    one_of_two: float = 0.0
    both_of_two: float = 0.0
    asked: int = 0
    settled: int = 0

    def of(self, name: str) -> Contestant:
        """A contestant by its name."""
        return self.contestants.setdefault(name, Contestant(name))

    def write(self, folder: Path) -> str:
        """Write the page; gives its text."""
        now = datetime.now(UTC)
        text = "\n".join([*self._head(now), *self._loads(), *self._rates(), *self._streams(), *self._rest(), *self._required(), ""])
        folder.mkdir(parents=True, exist_ok=True)
        kind = "gateway" if len(self.contestants) > ALONE else "relay"
        (folder / f"{kind}-{now:%Y-%m-%d}.md").write_text(text, encoding="utf-8")
        return text

    def _head(self, now: datetime) -> list[str]:
        root = Path(__file__).resolve().parents[2]
        said = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=root, capture_output=True, text=True, check=False).stdout.strip()
        calm = "." if self.busy <= CALM_LOAD else " — OTHERS WERE AT WORK, the figures are too low."
        return [
            f"# Gateway, {now:%Y-%m-%d}",
            "",
            f"Commit {said or '?'}; {described()}; load average before the run: {self.busy:.1f}{calm}",
            "The gateway (one process) is pinned to core 0; the fake upstream, the load and, where nothing else is said, PostgreSQL",
            "18 (embedded, durability as usual) to core 1; loopback. Menhir checks the key, limits on requests, on tokens and on",
            "parallel calls, a budget in money and the price, and commits a row before the upstream is asked and one before the",
            "answer; LiteLLM has one worker, a master key and no database.",
            f"A row that is committed alone takes PostgreSQL {self.commit_ms:.2f} ms here (median): a call that comes alone waits for two.",
            f"{self.priority}. Compare within one run only: machines are noisy.",
            "",
        ]

    def _loads(self) -> list[str]:
        lines = [
            f"Whole answers, {self.seconds} s a line after a warm-up:",
            "",
            "| | connections | req/s | p50 ms | p99 ms | CPU s per 1,000 | …: PostgreSQL | errors |",
            "|---|---:|---:|---:|---:|---:|---:|---:|",
        ]
        for each in self.contestants.values():
            for connections, (seen, cpu, beside) in each.loads.items():
                lines.append(
                    f"| {each.name} | {connections} | {seen.per_second:,.0f} | {seen.p50_ms:.2f} | {seen.p99_ms:.2f} | "
                    f"{shown(cpu, '.3f')} | {shown(beside, '.3f')} | {seen.errors} |"
                )
        return [*lines, ""]

    def _rates(self) -> list[str]:
        lines = [
            "A steady rate, each call sent when it is due whether or not the ones before were answered:",
            "",
            "| | calls/s | p50 ms | p99 ms | failed |",
            "|---|---:|---:|---:|---:|",
        ]
        for each in self.contestants.values():
            for rate, seen in each.rates.items():
                lines.append(f"| {each.name} | {rate} | {seen.p50_ms:.2f} | {seen.p99_ms:.2f} | {seen.failed} |")
        return [*lines, ""]

    def _streams(self) -> list[str]:
        lines = [
            "Streams of 50 chunks, 20 ms apart (1.00 s at best), three rounds or more; all begun in the same moment, or over one second:",
            "",
            "| | at once | begun | duration median s | p99 s | first token median ms | p99 ms | broken |",
            "|---|---:|---|---:|---:|---:|---:|---:|",
        ]
        for each in self.contestants.values():
            for begun, kept in (("together", each.together), ("apart", each.apart)):
                for count, seen in kept.items():
                    lines.append(
                        f"| {each.name} | {count} | {begun} | {seen.median_seconds:.2f} | {seen.p99_seconds:.2f} | "
                        f"{seen.first_median_ms:.1f} | {seen.first_p99_ms:.1f} | {seen.broken} |"
                    )
        return [*lines, ""]

    def _rest(self) -> list[str]:
        resident = [f"{each.name} {each.resident_mb:.0f} MB" for each in self.contestants.values() if each.resident_mb is not None]
        return [
            f"Memory: Menhir {self.idle_mb:.0f} MB when ready, {self.open_stream_kb:.0f} kB for each open stream (1,000 open).",
            f"After all of the above: {', '.join(resident)}.",
            "",
            f"One process with its database, the upstream and the load on one core: {self.one_of_two:,.0f} req/s.",
            f"Two with all of it on two cores: {self.both_of_two:,.0f}.",
            "",
            f"The upstream answered {self.asked:,} calls through Menhir; the ledger has {self.settled:,} that reached it.",
            "",
        ]

    def _required(self) -> list[str]:
        """What was asked for, beside what was seen."""
        ours, bare, lite = (self.contestants.get(name) for name in ("Menhir, everything on", "fake upstream, bare", "LiteLLM"))
        hits = self.contestants.get("Menhir, exact cache hit")
        if ours is None or bare is None or hits is None:
            return []
        best = fastest(ours)
        late, bare_late = ours.rates[200], bare.rates[200]
        added = late.p50_ms - bare_late.p50_ms, late.p99_ms - bare_late.p99_ms
        most = max(
            (count for count, seen in ours.together.items() if seen.p99_seconds <= LONGEST_STREAM_SECONDS and not seen.broken), default=0
        )
        apart = ours.apart[100].first_p99_ms - bare.apart[100].first_p99_ms
        together = ours.together[100].first_p99_ms - bare.together[100].first_p99_ms
        usual = ours.loads[32][0].per_second
        lines = [
            "| | required | aim | seen |",
            "|---|---|---|---|",
            f"| whole answers, everything on | ≥ 4,500 req/s | 7,500 | {usual:,.0f} at 32 connections, {best:,.0f} at best |",
        ]
        if lite is not None:
            ratio = lite.rates[100].p99_ms / ours.rates[100].p99_ms
            lines += [
                f"| … against LiteLLM | ≥ 35x | 54x | {best / fastest(lite):.0f}x ({fastest(lite):,.0f} req/s) |",
                f"| p99 at 100 req/s offered | ≤ 1/20 of LiteLLM's | 1/54 | 1/{ratio:.0f} |",
            ]
        return [
            *lines,
            f"| added at 200 req/s | p50 ≤ 1.5 ms, p99 ≤ 6 ms | 1 / 3 ms | {added[0]:.2f} / {added[1]:.2f} ms |",
            f"| streams at once with p99 ≤ {LONGEST_STREAM_SECONDS} s | 500 | 800 | {most} |",
            f"| first token at 100 streams, p99 | ≤ 5 ms over the upstream | 2 ms | {apart:.1f} ms begun apart, {together:.1f} together |",
            f"| exact cache hit | ≥ 8,000 req/s | 12,000 | {fastest(hits):,.0f} |",
            f"| memory | ≤ 120 MB idle, ≤ 60 kB a stream | 90 MB, 40 kB | {self.idle_mb:.0f} MB, {self.open_stream_kb:.0f} kB |",
            f"| two processes on two cores | ≥ 1.7x one | 1.9x | {self.both_of_two / max(1.0, self.one_of_two):.2f}x |",
        ]


def fastest(contestant: Contestant) -> float:
    """Its best rate, at whichever number of connections."""
    return max(seen.per_second for seen, _, _ in contestant.loads.values())


def shown(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
