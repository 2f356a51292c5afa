"""How long a doorbell takes from one process to the other and back, and a piece of an answer from its writer to its readers.

    python benchmarks/realtime/roundtrip.py        # writes benchmarks/results/realtime-<date>.md

Two processes, 125 clients in each; a database of its own in a temporary folder (or DATABASE_URL, which is then migrated).
"""

from __future__ import annotations

import atexit
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self
from uuid import uuid4

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]
SECRET = "for the benchmark's own database"  # noqa: S105

TEXT = """# Round trips over Postgres, {when}

{conditions}

| what | round trips | mean | p50 | p95 | p99 | CPU of both processes |
|---|---|---|---|---|---|---|
{rows}

*Round trip*: a client asks its counterpart in the other process and has its answer: two group messages, two commits, two bells. For
comparison (ANCHORS.md, another machine): Rails Solid Cable, 250 clients, 146 ms mean, 234 ms p95; with Redis 69 and 135 ms.
*Piece*: from `run.append` in one process to a follower's hands in the other; a flush happens every 50 ms at most.
"""


class Side:
    """A process of the benchmark."""

    def __init__(self, here: str, there: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("side.py")), here, there],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path[:2])},
        )

    def tell(self, value: object) -> Self:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(value) + "\n")
        self.process.stdin.flush()
        return self

    def hear(self) -> Any:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("#"):
                return json.loads(line[1:])
        raise RuntimeError("a side of the benchmark has died")


def layer(a: Side, b: Side, *, count: int, every: float, seconds: float) -> tuple[list[float], float]:
    for side in (a, b):
        side.tell({"phase": "layer", "count": count, "every": every, "seconds": seconds})
    for _ in ("everybody is in the groups", "everybody has asked"):
        for side in (a, b):
            assert side.hear() == "ready"
        for side in (a, b):
            side.tell("go")
    found = [side.hear() for side in (a, b)]
    return [sample for side in found for sample in side["samples"]], sum(side["cpu"] for side in found)


def stream(a: Side, b: Side, *, tenant: str, runs: int, readers: int, seconds: float) -> tuple[list[float], float]:
    order = {"phase": "journal", "tenant": tenant, "runs": runs, "readers": readers, "every": 0.02, "seconds": seconds}
    begun = a.tell(order).hear()
    b.tell(order).tell(begun)
    assert b.hear() == {"following": runs * readers}
    a.tell("go")
    read, written = b.hear(), a.hear()
    return read["samples"], read["cpu"] + written["cpu"]


def row(what: str, samples: Sequence[float], cpu: float, seconds: float) -> str:
    cut = statistics.quantiles(samples, n=100)
    figures = " | ".join(f"{value:.1f} ms" for value in (statistics.fmean(samples), cut[49], cut[94], cut[98]))
    return f"| {what} | {len(samples):,} | {figures} | {cpu / seconds * 100:.0f} % of one core |"


def prepare(folder: Path) -> str:
    """A migrated database; what it is, in a sentence."""
    from menhir.postgres import embedded

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "menhir.wiring.settings")
    os.environ.update(MENHIR_HOME=str(folder), MENHIR_LOG_LEVEL="WARNING")
    if not os.environ.get("DATABASE_URL"):
        os.environ.update(MENHIR_SECRET_KEY=SECRET, DATABASE_URL=embedded.start(folder / "postgres", secret=SECRET))
    subprocess.run([sys.executable, str(ROOT / "manage.py"), "migrate_all"], check=True, cwd=ROOT, stdout=subprocess.DEVNULL)
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        version = connection.execute("SHOW server_version").fetchone()
        fsync = connection.execute("SHOW fsync").fetchone()
    assert version
    assert fsync
    return f"PostgreSQL {version[0]} on the same machine (fsync {fsync[0]})"


def tenant() -> str:
    tenant_id = str(uuid4())
    with psycopg.connect(os.environ["DATABASE_URL"]) as connection:
        connection.execute("SELECT menhir.set_tenant(%s)", [tenant_id])
        connection.execute(
            "INSERT INTO tenancy_tenant (id, slug, name, created_at) VALUES (%s, %s, 'Benchmark', now())",
            [tenant_id, f"bench-{tenant_id[:8]}"],
        )
    return tenant_id


def main() -> None:
    """Run every phase and write the result."""
    folder = Path(tempfile.mkdtemp(prefix="menhir-bench-"))
    # Registered first, so that it runs after the embedded server has been stopped.
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    database = prepare(folder)
    load = os.getloadavg()[0]
    owner = tenant()
    a, b = Side("a", "b"), Side("b", "a")
    assert (a.hear(), b.hear()) == ("up", "up")
    rows = [
        row("one pair, 20 questions a second each", *layer(a, b, count=1, every=0.05, seconds=5), 5),
        row("250 clients, one question a second each", *layer(a, b, count=125, every=1.0, seconds=12), 12),
        row("250 clients, four questions a second each", *layer(a, b, count=125, every=0.25, seconds=8), 8),
        row("pieces: 50 streams of 50 a second, 5 readers each", *stream(a, b, tenant=owner, runs=50, readers=5, seconds=10), 10),
    ]
    for side in (a, b):
        side.tell(None)
        side.process.wait(20)
    now = datetime.now(UTC)
    conditions = (
        f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}, {database}; "
        f"two client processes beside it; load average {load:.1f} before the start (above 2 the machine was busy with other work, "
        "and the upper percentiles are that work's)."
    )
    text = TEXT.format(when=f"{now:%Y-%m-%d}", conditions=conditions, rows="\n".join(rows))
    target = ROOT / "benchmarks" / "results" / f"realtime-{now:%Y-%m-%d}.md"
    target.parent.mkdir(exist_ok=True)
    target.write_text(text, encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()
