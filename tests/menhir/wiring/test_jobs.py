"""Jobs: every room's are found and run, none is lost with its worker, none is kept for ever."""

from __future__ import annotations

import uuid

import psycopg
import pytest
from django.db import connection, connections
from procrastinate.contrib.django import app

from apps.chat.jobs import purge_conversation
from menhir.postgres import pools
from menhir.wiring import jobs

from stage.servers import eventually

CUT = """SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name <> 'test'"""


@pytest.fixture
def watching(superuser):
    with psycopg.connect(superuser, autocommit=True, application_name="test") as connection:
        yield connection


def _defer(alice) -> int:
    return purge_conversation.defer(tenant_id=str(alice.tenant.id), conversation_id=str(uuid.uuid4()))


def _status(watching, job: int) -> str:
    return watching.execute("SELECT status::text FROM procrastinate_jobs WHERE id = %s", [job]).fetchone()[0]


def test_the_jobs_of_every_room_are_known():
    known = set(app.tasks)
    assert {
        "knowledge.ingest",
        "knowledge.rescue",
        "chat.purge_conversation",
        "metering.make_partitions",
        "upkeep.rescue",
        "upkeep.prune",
    } <= known
    assert all(len(task.queue) < 40 for task in app.tasks.values())
    periodic = {task.name for task in (entry.task for entry in app.periodic_registry.periodic_tasks.values())}
    assert {"knowledge.rescue", "metering.make_partitions", "upkeep.rescue", "upkeep.prune"} <= periodic


@pytest.mark.slow
def test_the_worker_takes_every_queue_and_survives_the_loss_of_its_connections(worker, alice, watching):
    first = _defer(alice)
    server = worker()
    eventually(lambda: _status(watching, first) == "succeeded", what="the first job")
    eventually(
        lambda: watching.execute("SELECT 1 FROM procrastinate_periodic_defers WHERE task_name = 'upkeep.rescue'").fetchone(),
        seconds=90,
        what="a periodic job",
    )
    assert watching.execute(CUT).fetchone()[0] > 0
    connections.close_all()  # ours were among them; it is the worker who has to find his way back
    connection.close_pool()
    second = _defer(alice)
    eventually(lambda: _status(watching, second) == "succeeded", seconds=40, what="a job after the loss")
    assert server.process.poll() is None


@pytest.mark.slow
async def test_a_job_whose_worker_was_killed_is_done_by_another(worker, alice, watching, superuser):
    from asgiref.sync import sync_to_async

    server = await sync_to_async(worker)()
    with psycopg.connect(superuser, application_name="test") as blocking:
        blocking.execute("LOCK TABLE chat_conversation IN ACCESS EXCLUSIVE MODE")
        job = await sync_to_async(_defer)(alice)
        await sync_to_async(eventually)(lambda: _status(watching, job) == "doing", what="the job being under way")
        await sync_to_async(server.kill)()
    await jobs.rescue(timestamp=0)
    assert _status(watching, job) == "doing", "its worker may still be alive"
    watching.execute("UPDATE procrastinate_workers SET last_heartbeat = last_heartbeat - interval '1 minute'")
    await jobs.rescue(timestamp=0)
    assert _status(watching, job) == "todo"
    await sync_to_async(worker)()
    await sync_to_async(eventually)(lambda: _status(watching, job) == "succeeded", what="the job being done after all")


async def test_a_job_that_kills_every_worker_is_given_up(alice, watching):
    from asgiref.sync import sync_to_async

    job = await sync_to_async(_defer)(alice)
    watching.execute("UPDATE procrastinate_jobs SET status = 'doing', attempts = %s WHERE id = %s", [jobs.MOST_RESCUES, job])
    await jobs.rescue(timestamp=0)
    assert _status(watching, job) == "failed"


@pytest.fixture
async def pool():
    """As `worker` holds it."""
    await pools.app.open()
    yield
    await pools.app.close()


@pytest.mark.usefixtures("pool")
async def test_sessions_and_counters_that_ended_are_deleted(watching):
    mark = uuid.uuid4().hex[:8]
    for name, life in (("over", "-1 minute"), ("live", "1 minute")):
        watching.execute("INSERT INTO django_session VALUES (%s, '', now() + %s::interval)", [f"{mark}{name}", life])
        watching.execute("INSERT INTO identity_cache VALUES (%s, '', now() + %s::interval)", [f"{mark}{name}", life])
    await jobs.prune(timestamp=0)
    for table, column in (("django_session", "session_key"), ("identity_cache", "cache_key")):
        left = watching.execute(f"SELECT {column} FROM {table} WHERE {column} LIKE %s", [f"{mark}%"]).fetchall()
        assert left == [(f"{mark}live",)]


@pytest.mark.usefixtures("pool")
async def test_jobs_that_ended_long_ago_are_deleted(alice, watching):
    from asgiref.sync import sync_to_async

    ended = {status: await sync_to_async(_defer)(alice) for status in ("succeeded", "failed", "cancelled")}
    recent, waiting = await sync_to_async(_defer)(alice), await sync_to_async(_defer)(alice)
    for status, job in [*ended.items(), ("succeeded", recent)]:
        watching.execute("UPDATE procrastinate_jobs SET status = %s::procrastinate_job_status WHERE id = %s", [status, job])
    watching.execute("UPDATE procrastinate_events SET at = at - interval '4 days' WHERE job_id = ANY(%s)", [[*ended.values(), waiting]])
    await jobs.prune(timestamp=0)
    left = watching.execute("SELECT id FROM procrastinate_jobs WHERE id = ANY(%s)", [[*ended.values(), recent, waiting]]).fetchall()
    assert {job for (job,) in left} == {ended["failed"], recent, waiting}
