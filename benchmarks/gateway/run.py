"""The gateway against others, in one run on two cores: `make bench-gateway`.

The gateway under test is pinned to one core; the fake upstream and the load to the other. In turn: the bare upstream, Menhir with keys,
limits, a budget, prices and the durable ledger, LiteLLM's proxy (one worker, no database) and nginx where it is installed. Then what only
Menhir is asked: hits of the exact cache, memory, two processes. At the end the ledger must hold exactly the calls that the upstream
counted.

    python benchmarks/gateway/run.py [--only menhir] [--seconds 8]

Everything is on loopback, in folders and a database of its own, and is gone afterwards (LiteLLM's environment is kept in .menhir/bench);
what was measured stays in benchmarks/results/.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "platform"), str(HERE)]

import litellm_proxy  # noqa: E402
import nginx_proxy  # noqa: E402
import ours  # noqa: E402
from machine import (  # noqa: E402
    Load,
    cpu_seconds,
    end_on_sigterm,
    family,
    first_in_line,
    free_port,
    get,
    offered,
    pin,
    pinned,
    resident_mb,
    streams,
    wrk,
)
from report import Contestant, Page  # noqa: E402

REQUEST, STREAMS, OFFERED = HERE / "request.lua", HERE / "streams.py", HERE / "offered.py"
GATEWAY_CORE, LOAD_CORE = 0, 1
CONNECTIONS = (1, 32, 128)
RATES = (100, 200)
AT_ONCE = (100, 300, 500, 600, 800, 1_000)
LITELLM_AT_ONCE = (20, 100)
"""Of 300 it lost more than it answered."""
STREAMS_AT_LEAST = 1_000
"""In a line of the report: of 300 the 99th percentile is the third worst, which one pause of the machine decides."""
WARM_UP_SECONDS = 3
SPREAD_SECONDS = 1.0


def main() -> None:
    options = arguments()
    end_on_sigterm()
    for tool in ("wrk", "taskset"):
        if shutil.which(tool) is None:
            raise SystemExit(f"The benchmark needs {tool}: apt-get install {'wrk' if tool == 'wrk' else 'util-linux'}")
    if (os.cpu_count() or 1) <= LOAD_CORE:
        raise SystemExit("The benchmark needs two cores: one for the gateway, one for the load.")
    page = Page(seconds=options.seconds, busy=os.getloadavg()[0], priority=first_in_line())
    with tempfile.TemporaryDirectory(prefix="menhir-bench-") as name, fake_upstream(Path(name)) as upstream:
        folder = Path(name)
        measure(page.of("fake upstream, bare"), upstream, options, at_once=AT_ONCE)
        with ours.installation(folder, upstream) as installed:
            before = int(get(f"{upstream}/count"))
            menhir(page, installed, folder, options)
            page.asked = int(get(f"{upstream}/count")) - before
            page.settled = ours.ledger(installed)
        if options.only is None:
            others(page, folder, upstream, options)
    print(page.write(options.results))
    if page.asked != page.settled:
        raise SystemExit(f"The upstream answered {page.asked} calls and the ledger has {page.settled}.")


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=int, default=8, help="for each line of the report (8)")
    parser.add_argument("--only", choices=["menhir"], help="leave the others out")
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    return parser.parse_args()


@contextlib.contextmanager
def fake_upstream(folder: Path) -> Iterator[str]:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [sys.executable, str(HERE / "upstream.py"), "--port", str(port)]
    with pinned(command, core=LOAD_CORE, environment=dict(os.environ), ready_url=f"{url}/count", log=folder / "upstream.log"):
        yield url


def menhir(page: Page, installed: ours.Installation, folder: Path, options: argparse.Namespace) -> None:
    """Once with the database beside, as a server of its own would be, and once with the database on the gateway's core, too."""
    key = installed.key
    pin(installed.postmaster, LOAD_CORE)
    page.commit_ms = ours.commit_ms(installed)
    with ours.running(installed, folder, core=GATEWAY_CORE) as (url, pid):
        page.idle_mb = resident_mb(pid)
        ours.everything_on(url, key)
        seen = page.of("Menhir, everything on")
        measure(seen, url, options, pid=pid, key=key, at_once=AT_ONCE, beside=installed.postmaster)
        wrk(endpoint(url), core=LOAD_CORE, connections=32, seconds=1, script=REQUEST, key=key, model=ours.CACHED_MODEL)
        for connections in CONNECTIONS:
            hits = page.of("Menhir, exact cache hit")
            hits.loads[connections] = costed(lambda n=connections: load(url, n, options, key=key, model=ours.CACHED_MODEL), pid)
    with ours.running(installed, folder, core=GATEWAY_CORE) as (url, pid):
        wrk(endpoint(url), core=LOAD_CORE, connections=32, seconds=WARM_UP_SECONDS, script=REQUEST, key=key)
        streams(endpoint(url), core=LOAD_CORE, at_once=20, script=STREAMS, key=key, rounds=1)
        page.open_stream_kb = open_stream_kb(url, pid, key)
    pin(installed.postmaster, GATEWAY_CORE)
    with ours.running(installed, folder, core=GATEWAY_CORE) as (url, pid):
        measure(page.of("Menhir, PostgreSQL on the same core"), url, options, pid=pid, key=key, beside=installed.postmaster)
    two(page, installed, folder, options)


def two(page: Page, installed: ours.Installation, folder: Path, options: argparse.Namespace) -> None:
    """One process with everything it needs (database, upstream, load) on one core, then two with all of it on two."""
    everyone = {GATEWAY_CORE, LOAD_CORE}
    mine = os.getpid()
    with ours.running(installed, folder, core=GATEWAY_CORE) as (first, _), ours.running(installed, folder, core=LOAD_CORE) as (second, _):
        upstreams = [pid for pid in family(mine) if "upstream.py" in Path(f"/proc/{pid}/cmdline").read_text()]
        for pid in [installed.postmaster, *upstreams]:
            pin(pid, GATEWAY_CORE)
        alone = wrk(endpoint(first), core=GATEWAY_CORE, connections=64, seconds=options.seconds, script=REQUEST, key=installed.key)
        for pid in [installed.postmaster, *upstreams]:
            for member in family(pid):
                os.sched_setaffinity(member, everyone)
        began = [
            subprocess.Popen(
                ["wrk", "-t1", "-c64", f"-d{options.seconds}s", "-s", str(REQUEST), endpoint(url)],
                env={**os.environ, "BENCH_KEY": installed.key},
                stdout=subprocess.PIPE,
                text=True,
            )
            for url in (first, second)
        ]
        said = [process.communicate()[0] for process in began]
        for pid in upstreams:
            pin(pid, LOAD_CORE)
    page.one_of_two = alone.per_second
    page.both_of_two = sum(float(line.split()[1]) for text in said for line in text.splitlines() if line.startswith("Requests/sec"))


def others(page: Page, folder: Path, upstream: str, options: argparse.Namespace) -> None:
    command = litellm_proxy.installed(ROOT / ".menhir" / "bench" / "litellm")
    with litellm_proxy.running(command, folder, upstream=upstream, core=GATEWAY_CORE) as (url, pid):
        measure(page.of("LiteLLM"), url, options, pid=pid, key=litellm_proxy.MASTER_KEY, at_once=LITELLM_AT_ONCE)
    if (nginx := nginx_proxy.found()) is not None:
        with nginx_proxy.running(nginx, folder, upstream=upstream, core=GATEWAY_CORE) as (url, pid):
            measure(page.of("nginx"), url, options, pid=pid, at_once=AT_ONCE)


def measure(
    seen: Contestant,
    url: str,
    options: argparse.Namespace,
    *,
    pid: int | None = None,
    key: str = "none",
    at_once: tuple[int, ...] = (),
    beside: int | None = None,
) -> None:
    """Everything a contestant is asked: load, steady rates, streams begun together and apart."""
    print(f"{seen.name} …", flush=True)
    wrk(endpoint(url), core=LOAD_CORE, connections=32, seconds=WARM_UP_SECONDS, script=REQUEST, key=key)
    for connections in CONNECTIONS:
        seen.loads[connections] = costed(lambda n=connections: load(url, n, options, key=key), pid, beside)
    for rate in RATES:
        seen.rates[rate] = offered(endpoint(url), core=LOAD_CORE, rate=rate, seconds=options.seconds, script=OFFERED, key=key)
    for count in at_once:
        rounds = max(3, STREAMS_AT_LEAST // count)
        seen.together[count] = streams(endpoint(url), core=LOAD_CORE, at_once=count, script=STREAMS, key=key, rounds=rounds)
        apart = {"script": STREAMS, "key": key, "spread": SPREAD_SECONDS, "rounds": rounds}
        seen.apart[count] = streams(endpoint(url), core=LOAD_CORE, at_once=count, **apart)
    if pid is not None:
        seen.resident_mb = sum(resident_mb(member) for member in family(pid))
    time.sleep(0.5)  # wrk leaves in the middle of its last requests; they are settled as cancelled


def costed(ask: Callable[[], Load], pid: int | None, beside: int | None = None) -> tuple[Load, float | None, float | None]:
    """A load with the CPU seconds of the gateway, and of what stands beside it, for 1,000 requests."""
    before = [cpu_seconds(each) if each is not None else 0.0 for each in (pid, beside)]
    seen = ask()
    used = [
        (cpu_seconds(each) - then) / max(1, seen.requests) * 1000 if each is not None else None
        for each, then in zip((pid, beside), before, strict=True)
    ]
    return seen, used[0], used[1]


def load(url: str, connections: int, options: argparse.Namespace, *, key: str, model: str = "gpt-4o-mini") -> Load:
    seconds, script = options.seconds, REQUEST
    return wrk(endpoint(url), core=LOAD_CORE, connections=connections, seconds=seconds, script=script, key=key, model=model)


def open_stream_kb(url: str, pid: int, key: str, *, count: int = 1_000) -> float:
    """Memory of one open stream: what a process that is warm, and never had so many, holds more while they are open."""
    before = resident_mb(pid)
    command = ["taskset", "-c", str(LOAD_CORE), sys.executable, str(STREAMS), endpoint(url), "--at-once", str(count), "--rounds", "2"]
    most = before
    with subprocess.Popen(command, env={**os.environ, "BENCH_KEY": key}, stdout=subprocess.DEVNULL) as clients:
        while clients.poll() is None:
            most = max(most, resident_mb(pid))
            time.sleep(0.02)
    return (most - before) * 1000 / count


def endpoint(url: str) -> str:
    return f"{url}/v1/chat/completions"


if __name__ == "__main__":
    main()
