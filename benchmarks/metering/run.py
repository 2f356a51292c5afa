"""How long a price takes, and how long thirty days of a busy tenant's usage take to be summed.

    python benchmarks/metering/run.py     # prints what it found

It works on a database of its own, in a temporary folder.
"""

from __future__ import annotations

import atexit
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import psycopg

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "platform"), str(ROOT)]
SECRET = "for the benchmark's own database"  # noqa: S105
PRICES, SUMS, CALLS = 1_000, 20, 100_000
FIRST_DAY, DAYS = date(2030, 6, 1), 30

FILL = """
    WITH made AS (
        INSERT INTO metering_call
        SELECT %(tenant)s, timestamptz '2030-06-01 00:00+00' + n * interval '30 days' / %(calls)s, gen_random_uuid(), gen_random_uuid(),
               'chat', 'model-' || n %% 5, 'r', NULL, NULL, NULL, NULL, true, 0.001
        FROM generate_series(0, %(calls)s - 1) AS n RETURNING *
    )
    INSERT INTO metering_settlement
    SELECT tenant_id, opened_at, id, opened_at, 'completed', 200, 'openai', 'gpt-4o-mini', 1, 1000, 100, 0, 0, 'upstream', 0.00021, true,
           200, 900, NULL FROM made
"""


def main() -> None:
    """Measure and print."""
    home = Path(tempfile.mkdtemp(prefix="menhir-bench-"))
    # Registered first, so that it runs after the embedded server has been stopped.
    atexit.register(shutil.rmtree, home, ignore_errors=True)
    superuser = database(home)
    print(f"{os.cpu_count()} cores, Python {platform.python_version()}, load {os.getloadavg()[0]:.1f}. Required: a price in")
    print(f"microseconds, a sum over {CALLS:,} calls as the console asks for it in under 200 ms.\n")
    prices()
    sums(superuser)


def database(home: Path) -> str:
    """Start a database, migrate it and have Django use it; the superuser's connection string."""
    from menhir.postgres import embedded

    owner = embedded.start(home / "postgres", secret=SECRET)
    os.environ |= {"DATABASE_URL": owner, "MENHIR_SECRET_KEY": SECRET, "MENHIR_HOME": str(home), "MENHIR_LOG_LEVEL": "WARNING"}
    os.environ["DJANGO_SETTINGS_MODULE"] = "menhir.wiring.settings"
    subprocess.run([sys.executable, str(ROOT / "manage.py"), "migrate_all"], check=True, stdout=subprocess.DEVNULL)
    import django

    django.setup()
    return psycopg.conninfo.make_conninfo(
        embedded.superuser_conninfo(home / "postgres", secret=SECRET), dbname=psycopg.conninfo.conninfo_to_dict(owner)["dbname"]
    )


def prices() -> None:
    """What a call pays for its price, once the model was looked up."""
    from menhir.metering import prices
    from menhir.metering.entries import Usage

    usage, at = Usage(input_tokens=1_000, output_tokens=100), datetime(2026, 6, 1, 12, tzinfo=UTC)
    for model in ("gpt-4o-mini", "no-such-model"):
        prices.cost(provider="openai", model=model, usage=usage, at=at)
        began = time.process_time()
        for _ in range(PRICES):
            prices.cost(provider="openai", model=model, usage=usage, at=at)
        print(f"price of {model}: {(time.process_time() - began) / PRICES * 1e6:.1f} µs")


def sums(superuser: str) -> None:
    """What the console's chart waits for."""
    from menhir.identity.models import User
    from menhir.metering import usage
    from menhir.tenancy.models import Tenant
    from menhir.tenancy.transaction import tenant_transaction

    owner = User.objects.create_user("alice@example.com", name="Alice", is_proven=True)
    acme = Tenant.found(slug="acme", name="Acme", owner=owner)
    with psycopg.connect(superuser, autocommit=True) as connection:
        for day in (FIRST_DAY + timedelta(days=n) for n in range(DAYS)):
            for table in ("metering_call", "metering_settlement"):
                connection.execute(
                    f"CREATE TABLE {table}_{day:%Y%m%d} PARTITION OF {table} "
                    f"FOR VALUES FROM ('{day} 00:00+00') TO ('{day + timedelta(days=1)} 00:00+00')"
                )
        connection.execute(FILL, {"tenant": acme.id, "calls": CALLS})
        connection.execute("ANALYZE metering_call")
        connection.execute("ANALYZE metering_settlement")

    def summed() -> None:
        with tenant_transaction(acme):
            summary = usage.summary(acme, first_day=FIRST_DAY, last_day=FIRST_DAY + timedelta(days=DAYS - 1))
        assert summary.total.calls == CALLS

    took = [seconds(summed) for _ in range(SUMS)]
    print(
        f"sum over {CALLS:,} calls: median {statistics.median(took) * 1e3:.0f} ms, least {min(took) * 1e3:.0f}, most {max(took) * 1e3:.0f}"
    )


def seconds(work: Callable[[], None]) -> float:
    """How long it took."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


if __name__ == "__main__":
    main()
