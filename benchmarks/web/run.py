"""How soon `web` is ready, and how much memory it holds: at the start, after pages, after an answer.

    python benchmarks/web/run.py     # writes benchmarks/results/web-<date>.md

It starts a whole installation in a temporary home (`manage.py up`), then `web` alone on its database, five times.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
STARTS, PAGES = 5, 50
sys.path[:0] = [str(ROOT), str(ROOT / "platform")]


def main() -> None:
    """Measure and write."""
    from menhir.postgres import embedded

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "home"
        home.mkdir()
        ours = ("MENHIR_", "DATABASE_URL", "OPENAI_")
        environment = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
        environment |= {"MENHIR_HOME": str(home), "PORT": str(free_port())}
        up = subprocess.Popen([sys.executable, str(ROOT / "manage.py"), "up"], env=environment, stdout=subprocess.DEVNULL)
        try:
            wait(f"http://127.0.0.1:{environment['PORT']}/readyz")
            first = json.loads((home / "first-tenant.json").read_text())
            owner = embedded.owner_if_running(home / "postgres", secret=(home / "secret-key").read_text().strip())
            measured = [start({**environment, "DATABASE_URL": owner or ""}, first["api_key"]) for _number in range(STARTS)]
        finally:
            up.terminate()
            up.wait()
    report(measured)


def start(environment: dict[str, str], key: str) -> dict[str, float]:
    """One life of `web`."""
    port = free_port()
    began = time.monotonic()
    web = subprocess.Popen(
        [sys.executable, str(ROOT / "manage.py"), "web", "--port", str(port)], env=environment, stderr=subprocess.DEVNULL
    )
    try:
        base = f"http://127.0.0.1:{port}"
        wait(f"{base}/readyz")
        found = {"ready_seconds": time.monotonic() - began, "mb_ready": resident_mb(web.pid)}
        for _number in range(PAGES):
            urllib.request.urlopen(f"{base}/accounts/login/").read()  # noqa: S310  # our own server
        found["mb_after_pages"] = resident_mb(web.pid)
        body = json.dumps({"model": "assistant:docs", "messages": [{"role": "user", "content": "How do I create an API key?"}]}).encode()
        asked = urllib.request.Request(f"{base}/v1/chat/completions", data=body, headers={"Authorization": f"Bearer {key}"})  # noqa: S310
        urllib.request.urlopen(asked).read()  # noqa: S310
        found["mb_after_answer"] = resident_mb(web.pid)
        return found
    finally:
        web.terminate()
        web.wait()


def report(measured: list[dict[str, float]]) -> None:
    """Write the medians with their conditions."""
    today = dt.datetime.now(tz=dt.UTC).date()
    lines = [
        f"# web: start and memory, {today}",
        "",
        f"{STARTS} starts, {os.cpu_count()} cores, Python {platform.python_version()}, embedded PostgreSQL on the same machine.",
        f"Load at the end {os.getloadavg()[0]:.1f}. Required: ready in under 3 s, under 150 MB resident.",
        "",
        "| | median | least | most |",
        "|---|---|---|---|",
    ]
    for name, label in (
        ("ready_seconds", "seconds until ready"),
        ("mb_ready", "MB resident when ready"),
        ("mb_after_pages", f"MB after {PAGES} pages"),
        ("mb_after_answer", "MB after the first answer (the openai SDK is loaded then)"),
    ):
        values = [one[name] for one in measured]
        lines.append(f"| {label} | {statistics.median(values):.2f} | {min(values):.2f} | {max(values):.2f} |")
    RESULTS.mkdir(exist_ok=True)
    text = "\n".join(lines) + "\n"
    (RESULTS / f"web-{today}.md").write_text(text, encoding="utf-8")
    print(text)


def resident_mb(pid: int) -> float:
    """Resident memory of a process, in MB."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line for line in status.splitlines() if line.startswith("VmRSS")).split()[1]) / 1024


def wait(url: str, *, seconds: float = 60) -> None:
    """Until it answers 200."""
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        try:
            with urllib.request.urlopen(url, timeout=2):  # noqa: S310  # our own server
                return
        except (urllib.error.URLError, OSError):
            time.sleep(0.02)
    raise TimeoutError(url)


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


if __name__ == "__main__":
    main()
