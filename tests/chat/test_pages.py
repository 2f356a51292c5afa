"""The chat without scripts, asked by each of the cast."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from chat.conftest import begun, messages_of
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apps.chat.draft import Draft
from apps.chat.history import by_day
from apps.chat.models import Citation, Conversation, Message, Status
from apps.chat.purge import purge
from apps.chat.settlement import settle
from apps.chat.transcript import SHOWN_AT_ONCE
from menhir.postgres.ids import uuid7
from menhir.tenancy.transaction import tenant_transaction

from stage.servers import eventually


def said(person, conversation, *turns, tail=None):
    """A finished exchange: questions and answers in turn."""
    with tenant_transaction(person.tenant):
        parent = tail
        for number, text in enumerate(turns):
            author = "assistant" if number % 2 else "user"
            parent = Message.objects.create(tenant=person.tenant, conversation=conversation, parent=parent, author=author, text=text)
        conversation.head = parent.id
        conversation.save()
    return parent


def conversation_in(address: str) -> str:
    return re.search(r"/c/([0-9a-f-]{36})", str(address))[1]


def test_asking_without_scripts(browser, alice, assistant):
    assistant(alice)
    web = browser(alice)
    assert "What would you like to know?" in web.get("").text
    answer = web.post("", text="What is a <b>menhir</b>?", model="assistant:docs")
    assert answer.status_code == 302
    conversation = conversation_in(answer.headers["location"])
    page = eventually(
        lambda: (page := web.get(f"c/{conversation}").text) and "one standing stone" in page and "aria-busy" not in page and page
    )
    assert "What is a &lt;b&gt;menhir&lt;/b&gt;?" in page
    assert "<title>What is a &lt;b&gt;menhir&lt;/b&gt;?</title>" in page
    assert "http-equiv" not in page
    below = re.search(r'name="below" value="([0-9a-f-]+)"', page)[1]
    assert web.post(f"c/{conversation}/questions", text="And then?", below=below).status_code == 302
    eventually(
        lambda: web.get(f"c/{conversation}").text.count("one standing stone, and this answer is made of words") == 2 * 2
    )  # shown, and to copy


def test_a_reload_in_mid_answer_shows_the_text_so_far(browser, alice, assistant):
    assistant(alice, orders="gap_ms=30&chunks=300")
    web = browser(alice)
    conversation = conversation_in(web.post("", text="Talk", model="assistant:docs").headers["location"])
    page = eventually(lambda: (page := web.get(f"c/{conversation}").text) and "standing" in page and page)
    assert 'aria-busy="true"' in page
    assert '<noscript><meta http-equiv="refresh"' in page
    assert int(re.search(r'data-seq="(\d+)"', page)[1]) >= 5
    assert web.post(f"c/{conversation}/stop").status_code == 302
    page = eventually(lambda: (page := web.get(f"c/{conversation}").text) and "You stopped this answer" in page and page)
    assert "standing" in page


def test_regenerate_and_choose_without_scripts(browser, alice, assistant):
    assistant(alice)
    conversation = begun(alice)
    answer = said(alice, conversation, "Q", "An early answer")
    web = browser(alice)
    assert web.post(f"c/{conversation.id}/answers", message=answer.id).status_code == 302
    page = eventually(lambda: (page := web.get(f"c/{conversation.id}").text) and "2 of 2" in page and page)
    assert "An early answer" not in page
    eventually(lambda: messages_of(alice, conversation.id)[-1].status == Status.COMPLETE)
    web.post(f"c/{conversation.id}/branch", message=answer.id)
    page = web.get(f"c/{conversation.id}").text
    assert "An early answer" in page
    assert "1 of 2" in page


@pytest.mark.parametrize(
    ("text", "model"),
    [("", "assistant:docs"), ("   ", "assistant:docs"), ("x" * 32_001, "assistant:docs"), ("Hi", "assistant:none"), ("Hi", "")],
)
def test_a_refused_question_begins_nothing(browser, alice, assistant, text, model):
    assistant(alice)
    web = browser(alice)
    answer = web.post("", text=text, model=model)
    assert answer.status_code == 302
    assert answer.headers["location"] == f"/t/{alice.tenant.slug}/"
    with tenant_transaction(alice.tenant):
        assert not Conversation.objects.within(alice.tenant).exists()
    assert 'class="toast note error"' in web.get("").text


def paths(conversation, message):
    c = f"c/{conversation}"
    return [
        ("get", c, {}),
        ("post", f"{c}/questions", {"text": "Hi"}),
        ("post", f"{c}/answers", {"message": message}),
        ("post", f"{c}/stop", {}),
        ("post", f"{c}/branch", {"message": message}),
        ("post", f"{c}/title", {"title": "Mine now"}),
        ("post", f"{c}/delete", {}),
        ("post", f"{c}/restore", {}),
    ]


def test_every_address_is_its_owners_alone(browser, alice, bob, mallory, assistant):
    assistant(alice)
    conversation = begun(alice, title="Alice's own")
    answer = said(alice, conversation, "A secret question", "A secret answer")
    for person in (bob, mallory):
        web = browser(person)
        for method, path, data in paths(conversation.id, answer.id):
            response = getattr(web, method)(path, **data)
            assert response.status_code == 404, (person.user.name, path)
            assert "secret" not in response.text
        assert "A secret" not in web.get("conversations", params={"q": "secret"}).text
        assert "Alice" not in web.get("").text
    web = browser(mallory)
    for method, path, _data in paths(conversation.id, answer.id):
        if method == "get":
            assert web.http.get(f"/t/{alice.tenant.slug}/{path}").status_code == 404
    with tenant_transaction(alice.tenant):
        conversation.refresh_from_db()
    assert conversation.title == "Alice's own"
    assert conversation.deleted_at is None
    assert len(messages_of(alice, conversation.id)) == 2


def test_signed_out_leads_to_the_sign_in(server, alice):
    import httpx2

    conversation = begun(alice)
    answer = httpx2.get(f"{server.base_url}/t/{alice.tenant.slug}/c/{conversation.id}")
    assert answer.status_code == 302
    assert "login" in answer.headers["location"]


def test_a_message_of_another_conversation_is_none_here(browser, alice, assistant):
    assistant(alice)
    one, other = begun(alice), begun(alice)
    foreign = said(alice, other, "Q", "A")
    said(alice, one, "Q", "A")
    web = browser(alice)
    assert web.post(f"c/{one.id}/branch", message=foreign.id).status_code == 404
    assert web.post(f"c/{one.id}/answers", message=foreign.id).status_code == 404
    assert web.post(f"c/{one.id}/questions", text="Hi", below=foreign.id).status_code == 404
    assert web.post(f"c/{one.id}/branch", message="nonsense").status_code == 302
    assert len(messages_of(alice, one.id)) == 2


def test_rename_delete_undo(browser, alice):
    conversation = begun(alice, title="Old")
    web = browser(alice)
    web.post(f"c/{conversation.id}/title", title="  New   title ")
    assert "New title" in web.get("").text
    web.post(f"c/{conversation.id}/title", title="   ")
    assert "New title" in web.get("").text
    gone = web.post(f"c/{conversation.id}/delete")
    page = web.http.get(gone.headers["location"]).text
    assert "“New title” was deleted." in page
    assert web.get(f"c/{conversation.id}").status_code == 404
    assert "New title" not in web.get("conversations").text
    web.post(f"c/{conversation.id}/restore")
    assert web.get(f"c/{conversation.id}").status_code == 200


def test_what_was_deleted_is_erased_after_a_while_and_not_before(alice):
    conversation = begun(alice)
    said(alice, conversation, "Q", "A", "Q2", "A2")
    kept_for = timedelta(days=30)
    with tenant_transaction(alice.tenant):
        purge(alice.tenant.id, conversation.id, kept_for=kept_for)
        assert Conversation.objects.within(alice.tenant).count() == 1
        conversation.deleted_at = timezone.now() - timedelta(days=29)
        conversation.save()
        purge(alice.tenant.id, conversation.id, kept_for=kept_for)
        assert Message.objects.within(alice.tenant).count() == 4
        conversation.deleted_at = timezone.now() - timedelta(days=31)
        conversation.save()
        purge(alice.tenant.id, conversation.id, kept_for=kept_for)
        purge(alice.tenant.id, conversation.id, kept_for=kept_for)
        assert not Conversation.objects.within(alice.tenant).exists()
        assert not Message.objects.within(alice.tenant).exists()


def test_search_finds_titles_and_texts_and_parts_of_words(browser, alice):
    first, second = begun(alice, title="Lizards of the moor"), begun(alice, title="Other things")
    said(alice, second, "How do I bake?", "With 100 % <rye> flour and Käse.")
    web = browser(alice)
    for query, found in [
        ("lizard", {first}),
        ("MOOR", {first}),
        ("rye flour", {second}),
        ("bake käse", {second}),
        ("%", {second}),
        ("lizard rye", set()),
        ("_", set()),
        ("", {first, second}),
    ]:
        page = web.get("conversations", params={"q": query}).text
        main = page.partition('class="page narrow"')[2]
        assert {conversation for conversation in (first, second) if str(conversation.id) in main} == found, query
    assert "<mark>rye</mark>" in web.get("conversations", params={"q": "rye"}).text


def test_a_long_conversation_opens_like_a_short_one(browser, alice):
    conversation = begun(alice)
    said(alice, conversation, *(f"Text number {number}." for number in range(500)))
    web = browser(alice)
    page = web.get(f"c/{conversation.id}").text
    assert page.count('class="message ') == SHOWN_AT_ONCE
    assert "Text number 499." in page
    assert "Text number 469." not in page
    seen = 1
    while older := re.search(r'id="older" href="(\?before=[0-9a-f-]+)"', page):
        page = web.get(f"c/{conversation.id}{older[1]}").text
        seen += 1
    assert "Text number 0." in page
    assert seen == 17


def test_the_queries_of_a_page_do_not_grow_with_the_conversation(alice):
    from apps.chat.transcript import html_of, transcript

    def queries_for(length):
        conversation = begun(alice)
        said(alice, conversation, *("Text." for _ in range(length)))
        with tenant_transaction(alice.tenant), CaptureQueriesContext(connection) as seen:
            html_of(transcript(conversation, tenant_slug=alice.tenant.slug).messages)
        return len(seen)

    assert queries_for(4) == queries_for(40)


def passage(number, *, text="The stone stands.", **more):
    return {
        "id": str(number),
        "chunk": str(uuid7()),
        "document": str(uuid7()),
        "title": f"Doc {number}",
        "start": 5,
        "end": 22,
        "text": text,
        **more,
    }


def test_only_cited_passages_are_sources_in_the_order_they_were_given(browser, alice):
    conversation = begun(alice)
    answer = said(alice, conversation, "Q", "")
    with tenant_transaction(alice.tenant):
        Message.objects.within(alice.tenant).filter(id=answer.id).update(status=Status.STREAMING)
        draft = Draft()
        draft.take({"kind": "passages", "passages": [passage(number) for number in (1, 2, 3)]})
        draft.take({"kind": "text", "text": "Yes [3], and [1]. Not [9]."})
        settle(alice.tenant.id, answer.id, draft, Status.COMPLETE)
        settle(alice.tenant.id, answer.id, Draft(), Status.INTERRUPTED)
        assert list(Citation.objects.within(alice.tenant).values_list("number", "title")) == [(1, "Doc 1"), (3, "Doc 3")]
    page = browser(alice).get(f"c/{conversation.id}").text
    assert page.count('class="citation"') == 2
    assert "[9]" in page
    assert re.findall(r'data-source="(\d)"', page) == ["1", "3"]
    assert f'href="/t/{alice.tenant.slug}/documents/{draft.passages[2].document}?chunk={draft.passages[2].chunk}#passage"' in page


def test_an_answer_without_support_says_so(browser, alice):
    conversation = begun(alice)
    answer = said(alice, conversation, "Q", "")
    with tenant_transaction(alice.tenant):
        Message.objects.within(alice.tenant).filter(id=answer.id).update(status=Status.STREAMING)
        draft = Draft(passages=[])
        draft.take({"kind": "text", "text": "I think so."})
        settle(alice.tenant.id, answer.id, draft, Status.COMPLETE)
    assert "No passage of your documents supports this answer." in browser(alice).get(f"c/{conversation.id}").text


def test_an_answer_whose_run_is_unknown_is_shown_as_interrupted_for_good(browser, alice):
    conversation = begun(alice)
    answer = said(alice, conversation, "Q", "")
    with tenant_transaction(alice.tenant):
        Message.objects.within(alice.tenant).filter(id=answer.id).update(status=Status.STREAMING, run=uuid4())
    assert "This answer was interrupted." in browser(alice).get(f"c/{conversation.id}").text
    assert messages_of(alice, conversation.id)[-1].status == Status.INTERRUPTED


def test_days():
    now = datetime(2026, 3, 10, 12, tzinfo=UTC)
    ages = [0, 0, 1, 3, 6, 20, 400]
    conversations = [Conversation(title=str(age), updated_at=now - timedelta(days=age)) for age in ages]
    days = by_day(conversations, now=now)
    assert [(day.name, len(day.conversations)) for day in days] == [
        ("Today", 2),
        ("Yesterday", 1),
        ("Previous 7 days", 2),
        ("February 2026", 1),
        ("February 2025", 1),
    ]
