"""How soon `web` is ready, how much memory it holds, and how long the page of calls takes with 100,000 of them.

    python benchmarks/web/run.py     # writes benchmarks/results/web-<date>.md

It starts a whole installation in a temporary home (`manage.py up`), then `web` alone on its database, five times.
"""

from __future__ import annotations

import datetime as dt
import http.cookiejar
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
import urllib.parse
import urllib.request
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results"
STARTS, PAGES = 5, 50
CALLS, LOOKS = 100_000, 20
# What the page of calls is asked for, and its name.
CALL_PAGES = {
    "": "newest",
    "?outcome=failed": "failed, 1 in 500",
    "?outcome=completed": "completed",
    "?outcome=interrupted": "interrupted, none",
    "?model=rare": "of a model, 1 in 1,000",
    "?unit=nobody": "of a user who made none",
    "?outcome=unsettled": "under way, none",
}
CHARACTERS_OF_A_PAGE = 1_000
DAY = "CREATE TABLE IF NOT EXISTS {table}_{day:%Y%m%d} PARTITION OF {table} FOR VALUES FROM ('{day} 00:00+00') TO ('{after} 00:00+00')"
# Over the last six days; an id is a UUIDv7 of its moment, as everywhere.
FILL = """
    WITH made AS (
        SELECT n, now() - n * interval '6 days' / %(calls)s AS at FROM generate_series(0, %(calls)s - 1) AS n
    ), call AS (
        INSERT INTO metering_call (
            tenant_id, opened_at, id, process_id, operation, model, route, unit, stream, estimate
        )
        SELECT %(tenant)s, at,
               (lpad(to_hex((extract(epoch FROM at) * 1000)::bigint), 12, '0') || '7' || substr(md5(n::text), 1, 3)
                || '8' || substr(md5(n::text), 4, 15))::uuid,
               gen_random_uuid(), 'chat', CASE WHEN n %% 1000 = 0 THEN 'rare' ELSE 'model-' || n %% 5 END, 'r', 'user-' || n %% 5000,
               true, 0.001
        FROM made RETURNING tenant_id, opened_at, id
    )
    INSERT INTO metering_settlement
    SELECT tenant_id, opened_at, id, opened_at, CASE WHEN row_number() OVER () %% 500 = 0 THEN 'failed' ELSE 'completed' END, 200, 'openai',
           'gpt-4o-mini', 1, 1000, 100, 0, 0, 'upstream', 0.00021, true, 200, 900, NULL FROM call
"""
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
            fill(owner or "")
            looked = look(f"http://127.0.0.1:{environment['PORT']}", first["email"], first["password"])
        finally:
            up.terminate()
            up.wait()
    report(measured, looked)


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


def fill(owner: str) -> None:
    """Give the first tenant 100,000 calls."""
    with psycopg.connect(owner, autocommit=True) as connection:
        today = dt.datetime.now(tz=dt.UTC).date()
        for table in ("metering_call", "metering_settlement"):
            for days in range(2, 8):  # today's and yesterday's are there
                day = today - dt.timedelta(days=days)
                connection.execute(DAY.format(table=table, day=day, after=day + dt.timedelta(days=1)))
        connection.execute("ALTER TABLE tenancy_tenant NO FORCE ROW LEVEL SECURITY")  # or not even its owner sees whom there is
        found = connection.execute("SELECT id FROM tenancy_tenant ORDER BY created_at LIMIT 1").fetchone()
        assert found is not None
        with connection.transaction():
            connection.execute("SELECT menhir.set_tenant(%s)", found)
            connection.execute(FILL, {"tenant": found[0], "calls": CALLS})
        connection.execute("ANALYZE metering_call, metering_settlement")


def look(base: str, email: str, password: str) -> dict[str, list[float]]:
    """Sign in, and ask for each page of calls some times; milliseconds until its last byte."""
    cookies = http.cookiejar.CookieJar()
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(cookies))
    door = f"{base}/accounts/login/"
    browser.open(door).read()
    token = next(cookie.value for cookie in cookies if cookie.name == "menhir_csrf")
    said = urllib.parse.urlencode({"login": email, "password": password, "csrfmiddlewaretoken": token}).encode()
    with browser.open(urllib.request.Request(door, data=said, headers={"Referer": door})) as entered:  # noqa: S310  # our own server
        place = "/".join(entered.url.split("/")[:5])
    times: dict[str, list[float]] = {}
    for query, name in CALL_PAGES.items():
        for _number in range(LOOKS + 1):
            began = time.monotonic()
            with browser.open(f"{place}/console/calls/{query}") as page:
                assert len(page.read()) > CHARACTERS_OF_A_PAGE
            times.setdefault(name, []).append((time.monotonic() - began) * 1000)
    return {name: found[1:] for name, found in times.items()}  # the first has templates to read


def report(measured: list[dict[str, float]], looked: dict[str, list[float]]) -> None:
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
    lines += [
        "",
        f"Milliseconds until the last byte of the console's page of calls, {CALLS:,} calls of the tenant in six days, {LOOKS} times each.",
        "Required: under 200 ms.",
        "",
        "| calls | median | least | most |",
        "|---|---|---|---|",
    ]
    for name, values in looked.items():
        lines.append(f"| {name} | {statistics.median(values):.0f} | {min(values):.0f} | {max(values):.0f} |")
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
