"""Processes pinned to a core, and what they cost."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
READY_SECONDS = 60.0
PRIORITY = 5
WRK = re.compile(r"(50|99)%\s+([\d.]+)(us|ms|s)\b")
MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


@dataclass(frozen=True)
class Load:
    """What wrk saw."""

    requests: int
    per_second: float
    p50_ms: float
    p99_ms: float
    errors: int


@dataclass(frozen=True)
class Offered:
    """What the callers of a steady rate saw."""

    calls: int
    failed: int
    p50_ms: float
    p99_ms: float


def offered(url: str, *, core: int, rate: int, seconds: int, script: Path, key: str = "none") -> Offered:
    """Offer so many calls a second from one core."""
    command = ["taskset", "-c", str(core), sys.executable, str(script), url, "--rate", str(rate), "--seconds", str(seconds)]
    said = subprocess.run(command, env={**os.environ, "BENCH_KEY": key}, capture_output=True, text=True, check=True).stdout
    return Offered(**json.loads(said))


def wrk(url: str, *, core: int, connections: int, seconds: int, script: Path, key: str = "none", model: str = "gpt-4o-mini") -> Load:
    """Load a URL from one core for so many seconds."""
    said = subprocess.run(
        [
            "taskset",
            "-c",
            str(core),
            "wrk",
            "-t1",
            f"-c{connections}",
            f"-d{seconds}s",
            "--timeout",
            "10s",
            "--latency",
            "-s",
            str(script),
            url,
        ],
        env={**os.environ, "BENCH_KEY": key, "BENCH_MODEL": model},
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    percentiles = {share: float(value) * MILLISECONDS[unit] for share, value, unit in WRK.findall(said)}
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", said)
    broken = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", said)
    return Load(
        requests=int(re.search(r"(\d+) requests in", said)[1]),
        per_second=float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1]),
        p50_ms=percentiles["50"],
        p99_ms=percentiles["99"],
        errors=(int(refused[1]) if refused else 0) + (sum(map(int, broken.groups())) if broken else 0),
    )


@dataclass(frozen=True)
class Streamed:
    """What the clients of many streams saw."""

    streams: int
    broken: int
    median_seconds: float
    p99_seconds: float
    first_median_ms: float
    first_p99_ms: float


def streams(url: str, *, core: int, at_once: int, script: Path, key: str = "none", rounds: int = 3, spread: float = 0.0) -> Streamed:
    """Ask for so many streams at once, a few times, from one core."""
    command = ["taskset", "-c", str(core), sys.executable, str(script), url]
    command += ["--at-once", str(at_once), "--rounds", str(rounds), "--spread", str(spread)]
    said = subprocess.run(command, env={**os.environ, "BENCH_KEY": key}, capture_output=True, text=True, check=True).stdout
    return Streamed(**json.loads(said))


@contextlib.contextmanager
def pinned(
    command: Sequence[str], *, core: int, environment: dict[str, str], ready_url: str, log: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A process on one core that answers `ready_url`; ended by its id whatever happens."""
    with log.open("ab") as out:
        process = subprocess.Popen(["taskset", "-c", str(core), *command], env=environment, stdout=out, stderr=out)
    try:
        wait_for(ready_url, process, log)
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(timeout=30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + READY_SECONDS
    while time.monotonic() < until:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended:\n{log.read_text()[-2000:]}")
        with contextlib.suppress(OSError):
            get(url)
            return
        time.sleep(0.05)
    raise SystemExit(f"{url} did not answer within {READY_SECONDS:g} s:\n{log.read_text()[-2000:]}")


def get(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=5) as answer:  # noqa: S310 - URLs of our own making
        return answer.read()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def first_in_line() -> str:
    """Put this process, and all that it starts, into the real-time class, and give the words for the conditions.

    The load, the upstream and the database share a core: of its usual class a database that is asked waits for the end of the load's
    slice, some 3 ms, which is a matter of this bench and not of whoever is measured. Needs root; without, it is said.
    """
    try:
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
    except (AttributeError, PermissionError):
        return "All processes have the usual priority"
    return f"All processes are in the real-time class (SCHED_RR {PRIORITY})"


def end_on_sigterm() -> None:
    """Let SIGTERM unwind as Ctrl-C does, so that what was started is ended. Under nohup Ctrl-C is ignored."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def family(pid: int) -> list[int]:
    """A process and its children, such as a postmaster and its backends."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def pin(pid: int, core: int) -> None:
    """Move a process and its children to one core; children to come inherit it."""
    for member in family(pid):
        os.sched_setaffinity(member, {core})


def cpu_seconds(pid: int) -> float:
    """CPU a process has used, with that of its children, living and waited for."""
    total = 0.0
    for member in family(pid):
        with contextlib.suppress(FileNotFoundError):
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            total += sum(map(int, fields[11:13])) / TICKS_PER_SECOND
            if member == pid:
                total += sum(map(int, fields[13:15])) / TICKS_PER_SECOND
    return total


def resident_mb(pid: int) -> float:
    """Memory a process holds, in MB."""
    line = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) * 1024 / 1e6


def described() -> str:
    """The machine in a line."""
    cpu = next(
        (line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")), "?"
    )
    return f"{cpu}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"
