"""Half load for half an hour, streams and whole answers mixed: does memory grow, does the tail, is a connection held while a model talks?

    python benchmarks/gateway/soak.py [--minutes 30] [--rate 1500] [--streams 100]

Menhir has everything on and its core to itself; the load, the fake upstream and the database share the other. Every half minute one line:
what callers saw and what the process held. Written to benchmarks/results/soak-<date>.md.

All in the usual scheduling class, unlike the benchmark: in the real-time class a table that is vacuumed keeps the core from everybody else
for slices of 100 ms, and half an hour has many of those.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(HERE)]

import ours  # noqa: E402
from machine import cpu_seconds, described, end_on_sigterm, get, pin, resident_mb, streams  # noqa: E402
from run import GATEWAY_CORE, LOAD_CORE, OFFERED, SPREAD_SECONDS, STREAMS, endpoint, fake_upstream  # noqa: E402

WINDOW_SECONDS = 30
SETTLING_SHARE = 3
"""The first third of the run is not counted: caches fill, and the allocator finds its size."""


@dataclass(frozen=True)
class Window:
    """Half a minute."""

    minute: float
    p50_ms: float
    p99_ms: float
    stream_p99_seconds: float
    failed: int
    resident_mb: float
    descriptors: int
    busy_connections: int
    """Connections of the data plane that were in a transaction or a statement, at a moment with all streams open."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=30)
    parser.add_argument("--rate", type=int, default=1_500)
    parser.add_argument("--streams", type=int, default=100)
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    options = parser.parse_args()
    end_on_sigterm()
    with (
        tempfile.TemporaryDirectory(prefix="menhir-soak-") as name,
        fake_upstream(Path(name)) as upstream,
        ours.installation(Path(name), upstream) as installed,
    ):
        before = int(get(f"{upstream}/count"))
        pin(installed.postmaster, LOAD_CORE)
        with ours.running(installed, Path(name), core=GATEWAY_CORE) as (url, pid):
            ours.everything_on(url, installed.key)
            cpu, began = cpu_seconds(pid), time.monotonic()
            windows = soak(url, pid, installed, options)
            busy = (cpu_seconds(pid) - cpu) / (time.monotonic() - began)
        asked, settled = int(get(f"{upstream}/count")) - before, ours.ledger(installed)
    text = page(windows, options, asked=asked, settled=settled, busy=busy)
    options.results.mkdir(parents=True, exist_ok=True)
    (options.results / f"soak-{datetime.now(UTC):%Y-%m-%d}.md").write_text(text, encoding="utf-8")
    print(text)


def soak(url: str, pid: int, installed: ours.Installation, options: argparse.Namespace) -> list[Window]:
    windows: list[Window] = []
    began = time.monotonic()
    while (passed := time.monotonic() - began) < options.minutes * 60:
        command = ["taskset", "-c", str(LOAD_CORE), sys.executable, str(OFFERED), endpoint(url), "--rate", str(options.rate)]
        environment = {**os.environ, "BENCH_KEY": installed.key}
        with subprocess.Popen([*command, "--seconds", str(WINDOW_SECONDS)], env=environment, stdout=subprocess.PIPE, text=True) as whole:
            talk = ["taskset", "-c", str(LOAD_CORE), sys.executable, str(STREAMS), endpoint(url), "--at-once", str(options.streams)]
            talking = subprocess.Popen([*talk, "--rounds", "1", "--spread", "0.3"], env=environment, stdout=subprocess.DEVNULL)
            time.sleep(0.5)
            busy = connections(installed)
            talking.wait()
            apart = {"script": STREAMS, "key": installed.key, "rounds": WINDOW_SECONDS // 2 - 4, "spread": SPREAD_SECONDS}
            streamed = streams(endpoint(url), core=LOAD_CORE, at_once=options.streams, **apart)
            said = whole.communicate()[0]
        seen = json.loads(said)
        held = len(list(Path(f"/proc/{pid}/fd").iterdir()))
        windows.append(
            Window(
                passed / 60,
                seen["p50_ms"],
                seen["p99_ms"],
                streamed.p99_seconds,
                int(seen["failed"]) + streamed.broken,
                resident_mb(pid),
                held,
                busy,
            )
        )
        print(windows[-1], flush=True)
    return windows


def connections(installed: ours.Installation) -> int:
    with psycopg.connect(installed.owner) as connection:
        statement = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'menhir_gateway' AND state <> 'idle'"
        return connection.execute(statement).fetchone()[0]


def slope(windows: Sequence[Window], of: str) -> float:
    """Per hour, by least squares, once it has settled."""
    counted = windows[len(windows) // SETTLING_SHARE :]
    minutes, values = [each.minute for each in counted], [getattr(each, of) for each in counted]
    return statistics.linear_regression(minutes, values).slope * 60


def page(windows: Sequence[Window], options: argparse.Namespace, *, asked: int, settled: int, busy: float) -> str:
    rows = [
        f"| {each.minute:.1f} | {each.p50_ms:.2f} | {each.p99_ms:.2f} | {each.stream_p99_seconds:.2f} | {each.failed} | "
        f"{each.resident_mb:.1f} | {each.descriptors} | {each.busy_connections} |"
        for each in windows
    ]
    return "\n".join(
        [
            f"# Soak, {datetime.now(UTC):%Y-%m-%d}",
            "",
            f"{described()}. {options.minutes:g} minutes of {options.rate} whole answers a second and {options.streams} streams at once,",
            "everything on; one process on one core, load, upstream and database on the other.",
            f"The gateway used {busy:.0%} of its core.",
            "",
            f"After the first third memory changed by {slope(windows, 'resident_mb'):+.1f} MB an hour,",
            f"p99 by {slope(windows, 'p99_ms'):+.1f} ms an hour.",
            f"The upstream answered {asked:,} calls; the ledger has {settled:,}.",
            "",
            "| minute | p50 ms | p99 ms | streams p99 s | failed | RSS MB | descriptors | connections at work |",
            "|---:|---:|---:|---:|---:|---:|---:|---:|",
            *rows,
            "",
        ]
    )


if __name__ == "__main__":
    main()
