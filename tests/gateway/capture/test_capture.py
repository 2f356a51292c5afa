"""Texts of calls, kept where a tenant wants them: asked by alice, by bob's weaker key, and by mallory."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
import phonenumbers
import psycopg
import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from apps.gateway import corridor, keeping
from apps.gateway.capture import writing
from apps.gateway.capture.assembling import assembled
from apps.gateway.capture.models import Capture, CapturePolicy
from apps.gateway.errors import GuardrailBlocked, UpstreamRefused
from apps.gateway.guardrails.models import Guardrail
from apps.gateway.guardrails.pii import PHONE_STEPS, PersonalData
from menhir.audit.models import Entry
from menhir.tenancy.transaction import tenant_transaction

from peers.caller import Client, ask, call_of, fake
from peers.said import SIGNATURE, THOUGHT
from peers.script import TEXT
from stage.cast import Person

pytestmark = pytest.mark.usefixtures("gateway")


def says(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]


async def keep(person: Person, **fields: Any) -> None:
    def put() -> None:
        with tenant_transaction(person.tenant):
            CapturePolicy.put(
                person.tenant, by=person.principal, **{"route": "", "enabled": True, "keep_days": 3, "redact": False, **fields}
            )

    await sync_to_async(put)()


async def show(person: Person, call_id: object, *scopes: str) -> Any:
    await writing.writer.written()
    return await sync_to_async(lambda: person.api(*(scopes or ("calls:read",))).get(f"/api/v1/calls/{call_id}"))()


async def test_nothing_is_kept_unless_the_tenant_said_so(alice, routes):
    call = call_of(alice.principal, await routes.to("fake"))
    await ask(call)
    shown = (await show(alice, call.id)).json()
    assert shown["capture"] is None
    assert shown["settled"]["outcome"] == "completed"
    assert call.route.capture is None


async def test_a_whole_answer_and_a_stream_are_kept_as_they_were(alice, routes):
    await keep(alice)
    route = await routes.to(fake(echo=3))
    for stream in (False, True):
        call = call_of(alice.principal, route, messages=says("Wo ist bob@example.com? 石🪨"), stream=stream)
        client = await ask(call)
        assert client.ended
        kept = (await show(alice, call.id)).json()["capture"]
        assert kept["request"]["messages"] == says("Wo ist bob@example.com? 石🪨")
        assert kept["answer"]["choices"][0]["message"]["content"] == "Wo ist bob@example.com? 石🪨"
        assert kept["answer"]["choices"][0]["finish_reason"] == "stop"
        assert not kept["truncated"]
        assert abs(datetime.fromisoformat(kept["keep_until"]) - call.opened_at - timedelta(days=3)) < timedelta(seconds=1)


async def test_personal_data_is_taken_out_when_asked(alice, routes):
    await keep(alice, redact=True)
    call = call_of(alice.principal, await routes.to(fake(echo=3)), messages=says("bob@example.com"), stream=True)
    assert (await ask(call)).text == "bob@example.com"
    kept = (await show(alice, call.id)).json()["capture"]
    assert kept["request"]["messages"] == says("[EMAIL_1]")
    assert kept["answer"]["choices"][0]["message"]["content"] == "[EMAIL_1]"


async def test_a_text_that_costs_too_much_to_look_at_is_not_kept_and_holds_up_nobody(alice, routes, monkeypatch):
    await keep(alice, redact=True)
    route = await routes.to("fake")
    asked: list[object] = []
    parse = phonenumbers.parse
    monkeypatch.setattr(phonenumbers, "parse", lambda *given: asked.append(given) or parse(*given))
    dear = call_of(alice.principal, route, messages=says(" ".join(f"00 1 {number:08d} 1" for number in range(2_000))))
    cheap = call_of(alice.principal, route, messages=says("bob@example.com"))
    before = writing.writer.dropped
    await ask(dear)
    await ask(cheap)
    assert (await show(alice, cheap.id)).json()["capture"]["request"]["messages"] == says("[EMAIL_1]")
    assert (await show(alice, dear.id)).json()["capture"] is None
    assert writing.writer.dropped == before + 1
    assert 0 < len(asked) <= writing.MOST_STEPS // PHONE_STEPS


async def test_a_routes_own_policy_goes_before_the_one_for_all(alice, routes):
    quiet, loud = await routes.to("fake", name="quiet"), await routes.to("fake", name="loud")
    await keep(alice)
    await keep(alice, route="quiet", enabled=False)
    for route, is_kept in ((quiet, False), (loud, True)):
        call = call_of(alice.principal, route)
        await ask(call)
        assert ((await show(alice, call.id)).json()["capture"] is not None) == is_kept


async def test_a_blocked_call_is_kept_with_what_its_guardrail_found(alice, routes):
    await keep(alice)

    def forbid() -> None:
        with tenant_transaction(alice.tenant):
            Guardrail.create(alice.tenant, name="words", kind="regex", settings={"patterns": ["hunter2"]}, by=alice.principal)

    await sync_to_async(forbid)()
    call, client = call_of(alice.principal, await routes.to("fake"), messages=says("hunter2")), Client()
    with pytest.raises(GuardrailBlocked):
        await corridor.run(call, client, client.gone)
    from apps.gateway.guardrails import events

    await events.writer.written()
    shown = (await show(alice, call.id)).json()
    assert shown["settled"]["error_code"] == "guardrail:words"
    assert [event["outcome"] for event in shown["guardrails"]] == ["blocked"]
    assert shown["capture"]["request"]["messages"] == says("hunter2")
    assert shown["capture"]["answer"] is None


async def test_an_answer_from_the_cache_is_kept_like_any_other(alice, routes, upstream):
    await keep(alice)
    route = await routes.to("fake", policy={"cache_seconds": 60})
    for _ in range(2):
        await ask(call_of(alice.principal, route))
    assert upstream.stats.requests == 1
    await writing.writer.written()

    def texts() -> list[str]:
        with tenant_transaction(alice.tenant):
            kept = Capture.objects.within(alice.tenant)
            return [capture.answer["choices"][0]["message"]["content"].strip() for capture in kept]

    assert await sync_to_async(texts)() == [TEXT, TEXT]


async def test_a_broken_stream_and_characters_that_postgres_cannot_hold(alice, routes):
    await keep(alice)
    call = call_of(alice.principal, await routes.to(fake(error=3)), stream=True, messages=says("a\x00b \\u0000"))
    await ask(call)
    kept = (await show(alice, call.id)).json()["capture"]
    assert kept["answer"]["error"]["message"] == "the model fell over"
    assert kept["answer"]["choices"][0]["message"]["content"] == "A menhir is "
    assert kept["request"]["messages"] == says("a\ufffdb \\u0000")


async def test_what_is_too_long_is_not_kept_whole(alice, routes):
    await keep(alice)
    call = call_of(alice.principal, await routes.to("fake"), messages=says("x" * 300_000))
    await ask(call)
    kept = (await show(alice, call.id)).json()["capture"]
    assert kept["truncated"]
    assert kept["request"] is None
    assert kept["answer"]["choices"]


async def test_a_full_queue_drops_and_delays_nobody(alice, routes):
    await keep(alice)
    route = await routes.to("fake")
    before = writing.writer.dropped
    limit, writing.writer._limit = writing.writer._limit, 300
    try:
        call = call_of(alice.principal, route)
        assert (await ask(call)).status == 200
    finally:
        writing.writer._limit = limit
    assert writing.writer.dropped == before + 1
    assert (await show(alice, call.id)).json()["capture"] is None


async def test_retention_deletes_what_is_over(alice, routes, superuser):
    await keep(alice)
    calls = [call_of(alice.principal, await routes.to("fake")) for _ in range(2)]
    for call in calls:
        await ask(call)
    await writing.writer.written()
    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("UPDATE gateway_capture SET keep_until = now() - interval '1 second' WHERE id = %s", [calls[0].id])
        assert (await show(alice, calls[0].id)).json()["capture"] is None
        await keeping.keep_days()
        left = {row[0] for row in connection.execute("SELECT id FROM gateway_capture WHERE tenant_id = %s", [alice.tenant.id])}
    assert left == {calls[1].id}


async def test_texts_are_deleted_on_request(alice, routes):
    await keep(alice)
    call = call_of(alice.principal, await routes.to("fake"))
    await ask(call)
    assert (await show(alice, call.id)).json()["capture"]

    def delete() -> list[int]:
        client = alice.api("guardrails:write")
        return [client.delete(f"/api/v1/calls/{call.id}/capture").status_code for _ in range(2)]

    assert await sync_to_async(delete)() == [204, 404]
    shown = (await show(alice, call.id)).json()
    assert shown["capture"] is None
    assert shown["settled"]["outcome"] == "completed"

    def audited() -> list[str]:
        with tenant_transaction(alice.tenant):
            return list(Entry.objects.within(alice.tenant).filter(noun="call").values_list("verb", flat=True))

    assert await sync_to_async(audited)() == ["capture.deleted"]


async def test_neither_bob_nor_mallory_reads_it(alice, bob, mallory, routes):
    await keep(alice)
    call = call_of(alice.principal, await routes.to("fake"))
    await ask(call)
    assert (await show(alice, call.id)).status_code == 200
    assert (await show(bob, call.id, "inference", "usage:read")).status_code == 403
    assert (await show(mallory, call.id)).status_code == 404

    def others() -> tuple[int, int, int, list[Any]]:
        client = mallory.api()
        with tenant_transaction(mallory.tenant):
            seen = list(Capture.objects.all())
        return (
            client.delete(f"/api/v1/calls/{call.id}/capture").status_code,
            alice.api("calls:read").delete(f"/api/v1/calls/{call.id}/capture").status_code,
            len(client.get("/api/v1/calls").json()["calls"]),
            seen,
        )

    assert await sync_to_async(others)() == (404, 403, 0, [])


async def test_calls_are_listed_page_by_page(alice, routes):
    good, bad = await routes.to("fake", name="good"), await routes.to(fake(status=400), name="bad")
    made = []
    for name in (good, bad, good, bad, good):
        call, client = call_of(alice.principal, name), Client()
        made.append(call)
        with suppress(UpstreamRefused):
            await corridor.run(call, client, client.gone)

    def pages(**filters: Any) -> list[str]:
        client, cursor, found = alice.api("calls:read"), None, []
        while True:
            page = client.get("/api/v1/calls", {**filters, "limit": 2, **({"cursor": cursor} if cursor else {})}).json()
            found += [call["id"] for call in page["calls"]]
            if (cursor := page["next"]) is None:
                return found

    ids = [str(call.id) for call in reversed(made)]
    assert await sync_to_async(pages)() == ids
    assert await sync_to_async(pages)(model="good") == ids[0::2]
    assert await sync_to_async(pages)(outcome="failed") == ids[1::2]
    assert await sync_to_async(pages)(outcome="completed", model="good") == ids[0::2]
    assert await sync_to_async(pages)(outcome="completed", model="bad") == []
    assert await sync_to_async(pages)(outcome="unsettled") == []
    assert await sync_to_async(pages)(unit=str(alice.user.pk)) == ids
    assert await sync_to_async(pages)(unit="carol") == []
    assert await sync_to_async(pages)(since=(datetime.now(UTC) + timedelta(hours=1)).isoformat()) == []
    refused = await sync_to_async(lambda: alice.api("calls:read").get("/api/v1/calls?outcome=great"))()
    assert refused.status_code == 400


async def test_policies_are_set_and_removed(alice, routes):
    await routes.to("fake", name="here")

    def walk() -> None:
        client = alice.api("guardrails:write")
        put = lambda **body: client.put("/api/v1/capture", body, content_type="application/json")  # noqa: E731 - said four times below
        assert client.get("/api/v1/capture").json() == {"policies": []}
        assert put(keep_days=7).json() == {"route": "", "enabled": True, "keep_days": 7, "redact": True}
        assert put(route="here", enabled=False).status_code == 200
        assert put(route="nowhere").status_code == 400
        assert put(keep_days=0).status_code == 422
        assert [policy["route"] for policy in client.get("/api/v1/capture").json()["policies"]] == ["", "here"]
        assert client.delete("/api/v1/capture?route=here").status_code == 204
        assert client.delete("/api/v1/capture?route=here").status_code == 404
        assert alice.api("calls:read").get("/api/v1/capture").status_code == 403

    await sync_to_async(walk)()


@pytest.mark.parametrize(
    "call_id", ["ffffffff-ffff-7fff-bfff-ffffffffffff", "e677d21f-dc00-7000-8000-000000000000", "b1da5c52-d6b6-433b-aacb-eb203714c4f3"]
)
def test_an_id_of_no_call_is_not_found(alice, call_id):
    for client, path in ((alice.api("calls:read"), ""), (alice.api("guardrails:write"), "/capture")):
        asked = client.delete if path else client.get
        assert asked(f"/api/v1/calls/{call_id}{path}").status_code == 404


def test_two_who_set_a_policy_at_once_are_both_heard(alice, superuser):
    """The second waits for the first at the unique index, and has the last word."""
    ended: list[CapturePolicy] = []

    def put(days: int) -> CapturePolicy:
        return CapturePolicy.put(alice.tenant, route="", enabled=True, keep_days=days, redact=True, by=alice.principal)

    def second() -> None:
        with tenant_transaction(alice.tenant):
            ended.append(put(2))
        connection.close()

    other = threading.Thread(target=second)
    with psycopg.connect(superuser, autocommit=True) as watcher, tenant_transaction(alice.tenant):
        put(1)
        other.start()
        waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype = 'transactionid'"
        deadline = time.monotonic() + 10
        while not watcher.execute(waits).fetchone()[0] and time.monotonic() < deadline:
            time.sleep(0.01)
    other.join(10)
    with tenant_transaction(alice.tenant):
        (policy,) = CapturePolicy.objects.within(alice.tenant)
    assert (policy.keep_days, len(ended)) == (2, 1)


async def test_what_is_kept_is_what_guardrails_left(alice, routes):
    await keep(alice)

    def watch() -> None:
        with tenant_transaction(alice.tenant):
            Guardrail.create(alice.tenant, name="pii", kind="pii", stage="both", action="redact", by=alice.principal)
            settings = {"patterns": ["hunter2"]}
            Guardrail.create(alice.tenant, name="words", kind="regex", position=1, settings=settings, by=alice.principal)

    await sync_to_async(watch)()
    for stream in (False, True):
        route = await routes.to(fake(text="Ask eve@example.com now."))
        call = call_of(alice.principal, route, messages=says("bob@example.com"), stream=stream)
        await ask(call)
        kept = (await show(alice, call.id)).json()["capture"]
        assert kept["request"]["messages"] == says("[EMAIL_1]")
        assert "@" not in str(kept["answer"])
        call, client = call_of(alice.principal, route, messages=says("bob@example.com hunter2"), stream=stream), Client()
        with pytest.raises(GuardrailBlocked):
            await corridor.run(call, client, client.gone)
        assert (await show(alice, call.id)).json()["capture"]["request"]["messages"] == says("[EMAIL_1] hunter2")


async def test_thoughts_are_kept_without_personal_data_and_put_together(alice, routes):
    await keep(alice, redact=True)
    call = call_of(alice.principal, await routes.to(fake(thinks=1)), stream=True)
    await ask(call)
    message = (await show(alice, call.id)).json()["capture"]["answer"]["choices"][0]["message"]
    assert message["thinking_blocks"] == [{"type": "thinking", "thinking": THOUGHT, "signature": SIGNATURE}]
    pieces = [
        {"reasoning_details": [{"type": "reasoning.text", "text": text, "signature": "s" * at, "index": 0}], "content": None}
        for at, text in enumerate(("bob@exam", "ple.com"))
    ]
    parts = [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": text}]}]} for text in ("eve@exam", "ple.com")]
    said = [*pieces, *parts, {"content": "It is "}, {"content": "Eve."}]
    stream = b"".join(b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n" for delta in said)
    taken = writing.Taken(call.principal.tenant_id, call.id, call.opened_at, call.opened_at, b"null", stream, True, False, PersonalData())
    assert writing.row_of(taken)["answer"]["choices"][0]["message"] == {
        "reasoning_details": [{"type": "reasoning.text", "text": "[EMAIL_2]", "signature": "", "index": 0}],
        "content": [
            {"type": "thinking", "thinking": [{"type": "text", "text": "[EMAIL_1]"}]},
            {"type": "text", "text": "It is Eve."},
        ],
    }


def test_tools_of_a_stream_are_put_together():
    deltas = [
        {"role": "assistant", "tool_calls": [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": '{"x"'}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": ": 1}"}}]},
    ]
    stream = b"".join(b"data: " + orjson.dumps({"choices": [{"index": 0, "delta": delta}]}) + b"\n\n" for delta in deltas)
    message = assembled(stream + b"data: [DONE]\n\n")["choices"][0]["message"]
    assert message["tool_calls"] == [{"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x": 1}'}}]
