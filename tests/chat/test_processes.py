"""Two web processes with one conversation, and the death of one of them."""

from __future__ import annotations

import pytest
from asgiref.sync import sync_to_async
from chat.conftest import Document, Web, begun, messages_of, opened

from apps.chat.markdown import render
from apps.chat.models import Status

pytestmark = pytest.mark.slow


async def test_two_processes_share_a_conversation(web, alice, assistant, upstream):
    await sync_to_async(assistant)(alice, orders="gap_ms=20&chunks=80")
    talk = await sync_to_async(begun)(alice)
    one, other = await sync_to_async(web)(), await sync_to_async(web)()
    page = Document()
    async with opened(one.base_url, alice, talk.id) as here, opened(other.base_url, alice, talk.id) as there:
        await here.ask("Hello?")
        turn = await here.hear("turn")
        assert (await there.hear("turn"))["html"] == turn["html"]
        while page.seq < 10:
            page.take(await there.hear("text"))
        await there.say(type="stop", run=turn["run"])
        assert (await there.hear("settled"))["status"] == "stopped"
        assert (await here.hear("settled"))["status"] == "stopped"
    for event in there.heard[there.heard.index(next(event for event in there.heard if event.get("seq") == page.seq)) + 1 :]:
        page.take(event)
    _, answer = await sync_to_async(messages_of)(alice, talk.id)
    assert answer.status == Status.STOPPED
    assert page.html == render(answer.text)
    assert upstream.wait(lambda stats: len(stats.cancelled) == 1)


async def test_the_answer_of_a_dead_process_keeps_what_came(web, alice, assistant):
    await sync_to_async(assistant)(alice, orders="gap_ms=30&chunks=2000")
    talk = await sync_to_async(begun)(alice)
    one, other = await sync_to_async(web)(), await sync_to_async(web)()
    page = Document()
    async with opened(one.base_url, alice, talk.id) as here:
        await here.ask("Talk for ever")
        run = (await here.hear("turn"))["run"]
        while page.seq < 10:
            page.take(await here.hear("text"))
        await sync_to_async(one.kill)()
    seen = page.seq
    async with opened(other.base_url, alice, talk.id) as there:
        await there.say(type="resume", run=run, seq=seen)
        end = await there.hear("settled")
        assert end["status"] == "interrupted"
        assert "What came is kept." in end["foot"]
        for event in there.heard:
            page.take(event)
        answer = (await sync_to_async(messages_of)(alice, talk.id))[-1]
        assert answer.status == Status.INTERRUPTED
        assert page.html == render(answer.text)
        shown = await sync_to_async(lambda: Web(other.base_url, alice).get(f"c/{talk.id}").text)()
        assert "This answer was interrupted." in shown
        await there.ask("And now?", below=answer.id)
        turn = await there.hear("turn")
        await there.say(type="stop", run=turn["run"])
        await there.hear("settled")


async def test_a_question_after_a_death_needs_no_reader_in_between(web, alice, assistant):
    await sync_to_async(assistant)(alice, orders="gap_ms=30&chunks=2000")
    talk = await sync_to_async(begun)(alice)
    one, other = await sync_to_async(web)(), await sync_to_async(web)()
    async with opened(one.base_url, alice, talk.id) as here:
        await here.ask("Talk for ever")
        await here.hear("turn")
        await here.hear("text")
        await sync_to_async(one.kill)()
    async with opened(other.base_url, alice, talk.id) as there:
        heard = {"type": "problem"}
        while heard["type"] == "problem":  # until the journal has found the process dead
            await there.ask("Another first")
            heard = await there.hear("turn", "problem")
        await there.say(type="stop", run=heard["run"])
        await there.hear("settled")
    statuses = [message.status for message in await sync_to_async(messages_of)(alice, talk.id)]
    assert statuses == [Status.COMPLETE, Status.INTERRUPTED, Status.COMPLETE, Status.STOPPED]
