"""A line to the database: what it writes, what it says of a refusal, and that it comes back."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

from menhir.postgres import sql
from menhir.postgres.line import Line

REFUSE = sql.parse("tests.refuse", "-- takes: text text, most integer\nSELECT 1 / (length($1::text) <= $2::integer)::integer")
END = sql.parse("tests.end", "-- takes: nothing text\nSELECT pg_terminate_backend(pg_backend_pid()), $1::text")
LARGE = 8 * 1024 * 1024


@pytest.fixture
async def line():
    own = Line("app")
    yield own
    await own.close()


async def test_a_value_of_many_megabytes_is_written(line):
    await line.write(REFUSE, text=b"x" * LARGE, most=str(LARGE).encode())


async def test_a_refusal_is_raised_as_what_it_is_and_the_next_statement_runs(line):
    with pytest.raises(psycopg.errors.DivisionByZero):
        await line.write(REFUSE, text=b"xx", most=b"1")
    await line.write(REFUSE, text=b"x", most=b"1")


async def test_a_connection_that_is_cut_is_away_and_then_made_anew(line):
    with pytest.raises(psycopg.OperationalError):
        await line.write(END, nothing=b"")
    await line.write(REFUSE, text=b"x", most=b"1")


async def test_a_statement_takes_exactly_its_values(line):
    with pytest.raises(TypeError, match=r"tests\.refuse takes text, most"):
        await line.write(REFUSE, text=b"x")


async def test_what_is_written_and_what_is_asked_take_turns(line):
    asks = sql.parse("tests.asks", "-- gives: n integer\nSELECT 1 AS n")
    for _ in range(3):
        await line.write(REFUSE, text=b"x", most=b"1")
        assert [row.n for row in await line.all(asks)] == [1]


async def test_a_connection_that_is_cut_while_nobody_asks_is_made_anew(line, superuser):
    await line.write(REFUSE, text=b"x", most=b"1")
    async with line.connection() as connection:
        backend = connection.info.backend_pid
    await line.write(REFUSE, text=b"x", most=b"1")
    socket = line._connection.pgconn.socket
    async with await psycopg.AsyncConnection.connect(superuser, autocommit=True) as other:
        await other.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
    while not line._connection.closed:
        await asyncio.sleep(0.01)
    assert not asyncio.get_running_loop().remove_reader(socket)  # it would be readable for ever
    await line.write(REFUSE, text=b"x", most=b"1")
