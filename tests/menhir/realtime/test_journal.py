from __future__ import annotations

import asyncio
from uuid import UUID, uuid4

import pytest

from menhir.errors import Invalid
from menhir.realtime.errors import EventTooLarge, NoSuchRun, RunOver
from menhir.realtime.run import MOST_EVENT_BYTES


async def collect(journal, tenant_id: UUID, run_id: UUID, after: int = 0) -> list[tuple[int, dict]]:
    async with asyncio.timeout(30):
        return [(seq, event) async for seq, event in journal.follow(tenant_id, run_id, after)]


def texts(count: int, *, start: int = 1) -> list[tuple[int, dict]]:
    return [(seq, {"kind": "text", "text": f"word {seq}"}) for seq in range(start, count + 1)]


def end(seq: int, outcome: str = "completed") -> tuple[int, dict]:
    return (seq, {"kind": "end", "outcome": outcome})


async def test_what_was_appended_is_followed_live_on_this_process_and_on_another(journal, other_journal, tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    here = asyncio.create_task(collect(journal, tenant_id, run.id))
    there = asyncio.create_task(collect(other_journal, tenant_id, run.id))
    late = None
    for seq in range(1, 301):
        assert await run.append({"kind": "text", "text": f"word {seq}"}) == seq
        if seq % 7 == 0:
            await asyncio.sleep(0.001)
        if seq == 150:
            late = asyncio.create_task(collect(other_journal, tenant_id, run.id, after=100))
    assert await run.end("completed") == "completed"

    assert await here == [*texts(300), end(301)]
    assert await there == [*texts(300), end(301)]
    assert await late == [*texts(300, start=101), end(301)]


async def test_a_follower_of_a_live_run_gets_what_is_there_at_once(journal, other_journal, tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    for seq in range(1, 4):
        await run.append({"kind": "text", "text": f"word {seq}"})
    followed = other_journal.follow(tenant_id, run.id)
    async with asyncio.timeout(5):
        assert [await anext(followed) for _ in range(3)] == texts(3)
        waiting = asyncio.ensure_future(anext(followed))
        await run.append({"kind": "text", "text": "word 4"})
        assert await waiting == (4, {"kind": "text", "text": "word 4"})
    await followed.aclose()
    await run.end("completed")


@pytest.mark.parametrize("after", [0, 1, 199, 200, 201, 499, 500, 501, 900])
async def test_resumes_after_any_number(journal, other_journal, tenant_id, after):
    run = await journal.begin(tenant_id, "conversation:1")
    for seq in range(1, 501):
        await run.append({"kind": "text", "text": f"word {seq}"})
    await run.end("completed")
    assert await collect(other_journal, tenant_id, run.id, after) == [*texts(500), end(501)][after:]


async def test_a_slow_follower_reads_on_from_the_journal_and_blocks_nobody(journal, other_journal, tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    await run.append({"kind": "text", "text": "word 1"})
    slow = other_journal.follow(tenant_id, run.id)
    heard = [await anext(slow)]
    quick = asyncio.create_task(collect(other_journal, tenant_id, run.id))
    for seq in range(2, 1501):
        await run.append({"kind": "text", "text": f"word {seq}"})
    await run.end("completed")
    assert await quick == [*texts(1500), end(1501)]
    heard += [one async for one in slow]
    assert heard == [*texts(1500), end(1501)]


async def test_many_runs_of_two_tenants_are_served_side_by_side(journal, other_journal, tenant_id, other_tenant_id):
    runs = [await journal.begin(tenant, f"conversation:{n}") for n in range(15) for tenant in (tenant_id, other_tenant_id)]
    followers = [asyncio.create_task(collect(other_journal, run.tenant_id, run.id)) for run in runs]

    async def write(run, count):
        for seq in range(1, count + 1):
            await run.append({"kind": "text", "text": f"word {seq}"})
            await asyncio.sleep(0)
        await run.end("completed")

    await asyncio.gather(*(write(run, 10 + number) for number, run in enumerate(runs)))
    for number, follower in enumerate(followers):
        assert await follower == [*texts(10 + number), end(11 + number)]


async def test_mallory_can_neither_follow_nor_stop_what_is_not_hers(journal, tenant_id, other_tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    await run.append({"kind": "text", "text": "secret"})
    for run_id in (run.id, uuid4()):
        with pytest.raises(NoSuchRun):
            await collect(journal, other_tenant_id, run_id)
        with pytest.raises(NoSuchRun):
            await journal.request_stop(other_tenant_id, run_id)
    assert await journal.live(other_tenant_id, "conversation:1") == []
    assert await journal.live(tenant_id, "conversation:1") == [run.id]
    assert not run.stop_requested.is_set()
    await run.end("completed")
    assert await journal.live(tenant_id, "conversation:1") == []


async def test_anyone_in_the_tenant_may_stop_it_from_another_process(journal, other_journal, tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    await other_journal.request_stop(tenant_id, run.id)
    await other_journal.request_stop(tenant_id, run.id)
    await asyncio.wait_for(run.stop_requested.wait(), 5)
    await run.end("stopped")
    assert await collect(journal, tenant_id, run.id) == [end(1, "stopped")]
    await other_journal.request_stop(tenant_id, run.id)  # has ended: nothing to ask


async def test_a_run_has_one_end(journal, tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    assert await run.end("failed") == "failed"
    assert await run.end("completed") == "failed"
    with pytest.raises(RunOver):
        await run.append({"kind": "text"})
    assert await collect(journal, tenant_id, run.id) == [end(1, "failed")]


async def test_as_a_context_it_ends_itself(journal, tenant_id):
    async with await journal.begin(tenant_id, "conversation:1") as whole:
        await whole.append({"kind": "text"})
    with pytest.raises(ZeroDivisionError):
        async with await journal.begin(tenant_id, "conversation:1") as broken:
            raise ZeroDivisionError
    assert (await collect(journal, tenant_id, whole.id))[-1] == end(2)
    assert (await collect(journal, tenant_id, broken.id))[-1] == end(1, "failed")


async def test_takes_whatever_a_model_says(journal, other_journal, tenant_id):
    said = ["", "\x00", '\u2028 \\u0000 \\ "', "😀", "é" * 1000, "\x1b[0m", "</script>"]
    run = await journal.begin(tenant_id, "conversation:1")
    for text in said:
        await run.append({"kind": "text", "text": text})
    await run.append({"kind": "text", "text": "half \ud83d"})
    await run.end("completed")
    heard = [event.get("text") for _, event in await collect(other_journal, tenant_id, run.id)]
    assert heard == [*said, "half ?", None]


async def test_refuses_what_is_no_event(journal, tenant_id):
    run = await journal.begin(tenant_id, "conversation:1")
    with pytest.raises(Invalid, match="JSON"):
        await run.append({"kind": "text", "text": object()})
    with pytest.raises(Invalid, match="journal's own"):
        await run.append({"kind": "end"})
    with pytest.raises(EventTooLarge):
        await run.append({"kind": "text", "text": "x" * MOST_EVENT_BYTES})
    with pytest.raises(Invalid, match="topic"):
        await journal.begin(tenant_id, "")
    assert await run.append({"kind": "text", "text": "fine"}) == 1
    with pytest.raises(Invalid, match="ends as one of"):
        await run.end("finished")
    await run.end("completed")
