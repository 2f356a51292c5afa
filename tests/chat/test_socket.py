"""Asking over the socket: live, stoppable, resumable, and one's own."""

from __future__ import annotations

import asyncio
from uuid import uuid4

import pytest
from asgiref.sync import sync_to_async
from chat.conftest import Document, begun, messages_of, opened

from apps.chat.draft import Passage, sources_of
from apps.chat.live import LiveText
from apps.chat.markdown import render
from apps.chat.models import Status
from apps.chat.sources import Source
from menhir.realtime.journal import journal
from menhir.tenancy.transaction import tenant_transaction

from peers.script import TEXT

WHOLE = " ".join(TEXT.split())


async def test_a_question_is_answered_live(server, alice, assistant):
    await sync_to_async(assistant)(alice, orders="gap_ms=10")
    talk = await sync_to_async(begun)(alice)
    page = Document()
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("What is a menhir?")
        turn = await tab.hear("turn")
        assert "What is a menhir?" in turn["html"]
        assert turn["run"] in turn["html"]
        end = await tab.hear("settled")
    texts = [event for event in tab.heard if event["type"] == "text"]
    assert len(texts) > 3, "it came in pieces"
    for event in tab.heard:
        page.take(event)
    question, answer = await sync_to_async(messages_of)(alice, talk.id)
    assert (question.author, question.text, question.parent_id) == ("user", "What is a menhir?", None)
    assert (answer.author, answer.status, answer.parent_id) == ("assistant", Status.COMPLETE, question.id)
    assert answer.text.strip() == WHOLE
    assert page.html == render(answer.text)
    assert end["status"] == "complete"
    assert end["html"] is None
    assert "data-regenerate" in end["foot"]


async def test_the_model_is_told_the_branch_and_the_conversation(server, alice, assistant, upstream):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("First")
        await tab.hear_turn_and_end()
        messages = await sync_to_async(messages_of)(alice, talk.id)
        await tab.ask("Second", below=messages[-1].id)
        await tab.hear_turn_and_end()
        await tab.ask("Another first")
        await tab.hear_turn_and_end()
    sent = [
        [(message["role"], message["content"].strip()) for message in body["messages"] if message["role"] != "system"]
        for body in upstream.stats.bodies
    ]
    assert sent == [
        [("user", "First")],
        [("user", "First"), ("assistant", WHOLE), ("user", "Second")],
        [("user", "Another first")],
    ]


async def test_stop_stops_upstream_and_keeps_what_came(server, alice, assistant, upstream):
    await sync_to_async(assistant)(alice, orders="gap_ms=50&chunks=400")
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("Talk for long")
        turn = await tab.hear("turn")
        await tab.hear("text")
        await tab.say(type="stop", run=turn["run"])
        end = await tab.hear("settled")
    assert end["status"] == "stopped"
    _, answer = await sync_to_async(messages_of)(alice, talk.id)
    assert answer.status == Status.STOPPED
    assert answer.text.startswith("A ")
    assert len(answer.text.split()) < 400
    assert upstream.wait(lambda stats: len(stats.cancelled) == 1)


async def test_a_reader_who_lost_the_line_resumes_where_he_was(server, alice, assistant):
    await sync_to_async(assistant)(alice, orders="gap_ms=20&chunks=60")
    talk = await sync_to_async(begun)(alice)
    page = Document()
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("Talk")
        run = (await tab.hear("turn"))["run"]
        while page.seq < 8:
            page.take(await tab.hear("text"))
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.say(type="resume", run=run, seq=page.seq)
        await tab.hear("settled")
        for event in tab.heard:
            page.take(event)
    _, answer = await sync_to_async(messages_of)(alice, talk.id)
    assert answer.status == Status.COMPLETE
    assert page.html == render(answer.text)


async def test_another_tab_shows_the_same_live_answer(server, alice, assistant):
    await sync_to_async(assistant)(alice, orders="gap_ms=10")
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as one, opened(server.base_url, alice, talk.id) as other:
        await one.ask("Hello?")
        turn, _ = await one.hear_turn_and_end()
        theirs, end = await other.hear_turn_and_end()
    assert theirs["html"] == turn["html"]
    assert end["message"] in theirs["html"]
    page = Document()
    for event in other.heard:
        page.take(event)
    assert page.html == render((await sync_to_async(messages_of)(alice, talk.id))[-1].text)


async def test_regenerating_keeps_the_earlier_answer_beside_the_new(server, alice, assistant):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("Once")
        await tab.hear_turn_and_end()
        question, first = await sync_to_async(messages_of)(alice, talk.id)
        await tab.say(type="regenerate", message=first.id)
        turn, end = await tab.hear_turn_and_end()
        assert turn["above"] == str(question.id)
        assert "2 of 2" in end["foot"]
        await tab.say(type="choose", message=first.id)
        chosen = await tab.hear("turn")
    assert chosen["above"] == str(question.id)
    assert chosen["run"] is None
    assert f"m-{first.id}" in chosen["html"]
    assert "1 of 2" in chosen["html"]
    messages = await sync_to_async(messages_of)(alice, talk.id)
    assert [message.parent_id for message in messages] == [None, question.id, question.id]


async def test_editing_a_question_branches(server, alice, assistant):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("Once")
        await tab.hear_turn_and_end()
        await tab.ask("Once, but better", below=None)
        turn, _ = await tab.hear_turn_and_end()
        assert turn["above"] is None
        assert "2 of 2" in turn["html"]
        messages = await sync_to_async(messages_of)(alice, talk.id)
        await tab.say(type="choose", message=messages[0].id)
        back = await tab.hear("turn")
    assert f"m-{messages[0].id}" in back["html"]
    assert f"m-{messages[1].id}" in back["html"], "with what stood below it"
    assert "Once, but better" not in back["html"]


async def test_the_same_question_sent_again_is_asked_once(server, alice, assistant, upstream):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    mine = uuid4()
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("Once", as_id=mine)
        await tab.hear_turn_and_end()
        await tab.ask("Once", as_id=mine)
        again = await tab.hear("turn", "problem")
    assert again["type"] == "turn"
    assert str(mine) in again["html"]
    assert len(await sync_to_async(messages_of)(alice, talk.id)) == 2
    assert upstream.stats.requests == 1


async def test_one_answer_at_a_time(server, alice, assistant):
    await sync_to_async(assistant)(alice, orders="gap_ms=50&chunks=200")
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("Talk")
        turn = await tab.hear("turn")
        await tab.ask("Another")
        assert (await tab.hear("problem"))["code"] == "answer_running"
        await tab.say(type="stop", run=turn["run"])
        await tab.hear("settled")
    assert len(await sync_to_async(messages_of)(alice, talk.id)) == 2


@pytest.mark.parametrize(
    ("orders", "began", "sentence"),
    [
        ("status=500", False, "could not be reached"),
        ("status=429", False, "too busy"),
        ("status=400", False, "did not accept"),
        ("chunks=10&cut=3&gap_ms=20", True, "broke off"),
        ("chunks=10&error=3&gap_ms=20", True, "broke off"),
    ],
)
async def test_a_failure_is_one_plain_sentence(server, alice, assistant, orders, began, sentence):
    await sync_to_async(assistant)(alice, orders=orders)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.ask("Will it?")
        _, end = await tab.hear_turn_and_end()
    assert sentence in end["foot"]
    assert "sk-secret" not in end["foot"]
    _, answer = await sync_to_async(messages_of)(alice, talk.id)
    assert bool(answer.text) is began


BAD = [
    "",
    "{",
    "[]",
    "null",
    '"ask"',
    "{}",
    '{"type": "nothing"}',
    '{"type": "ask"}',
    '{"type": "ask", "id": "1", "text": "x"}',
    '{"type": "ask", "id": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "text": ""}',
    '{"type": "ask", "id": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "text": "  \\n "}',
    '{"type": "ask", "id": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "text": 5}',
    '{"type": "ask", "id": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "text": "x", "more": 1}',
    '{"type": "ask", "id": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "text": "x", "below": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f12"}',
    '{"type": "ask", "id": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "text": "' + "x" * 32_001 + '"}',
    '{"type": "ask", "id": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "text": "' + "x" * 300_000 + '"}',
    '{"type": "regenerate", "message": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11"}',
    '{"type": "choose", "message": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11"}',
    '{"type": "stop", "run": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11"}',
    '{"type": "resume", "run": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "seq": 0}',
    '{"type": "resume", "run": "6f1c3a52-98b8-4a51-8e3e-0f6c2f8c8f11", "seq": "x"}',
    b"\x00\x01",
]


async def test_bad_input_gets_a_sentence_and_changes_nothing(server, alice, assistant, upstream):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        for said in BAD:
            await tab.socket.send(said)
            problem = await tab.hear("problem", "turn")
            assert problem["type"] == "problem", said
            assert problem["message"]
        assert await sync_to_async(messages_of)(alice, talk.id) == []
        await tab.ask("Still there?")
        await tab.hear_turn_and_end()
    assert upstream.stats.requests == 1


async def test_what_the_server_says_is_in_the_language_of_the_page(server, alice, assistant):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id, lang="xx") as tab:
        await tab.ask("Hi")
        assert "You asked" in (await tab.hear("turn"))["html"]


async def test_a_new_title_is_shown_in_every_tab(server, alice, browser):
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.say(type="resume", run=uuid4(), seq=0)
        await tab.hear("problem")  # by now the tab is in its group
        await sync_to_async(lambda: browser(alice).post(f"c/{talk.id}/title", title="Stones"))()
        assert (await tab.hear("title"))["title"] == "Stones"


RICH = (
    "# A *title*\n\nSome **text** 🪨 with `code`,\r\nand more.\n\n- one\n- two\n\n  still two\n- three\n\n"
    "```python\nprint('x')\n\nif x:\n    y()\n```\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n> quoted\nlazily\n\nLast [1] of all"
)


async def test_whoever_resumes_anywhere_ends_up_with_the_same_page(server, alice):
    """Each piece is an event; a reader comes back after each of them, as if he had seen exactly so much."""
    talk = await sync_to_async(begun)(alice)
    passages = [{"id": "1", "chunk": str(uuid4()), "document": str(uuid4()), "title": "T", "start": 0, "end": 1, "text": "t"}]
    pieces = [RICH[start : start + 7] for start in range(0, len(RICH), 7)]

    async def write():
        run = await journal.begin(alice.tenant.id, "conversation")
        await run.append({"kind": "passages", "passages": passages})
        for piece in pieces:
            await run.append({"kind": "text", "text": piece})
        return run

    def wait_for(run):
        with tenant_transaction(alice.tenant):
            question = talk.messages.create(tenant=alice.tenant, author="user", text="Q")
            talk.messages.create(tenant=alice.tenant, author="assistant", parent=question, status=Status.STREAMING, run=run.id)

    run = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(write(), server.loop))
    await sync_to_async(wait_for)(run)
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(run.end("completed"), server.loop))
    passage = Passage.of(passages[0])
    whole = render(RICH, {1: Source(href=passage.href(alice.tenant.slug), title="T")})
    async with opened(server.base_url, alice, talk.id) as tab:
        for seen in range(len(pieces) + 1):
            page, live = Document(), LiveText(sources_of([passage], tenant_slug=alice.tenant.slug))
            live.feed("".join(pieces[: max(0, seen - 1)]))
            live.advance()
            page.blocks, page.open, page.seq = live.finished_html(), "", seen
            await tab.say(type="resume", run=run.id, seq=seen)
            end = await tab.hear("settled")
            for event in tab.heard:
                page.take(event)
            assert page.html == whole, seen
            assert end["status"] == "complete"
            tab.heard.clear()
    answer = (await sync_to_async(messages_of)(alice, talk.id))[-1]
    assert answer.text == RICH
    assert [citation.number for citation in answer.citations.all()] == [1]


@pytest.mark.parametrize("said", ["[" * 100_000, '{"type": "ask", "id": "x", "text": "\\ud800"}', '{"type": "stop"}', "\x00", '"ask"'])
async def test_nonsense_over_the_socket_is_told_so(server, alice, assistant, said):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.socket.send(said)
        assert (await tab.hear("problem"))["code"] == "bad_request"


@pytest.mark.parametrize("said", ["a\\u0000b", "a\\ud800b"])
async def test_a_question_that_is_no_text_is_no_fault_of_ours(server, alice, assistant, said):
    await sync_to_async(assistant)(alice)
    talk = await sync_to_async(begun)(alice)
    async with opened(server.base_url, alice, talk.id) as tab:
        await tab.socket.send(f'{{"type": "ask", "id": "{uuid4()}", "text": "{said}"}}')
        heard = await tab.hear("problem", "turn")
    assert heard.get("code", "") != "internal"
