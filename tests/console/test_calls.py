"""Calls in the console: listed, filtered, exported, looked at one by one, and their texts deleted."""

from __future__ import annotations

import csv
import re
from typing import Any
from uuid import UUID

import pytest
from asgiref.sync import sync_to_async
from console.conftest import Calls, Console, words
from django.http import StreamingHttpResponse

from apps.console import ledgers
from apps.gateway.capture.models import Capture
from menhir.audit.models import Entry
from menhir.tenancy.transaction import tenant_transaction

from stage.cast import Person
from stage.clerk import Clerk


def listed(console: Console, query: str = "") -> list[UUID]:
    """The calls that the page shows, from top to bottom."""
    page = words(console.owner.browser().get(console.at(f"calls/{query}")))
    return [UUID(found) for found in re.findall(r'<a class="row-link" href="[^"]*/calls/([0-9a-f-]{36})/"', page)]


def shown(calls: Calls, call_id: UUID) -> str:
    return words(calls.console.owner.browser().get(calls.at(call_id)))


def exported(console: Console, query: str = "") -> list[dict[str, str]]:
    file = console.owner.browser().get(console.at(f"calls/?format=csv{query}"))
    assert file["content-disposition"] == 'attachment; filename="calls.csv"'
    return list(csv.DictReader(b"".join(file).decode().splitlines()))


async def test_before_the_first_call_the_page_teaches(console: Console, mallory: Person) -> None:
    page = words(await sync_to_async(lambda: console.owner.browser().get(console.at("calls/")))())
    assert "No call yet" in page
    assert "/v1/chat/completions" in page
    assert "small" in page


def test_calls_are_listed_newest_first(calls: Calls) -> None:
    assert listed(calls.console) == [calls.under_way, calls.cached, calls.failed, calls.kept]
    assert listed(calls.console, "?parts=1") == [calls.under_way, calls.cached, calls.failed, calls.leg, calls.kept]
    page = words(calls.console.owner.browser().get(calls.console.at("calls/")))
    for said in ("under way", "from the cache", "upstream_unavailable", "502", "carol", "Website", "Alice", "streamed", "1,234", "$0.0123"):
        assert said in page, said


def test_each_filter_of_the_address_bar(calls: Calls) -> None:
    console = calls.console
    assert listed(console, "?model=assistant:docs") == [calls.kept]
    assert listed(console, f"?key={console.key.id}") == [calls.cached, calls.failed, calls.kept]
    assert listed(console, "?unit=carol") == [calls.kept]
    assert listed(console, "?outcome=failed") == [calls.failed]
    assert listed(console, "?outcome=completed") == [calls.cached, calls.kept]
    assert listed(console, "?outcome=unsettled") == [calls.under_way]
    assert listed(console, "?outcome=cancelled&parts=1") == [calls.leg]
    assert listed(console, "?outcome=failed&model=assistant:docs") == []
    assert listed(console, "?since=2099-01-01") == []
    assert len(listed(console, "?since=2020-01-01T10:00:00%2B02:00")) == 4
    assert len(listed(console, "?period=1h")) == 4


@pytest.mark.parametrize(
    "query", ["?key=x", "?outcome=great", "?period=ever", "?since=yesterday", "?cursor=%00", "?model=%00", "?since=0001-01-01", "?key=%00"]
)
def test_nonsense_in_the_address_bar_is_as_if_it_were_not_there(calls: Calls, query: str) -> None:
    assert len(listed(calls.console, query)) == 4


async def test_pages_follow_each_other_without_a_gap(console: Console) -> None:
    async with Clerk.at_work(console.owner.tenant.id, console.key.id) as clerk:
        made = [(await clerk.open(minutes=number / 100)).call_id for number in range(120)]

    def walk() -> list[UUID]:
        query, found = "", []
        for _page in range(3):
            page = words(console.owner.browser().get(console.at(f"calls/{query}")))
            found += [UUID(one) for one in re.findall(r'row-link" href="[^"]*/calls/([0-9a-f-]{36})/"', page)]
            older = re.search(r'rel="next" href="([^"]+)"', page)
            query = older[1].replace("&amp;", "&") if older is not None else "?since=2099-01-01"
        assert "since" in query
        return found

    assert await sync_to_async(walk)() == made


def test_the_file_has_what_is_filtered_and_everything_about_it(calls: Calls) -> None:
    assert [row["id"] for row in exported(calls.console)] == [str(one) for one in (calls.under_way, calls.cached, calls.failed, calls.kept)]
    (failed,) = exported(calls.console, "&outcome=failed")
    assert (failed["id"], failed["status"], failed["error_code"]) == (str(calls.failed), "502", "upstream_unavailable")
    assert (failed["key"], failed["cost_usd"], failed["cached"]) == ("Website", "0.0123", "False")
    (under_way,) = exported(calls.console, "&outcome=unsettled")
    assert (under_way["outcome"], under_way["cost_usd"]) == ("unsettled", "")


async def test_the_file_is_sent_while_it_is_read(console: Console, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledgers, "EXPORT_BATCH_ROWS", 20)
    async with Clerk.at_work(console.owner.tenant.id, console.key.id) as clerk:
        made = [(await clerk.open(minutes=number / 100)).call_id for number in range(50)]
    answer = await sync_to_async(lambda: console.owner.browser().get(console.at("calls/?format=csv")))()
    assert isinstance(answer, StreamingHttpResponse)
    parts = [part.decode() async for part in answer.streaming_content]
    assert [part.count("\n") for part in parts] == [1, 20, 20, 10]
    assert [UUID(line.split(",")[0]) for line in "".join(parts).splitlines()[1:]] == made
    monkeypatch.setattr(ledgers.export, "__kwdefaults__", {"most_rows": 30})
    bounded = await sync_to_async(lambda: console.owner.browser().get(console.at("calls/?format=csv")))()
    assert sum([part.count(b"\n") async for part in bounded.streaming_content]) == 31


def test_one_call_says_everything_about_it(calls: Calls) -> None:
    page = shown(calls, calls.kept)
    for said in (
        *("completed", "Website", "carol", "Greeting", "version 1", "Docs", "far", "small-1", "$0.0123", "210 ms", "1.9 s"),
        *("E-mail addresses 2", "redacted", "kept until", f"/api/v1/calls/{calls.kept}", "by the provider"),
    ):
        assert said in page, said
    assert calls.at(calls.leg) in page
    assert f'href="{calls.at(calls.kept)}"' not in page
    assert calls.at(calls.kept) in shown(calls, calls.leg)
    assert "upstream_unavailable" in shown(calls, calls.failed)
    assert "the cache" in shown(calls, calls.cached)
    assert "It is under way" in shown(calls, calls.under_way)


def test_what_was_said_is_shown_as_a_conversation(calls: Calls) -> None:
    page = shown(calls, calls.kept)
    conversation = page.partition("What was said")[2].partition("The request as JSON")[0]
    for said in (
        "System",
        "all 2,000 characters",
        "How many &lt;b&gt;holidays&lt;/b&gt;?",
        "An image",
        "Thirty days.",
        "Calls look",
        "handbook",
    ):
        assert said in conversation, said
    assert "messages" in page.partition("The request as JSON")[2]
    assert "Of this call nothing of what was asked and answered is kept." in shown(calls, calls.failed)


def test_deleting_names_what_it_destroys_and_keeps_the_ledger(calls: Calls) -> None:
    browser, place = calls.console.owner.browser(), calls.at(calls.kept, "forget")
    question = words(browser.get(place))
    assert "its request with 2 messages" in question
    assert "1 answer" in question
    assert browser.post(place).status_code == 302
    tenant = calls.console.owner.tenant
    with tenant_transaction(tenant):
        assert not Capture.objects.within(tenant).exists()
        assert list(Entry.objects.within(tenant).filter(noun="call").values_list("verb", "noun_id")) == [("capture.deleted", calls.kept)]
    page = shown(calls, calls.kept)
    assert "Thirty days." not in page
    assert "$0.0123" in page
    assert browser.get(place)["location"] == calls.at(calls.kept)


def test_bob_and_mallory_see_and_delete_nothing(calls: Calls, bob: Person, mallory: Person) -> None:
    own = f"/t/{mallory.tenant.slug}/console/calls/"
    tenant = calls.console.owner.tenant
    for page in calls.pages:
        answers = bob.browser().get(page), mallory.browser().get(page)
        assert [answer.status_code for answer in answers] == [403, 404], page
    for call_id in (calls.kept, calls.leg, calls.failed):
        assert mallory.browser().get(f"{own}{call_id}/").status_code == 404
    assert bob.browser().post(calls.at(calls.kept, "forget")).status_code == 403
    assert mallory.browser().post(calls.at(calls.kept, "forget")).status_code == 404
    assert mallory.browser().post(f"{own}{calls.kept}/forget").status_code == 404
    assert "No call yet" in words(mallory.browser().get(own))
    assert b"".join(mallory.browser().get(f"{own}?format=csv")).count(b"\n") == 1
    with tenant_transaction(tenant):
        assert Capture.objects.within(tenant).count() == 1


async def test_whatever_a_client_wrote_is_shown_and_runs_nowhere(console: Console) -> None:
    evil = "=1+1<script>alert(1)</script>"
    shapes: list[Any] = [
        {
            "messages": [
                {"role": evil, "name": evil, "content": evil},
                {"role": "tool", "content": [{"type": evil, "x": evil}, 7, None]},
                5,
                None,
            ]
        },
        {"messages": {"role": evil}, "input": [[1, 2], evil], "tools": evil},
        [evil],
        None,
    ]
    answers: list[Any] = [
        {
            "choices": [
                {"message": {"content": evil, "refusal": evil, "reasoning": evil, "tool_calls": [{"function": {"arguments": "{"}}, 3]}}
            ]
        },
        {"choices": [None, {"text": evil}, {"message": evil}], "error": {"message": evil}},
        {"object": "list", "data": [{"embedding": [0.1]}], "error": evil},
        None,
    ]
    async with Clerk.at_work(console.owner.tenant.id, console.key.id) as clerk:
        made = [await clerk.open(model=evil, unit=evil) for _shape in shapes]
        for opening, request, answer in zip(made, shapes, answers, strict=True):
            await clerk.keep(opening, request=request, answer=answer)

    def look() -> list[str]:
        browser = console.owner.browser()
        paths = ["calls/", *(f"calls/{opening.call_id}/{path}" for opening in made for path in ("", "forget"))]
        answers = [browser.get(console.at(path)) for path in paths]
        assert {answer.status_code for answer in answers} == {200}
        return [words(answer) for answer in answers]

    pages = await sync_to_async(look)()
    assert all("alert(1)" in page and "<script>alert" not in page for page in pages)
    lines = await sync_to_async(lambda: exported(console))()
    assert {(line["model"], line["unit"]) for line in lines} == {(f"'{evil}", f"'{evil}")}


def test_other_pages_lead_to_a_call(calls: Calls) -> None:
    browser, console = calls.console.owner.browser(), calls.console
    assert calls.at(calls.kept) in words(browser.get(console.at("guardrails/")))
    assert "calls/?outcome=failed" in words(browser.get(console.at()))
