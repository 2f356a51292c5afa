"""A run and a tail without a database: whatever the disk says, what is read is what was written, without a gap."""

from __future__ import annotations

import asyncio
from datetime import date
from uuid import UUID

import orjson
from hypothesis import given
from hypothesis import strategies as st

from menhir.realtime.run import KEPT_SECONDS, Run
from menhir.realtime.tail import MOST_EVENTS, Tail

ID = UUID(int=1)
DAY = date(2030, 1, 1)

steps = st.lists(
    st.one_of(
        st.tuples(st.just("append"), st.integers(1, 60)),
        st.tuples(st.just("flush"), st.integers(1, 50)),
        st.tuples(st.just("answer lost"), st.integers(1, 50)),
        st.tuples(st.just("crash"), st.integers(0, 40)),
    ),
    max_size=40,
)


class Disk:
    """The table as `journal_append` keeps it."""

    def __init__(self) -> None:
        self.rows: list[bytes] = []

    def append(self, entries) -> int:
        if entries and entries[0].seq <= len(self.rows) + 1:
            self.rows += [entry.body for entry in entries if entry.seq > len(self.rows)]
        return len(self.rows)


@given(steps)
def test_the_journal_has_no_gap_whatever_the_disk_forgets(steps):
    disk, changed = Disk(), []
    run = Run(tenant_id=ID, run_id=ID, topic="t", day=DAY, changed=changed.append, ended=changed.append)

    async def play() -> None:
        for step, count in steps:
            if step == "append":
                for _ in range(count):
                    await run.append({"n": run.seq + 1})
            elif step == "crash":
                disk.rows = disk.rows[: max(0, len(disk.rows) - count)]
            elif entries := run.waiting(count):
                stored = disk.append(entries)
                if step == "flush":
                    run.stored_up_to(stored, now=0.0)
        while entries := run.waiting(50):
            run.stored_up_to(disk.append(entries), now=0.0)

    asyncio.run(play())
    if not (steps and steps[-1][0] == "crash"):
        whole = [orjson.loads(body)["n"] for body in disk.rows]
        assert whole == list(range(1, len(whole) + 1))
    assert run.ending is None
    assert run._waiting_bytes == 0


def test_what_is_safe_on_the_disk_is_forgotten_after_a_while():
    run = Run(tenant_id=ID, run_id=ID, topic="t", day=DAY, changed=id, ended=id)

    async def play() -> None:
        for now in range(20):
            await run.append({"n": now})
            run.stored_up_to(run.seq, now=float(now))

    asyncio.run(play())
    assert [entry.seq for entry in run._entries] == list(range(20 - int(KEPT_SECONDS), 21))

    run.stored_up_to(3, now=20.0)  # far more lost than any crash loses: better an early end than a gap
    assert (run.ending, run.seq) == ("interrupted", 3)


@given(st.lists(st.tuples(st.integers(1, 30), st.integers(1, 40)), max_size=30), st.integers(0, 60))
def test_a_tail_hands_out_only_what_follows(batches, head):
    tail = Tail(tenant_id=ID, run_id=ID, day=DAY, head=head, last_seq=None)
    taken = head
    for first, count in batches:
        rows = [(seq, orjson.dumps({"n": seq})) for seq in range(first, first + count)]
        tail.take(rows)
        taken = max([taken, *(seq for seq, _ in rows if first <= taken + 1)])
        assert tail.head == taken
        for after in range(max(0, taken - 50), taken + 2):
            heard = tail.after(after)
            assert [one.event["n"] for one in heard] == (list(range(after + 1, taken + 1)) if heard else [])


def test_a_tail_is_bounded():
    tail = Tail(tenant_id=ID, run_id=ID, day=DAY, head=0, last_seq=None)
    tail.take((seq, b"{}") for seq in range(1, 5000))
    assert tail.after(0) == []
    assert tail.behind(0)
    assert len(tail.after(4999 - MOST_EVENTS)) == MOST_EVENTS
