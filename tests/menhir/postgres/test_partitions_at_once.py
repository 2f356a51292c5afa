"""Partitions by day, asked for by many at once."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import psycopg

from menhir.postgres.roles import conninfo

PROCESSES, DAYS_AHEAD = 8, 25


def test_many_processes_that_start_at_once_make_them_once():
    gate = threading.Barrier(PROCESSES)

    def start(_number):
        with psycopg.connect(conninfo("app"), autocommit=True) as connection:
            gate.wait(30)
            return connection.execute("SELECT menhir.ensure_day_partitions('metering_call', %s)", [DAYS_AHEAD]).fetchone()[0]

    with ThreadPoolExecutor(PROCESSES) as together:
        made = list(together.map(start, range(PROCESSES)))
    assert 0 < sum(made) <= DAYS_AHEAD + 2, made  # a day that was made twice would have raised
