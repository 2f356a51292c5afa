from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from asgiref.sync import async_to_sync
from channels.exceptions import ChannelFull

from menhir.postgres import roles
from menhir.postgres.listener import Listener
from menhir.realtime.errors import MessageTooLarge
from menhir.realtime.layer import MOST_MESSAGE_BYTES, PostgresChannelLayer


@asynccontextmanager
async def process(**options: object) -> AsyncIterator[PostgresChannelLayer]:
    """A layer with a listener of its own, as another process would have."""
    listener = Listener(lambda: roles.conninfo("app"))
    await listener.start()
    layer = PostgresChannelLayer(listener=listener, **options)
    try:
        yield layer
    finally:
        await layer.close()
        await listener.stop()


@pytest.fixture
async def here() -> AsyncIterator[PostgresChannelLayer]:
    async with process() as layer:
        yield layer


@pytest.fixture
async def there() -> AsyncIterator[PostgresChannelLayer]:
    async with process() as layer:
        yield layer


@pytest.fixture
def group() -> str:
    return f"group-{secrets.token_hex(4)}"


async def received(layer: PostgresChannelLayer, channel: str, *, within: float = 5) -> dict:
    return await asyncio.wait_for(layer.receive(channel), within)


async def silent(layer: PostgresChannelLayer, channel: str, by: str) -> bool:
    """Whether nothing came before a message that was sent last."""
    await layer.send(channel, {"type": by})
    return await received(layer, channel) == {"type": by}


async def test_a_message_to_one_channel_arrives_wherever_the_channel_is(here, there):
    for layer in (here, there):
        channel = await layer.new_channel()
        await here.send(channel, {"type": "hello", "n": [1, None, "é"]})
        assert await received(layer, channel) == {"type": "hello", "n": [1, None, "é"]}


async def test_a_group_reaches_its_members_in_every_process_and_nobody_else(here, there, group):
    members = [(layer, await layer.new_channel()) for layer in (here, here, there, there)]
    for layer, channel in members:
        await layer.group_add(group, channel)
    outsider, left = await there.new_channel(), await there.new_channel()
    await there.group_add(group + "-other", outsider)
    await there.group_add(group, left)
    await there.group_discard(group, left)
    await there.group_discard(group, left)

    await here.group_send(group, {"type": "ring"})
    for layer, channel in members:
        assert await received(layer, channel) == {"type": "ring"}
    assert await silent(there, outsider, by="last")
    assert await silent(there, left, by="last")


async def test_each_receiver_has_a_message_of_his_own(here, group):
    first, second = await here.new_channel(), await here.new_channel()
    await here.group_add(group, first)
    await here.group_add(group, second)
    await here.group_send(group, {"type": "ring", "ids": []})
    (await received(here, first))["ids"].append(1)
    assert await received(here, second) == {"type": "ring", "ids": []}


async def test_a_sender_s_messages_keep_their_order(here, there, group):
    channel = await there.new_channel()
    await there.group_add(group, channel)
    for n in range(0, 60, 2):
        await here.group_send(group, {"n": n})
        await here.send(channel, {"n": n + 1})
    assert [(await received(there, channel))["n"] for _ in range(60)] == list(range(60))


async def test_many_senders_share_commits_and_none_is_lost(here, there, group):
    async with process(capacity=600) as roomy:
        channel = await roomy.new_channel()
        await roomy.group_add(group, channel)
        await asyncio.gather(
            *(layer.group_send(group, {"n": n, "of": name}) for n in range(250) for layer, name in ((here, "h"), (there, "t")))
        )
        got = [await received(roomy, channel) for _ in range(500)]
    assert {(one["of"], one["n"]) for one in got} == {(name, n) for name in "ht" for n in range(250)}
    for name in "ht":
        assert [one["n"] for one in got if one["of"] == name] == list(range(250))


async def test_a_full_channel_misses_and_holds_up_nobody(group, here):
    async with process(capacity=3) as narrow:
        slow, quick = await narrow.new_channel(), await here.new_channel()
        await narrow.group_add(group, slow)
        await here.group_add(group, quick)
        for n in range(5):
            await narrow.group_send(group, {"n": n})
            assert await received(here, quick) == {"n": n}
        async with asyncio.timeout(5):
            while not narrow._mailboxes[slow].full():
                await asyncio.sleep(0.01)
        with pytest.raises(ChannelFull):
            await narrow.send(slow, {"n": "too many"})
        assert [(await received(narrow, slow))["n"] for _ in range(3)] == [0, 1, 2]


async def test_what_is_not_fetched_in_time_expires(here):
    async with process(expiry=0.05) as hasty:
        channel = await hasty.new_channel()
        await hasty.send(channel, {"type": "old"})
        async with asyncio.timeout(5):
            while channel not in hasty._mailboxes or not hasty._mailboxes[channel].abandoned():
                await asyncio.sleep(0.01)
        assert await silent(hasty, channel, by="new")


async def test_work_is_taken_by_one_process_only(here, there):
    channel = f"thumbnails-{secrets.token_hex(4)}"
    takers = [asyncio.create_task(take(layer, channel, count=10)) for layer in (here, there)]
    for n in range(20):
        await here.send(channel, {"n": n})
    taken = [one["n"] for task in takers for one in await asyncio.wait_for(task, 10)]
    assert sorted(taken) == list(range(20))


async def take(layer: PostgresChannelLayer, channel: str, *, count: int) -> list[dict]:
    return [await layer.receive(channel) for _ in range(count)]


async def test_work_is_refused_when_too_much_of_it_waits():
    async with process(channel_capacity={"thumb*": 2}) as layer:
        channel = f"thumbnails-{secrets.token_hex(4)}"
        await layer.send(channel, {"n": 1})
        await layer.send(channel, {"n": 2})
        with pytest.raises(ChannelFull):
            await layer.send(channel, {"n": 3})
        assert await received(layer, channel) == {"n": 1}


async def test_what_was_sent_while_the_listener_was_cut_off_arrives_once(here, there, group, cut):
    channel = await there.new_channel()
    await there.group_add(group, channel)
    await here.group_send(group, {"n": 0})
    assert await received(there, channel) == {"n": 0}
    for n in range(1, 40):
        if n % 10 == 0:
            await cut()
        await here.group_send(group, {"n": n})
    assert [(await received(there, channel))["n"] for _ in range(39)] == list(range(1, 40))
    assert await silent(there, channel, by="last")


async def test_who_joins_later_does_not_hear_what_was_said_before(here, there, group, behind):
    early, late = await there.new_channel(), await there.new_channel()
    await there.group_add(group, early)
    await here.group_send(group, {"n": 1})
    assert await received(there, early) == {"n": 1}
    await there.group_add(group, late)
    there._inbox._seen.clear()
    there._inbox.was_deaf()
    assert await received(there, early) == {"n": 1}
    assert await silent(there, late, by="last")


async def test_refuses_what_is_no_doorbell(here, there, group):
    channel = await here.new_channel()
    with pytest.raises(MessageTooLarge):
        await here.group_send(group, {"text": "x" * MOST_MESSAGE_BYTES})
    with pytest.raises(TypeError):
        await here.send(channel, "text")
    with pytest.raises(TypeError):
        await here.group_send("no spaces", {})
    with pytest.raises(ValueError, match="another process"):
        await there.group_add(group, channel)
    with pytest.raises(ValueError, match="in the process that made it"):
        await there.receive(channel)


async def test_flush_forgets_everything(here, group):
    channel = await here.new_channel()
    await here.group_add(group, channel)
    await here.group_send(group, {"n": 1})
    await here.flush()
    await here.group_send(group, {"n": 2})
    assert await silent(here, channel, by="last")


async def test_expired_messages_are_deleted_by_who_sends(here, group, behind, monkeypatch):
    monkeypatch.setattr("menhir.realtime.desk.PRUNE_EVERY_SECONDS", 0)
    await behind.execute(
        "INSERT INTO realtime_message SELECT gen_random_uuid(), 'group:x', false, '', now() - interval '1 h', now() - interval '1 min' FROM generate_series(1, 5)"
    )
    await here.group_send(group, {"n": 1})
    async with asyncio.timeout(5):
        while (await (await behind.execute("SELECT count(*) FROM realtime_message WHERE expires_at < now()")).fetchone())[0]:
            await asyncio.sleep(0.01)


def test_serves_one_event_loop_after_another_and_views_that_have_none(group):
    layer = PostgresChannelLayer(listener=Listener(lambda: roles.conninfo("app")))

    async def hear(n: int) -> dict:
        channel = await layer.new_channel()
        await layer.group_add(group, channel)
        waiting = asyncio.create_task(layer.receive(channel))
        await asyncio.to_thread(async_to_sync(layer.group_send), group, {"n": n})
        message = await asyncio.wait_for(waiting, 5)
        await layer.group_discard(group, channel)
        return message

    for n in range(3):
        assert asyncio.run(hear(n)) == {"n": n}
    async_to_sync(layer.group_send)(group, {"n": "nobody"})
    assert len(layer._desks) <= 2


@pytest.mark.slow
async def test_a_real_second_process_answers(here, group, start):
    echo = await start("echo.py", group)
    await echo.says("ready")
    channel = await here.new_channel()
    for n in range(20):
        await here.group_send(group, {"reply": channel, "n": n})
    assert [(await received(here, channel))["n"] for _ in range(20)] == list(range(20))
