"""What is stored: found again, listed, gone on from, deleted, and never another tenant's or person's."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx2
import openai
import psycopg
import pytest
from assistants.conftest import Company
from assistants.end_users.conftest import ISS, accept, audience

from apps.assistants import responses
from menhir.postgres.ids import uuid7

from peers.actor import Actor, call
from peers.issuer import SigningKey


def rows(superuser: str, company: Company) -> int:
    with psycopg.connect(superuser) as connection:
        counted = connection.execute("SELECT count(*) FROM assistants_response WHERE tenant_id = %s", [company.tenant.id]).fetchone()
    return int(counted[0])


def test_a_response_is_found_again_as_it_was(acmes: Company, actor: Actor):
    actor.plays([{"reasoning_content": "Hm."}, {"content": "A stone\u0000 🪨"}, call("weather", "{}")], finish="tool_calls")
    client = acmes.client("inference")
    tool = {"type": "function", "name": "weather", "parameters": {}, "strict": False}
    made = client.responses.create(model="actor", input="?", instructions="Be kind.", tools=[tool], metadata={"a": "b"}, temperature=0.2)
    found = client.responses.retrieve(made.id)
    assert found.to_dict() == made.to_dict()
    assert found.metadata == {"a": "b"}


def test_a_stored_response_is_streamed_again(acmes: Company, actor: Actor):
    calls = [call("one", '{"a": 1}'), call("two", "{}", number=1)]
    actor.plays([{"reasoning_content": "Hm."}, {"content": "A "}, {"content": "stone."}, *calls], finish="tool_calls")
    client = acmes.client("inference")
    made = client.responses.create(model="actor", input="?", stream=False)
    events = list(client.responses.retrieve(made.id, stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (events[0].type, events[0].response.status, events[0].response.output) == ("response.created", "in_progress", [])
    assert events[-1].response.to_dict() == made.to_dict()
    done = [event.item.to_dict() for event in events if event.type == "response.output_item.done"]
    assert sorted(done, key=lambda item: item["id"][-4:]) == [item.to_dict() for item in made.output]
    with client.responses.stream(response_id=made.id) as stream:
        assert stream.get_final_response().output_text == "A stone."
    with pytest.raises(openai.BadRequestError) as refused:
        client.responses.retrieve(made.id, stream=True, starting_after=3)
    assert refused.value.param == "starting_after"


def test_a_conversation_is_rebuilt_without_earlier_instructions(acmes: Company):
    client = acmes.client("inference")
    first = client.responses.create(model="plain", input="One?", instructions="Be brief.")
    second = client.responses.create(model="plain", input="Two?", previous_response_id=first.id, stream=True)
    second = list(second)[-1].response
    client.responses.create(model="plain", input="Three?", previous_response_id=second.id, instructions="Be kind.")
    said = first.output_text
    assert acmes.upstream.stats.bodies[-1]["messages"] == [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "Two?"},
        {"role": "assistant", "content": said},
        {"role": "user", "content": "Three?"},
    ]


def test_a_conversation_branches(acmes: Company):
    client = acmes.client("inference")
    first = client.responses.create(model="plain", input="One?")
    for question in ("Left?", "Right?"):
        client.responses.create(model="plain", input=question, previous_response_id=first.id)
        said = [message["content"] for message in acmes.upstream.stats.bodies[-1]["messages"] if message["role"] == "user"]
        assert said == ["One?", question]


def test_an_item_may_be_referred_to(acmes: Company, actor: Actor):
    actor.plays([call("weather", "{}")], finish="tool_calls")
    actor.plays([{"content": "Rain."}])
    client = acmes.client("inference")
    first = client.responses.create(model="actor", input="Weather?")
    (question,) = client.responses.input_items.list(first.id).data
    result = {"type": "function_call_output", "call_id": first.output[0].call_id, "output": "rain"}
    references = [{"type": "item_reference", "id": question.id}, {"type": "item_reference", "id": first.output[0].id}]
    client.responses.create(model="actor", input=[*references, result])
    assert [message["role"] for message in actor.stats.bodies[-1]["messages"]] == ["user", "assistant", "tool"]


def test_what_shall_not_be_stored_is_not(acmes: Company, superuser: str):
    client = acmes.client("inference")
    made = client.responses.create(model="plain", input="?", store=False)
    streamed = list(client.responses.create(model="plain", input="?", store=False, stream=True))[-1].response
    for response in (made, streamed):
        assert response.status == "completed"
        with pytest.raises(openai.NotFoundError):
            client.responses.retrieve(response.id)
        with pytest.raises(openai.NotFoundError) as refused:
            client.responses.create(model="plain", input="?", previous_response_id=response.id)
        assert (refused.value.code, refused.value.param) == ("previous_response_not_found", "previous_response_id")
    assert rows(superuser, acmes) == 0


def test_a_stateless_client_brings_everything_itself(acmes: Company, actor: Actor):
    actor.plays([{"reasoning_content": "Hm."}, call("weather", "{}")], finish="tool_calls")
    actor.plays([{"content": "Rain."}])
    client = acmes.client("inference")
    more: dict[str, Any] = {"model": "actor", "store": False, "include": ["reasoning.encrypted_content"]}
    first = client.responses.create(input="Weather?", **more)
    result = {"type": "function_call_output", "call_id": first.output[1].call_id, "output": [{"type": "input_text", "text": "rain"}]}
    client.responses.create(input=[{"role": "user", "content": "Weather?"}, *first.output, result], **more)
    assert [message["role"] for message in actor.stats.bodies[-1]["messages"]] == ["user", "assistant", "tool"]


def test_the_items_that_led_to_a_response_are_listed_in_pages(acmes: Company):
    client = acmes.client("inference")
    first = client.responses.create(model="plain", input=[{"role": "developer", "content": "Hear."}, {"role": "user", "content": "One?"}])
    second = client.responses.create(model="plain", input="Two?", previous_response_id=first.id)
    listed = client.responses.input_items.list(second.id, order="asc")
    assert [(item.role, item.content[0].text) for item in listed] == [
        ("developer", "Hear."),
        ("user", "One?"),
        ("assistant", first.output_text),
        ("user", "Two?"),
    ]
    ids = [item.id for item in listed]
    assert len(set(ids)) == 4
    page = client.responses.input_items.list(second.id, limit=3)
    assert ([item.id for item in page.data], page.has_more) == ([*reversed(ids)][:3], True)
    assert [item.id for item in page] == [*reversed(ids)]  # the client turns the pages itself
    for wrong in ({"limit": 0}, {"limit": 101}, {"limit": "9" * 5_000}, {"order": "up"}, {"after": "msg_1"}):
        with pytest.raises(openai.BadRequestError) as refused:
            client.responses.input_items.list(second.id, **wrong)
        assert refused.value.param == next(iter(wrong))


def test_a_deleted_response_is_gone(acmes: Company):
    client = acmes.client("inference")
    first = client.responses.create(model="plain", input="One?")
    second = client.responses.create(model="plain", input="Two?", previous_response_id=first.id)
    client.responses.delete(first.id)
    for ask in (client.responses.retrieve, client.responses.delete, client.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(first.id)
    with pytest.raises(openai.NotFoundError) as refused:
        client.responses.create(model="plain", input="Three?", previous_response_id=second.id)
    assert first.id in refused.value.message
    assert client.responses.retrieve(second.id).output_text


def test_keys_of_a_tenant_share_responses_and_nobody_else_does(acmes: Company, globexs: Company, bob):
    mine = acmes.client("inference").responses.create(model="plain", input="A secret?")
    bobs = acmes.client(key=bob.key("inference"))
    assert bobs.responses.retrieve(mine.id).id == mine.id
    (item,) = bobs.responses.input_items.list(mine.id).data
    mallorys = globexs.client("inference")
    refusals: list[openai.APIStatusError] = []
    for ask in (
        lambda: mallorys.responses.retrieve(mine.id),
        lambda: mallorys.responses.retrieve(mine.id, stream=True),
        lambda: mallorys.responses.delete(mine.id),
        lambda: mallorys.responses.input_items.list(mine.id),
        lambda: mallorys.responses.cancel(mine.id),
        lambda: mallorys.responses.create(model="plain", input="?", previous_response_id=mine.id),
    ):
        with pytest.raises(openai.NotFoundError) as refused:
            ask()
        refusals.append(refused.value)
    with pytest.raises(openai.BadRequestError) as referred:
        mallorys.responses.create(model="plain", input=[{"type": "item_reference", "id": item.id}])
    assert not [refusal for refusal in [*refusals, referred.value] if "secret" in str(refusal.body)]
    with pytest.raises(openai.NotFoundError) as unknown:
        mallorys.responses.retrieve(responses.written(uuid7()))
    assert unknown.value.body | {"message": ""} == refusals[0].body | {"message": ""}
    assert acmes.client("inference").responses.retrieve(mine.id).id == mine.id


def test_an_end_user_sees_his_own_alone(acmes: Company):
    signer = SigningKey("key-1")
    accept(acmes.person, keys=signer.pem)
    ada, ben = (
        acmes.client(key=signer.token(iss=ISS, aud=audience(acmes.person), sub=name)) for name in ("ada@example.com", "ben@example.com")
    )
    hers = ada.responses.create(model="plain", input="A secret?")
    assert ada.responses.create(model="plain", input="More?", previous_response_id=hers.id).output_text
    for ask in (ben.responses.retrieve, ben.responses.delete, ben.responses.input_items.list):
        with pytest.raises(openai.NotFoundError):
            ask(hers.id)
    with pytest.raises(openai.NotFoundError):
        ben.responses.create(model="plain", input="?", previous_response_id=hers.id)
    assert acmes.client("inference").responses.retrieve(hers.id).id == hers.id
    shared = acmes.client("inference").responses.create(model="plain", input="?")
    with pytest.raises(openai.NotFoundError):
        ada.responses.retrieve(shared.id)


def test_below_a_response(acmes: Company):
    client = acmes.client("inference")
    made = client.responses.create(model="plain", input="?")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(made.id)
    headers = {"authorization": f"Bearer {acmes.person.key('inference')}"}
    url = f"{acmes.server.base_url}/v1/responses"

    def status(method: str, path: str) -> int:
        return httpx2.request(method, url + path, headers=headers, timeout=10).status_code

    assert status("GET", "") == 405
    assert status("PUT", f"/{made.id}") == 405
    assert status("POST", f"/{made.id}/input_items") == 405
    assert status("GET", f"/{made.id}/nothing") == status("GET", f"/{made.id}/input_items/more") == 404
    assert status("GET", "/resp_" + "f" * 32) == status("GET", "/..%2f") == 404
    assert status("GET", f"/{made.id}/") == 200


@pytest.mark.parametrize("stream", [False, True])
def test_an_idempotency_key_stands_for_one_response(acmes: Company, superuser: str, *, stream: bool):
    client = acmes.client("inference")

    def ask(question: str) -> Any:
        made = client.responses.create(model="plain", input=question, stream=stream, extra_headers={"idempotency-key": "k-1"})
        return list(made)[-1].response if stream else made

    first, again = ask("One?"), ask("One?")
    assert again.to_dict() == first.to_dict()
    assert (acmes.upstream.stats.requests, rows(superuser, acmes)) == (1, 1)
    assert client.responses.create(model="plain", input="Two?", previous_response_id=again.id).output_text
    with pytest.raises(openai.ConflictError):
        ask("Another?")


def test_a_client_that_hangs_up_leaves_nothing(acmes: Company, superuser: str):
    acmes.model("slow", "chunks=2000&gap_ms=20")
    stream = acmes.client("inference").responses.create(model="slow", input="?", stream=True)
    next(iter(stream))
    stream.response.close()
    assert acmes.upstream.wait(lambda stats: len(stats.cancelled) == 1, seconds=2.0)
    assert rows(superuser, acmes) == 0


@pytest.mark.parametrize("headers", [{}, {"idempotency-key": "k-1"}])
async def test_an_answer_that_cannot_be_stored_has_failed(acmes: Company, superuser: str, headers: dict[str, str]):
    """It would promise what no later call could find."""
    client = await asyncio.to_thread(acmes.async_client, "inference")

    async def ask() -> list[Any]:
        stream = await client.responses.create(model="plain", input="?", stream=True, extra_headers=headers)
        return [event async for event in stream]

    with psycopg.connect(superuser, autocommit=True) as connection:
        connection.execute("ALTER TABLE assistants_response RENAME TO assistants_response_away")
        try:
            events = await ask()
            with pytest.raises(openai.InternalServerError):
                await client.responses.create(model="plain", input="?")
        finally:
            connection.execute("ALTER TABLE assistants_response_away RENAME TO assistants_response")
    assert events[-1].type == "response.failed"
    assert [event.sequence_number for event in events] == list(range(len(events)))
    assert (await ask())[-1].type == "response.completed"
