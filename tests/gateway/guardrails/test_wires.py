"""Guardrails behind the other front doors, asked by the official clients over a real socket."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest
from assistants.conftest import Company

from apps.gateway.guardrails.models import Guardrail
from menhir.tenancy.transaction import tenant_transaction

from peers.actor import Actor, call
from peers.claude import THOUGHT
from stage.cast import Person
from stage.served import Served

CLAUDE = "claude-3-7-sonnet-20250219"
HIDDEN = THOUGHT.replace("stone", "[REDACTED]")
THINKING: Any = {"type": "enabled", "budget_tokens": 1024}
QUESTION: Any = [{"role": "user", "content": "What is a menhir?"}]
SAID = [{"content": piece} for piece in ("Ask bob@exam", "ple.com or +49 30 12", "34567 ", "now.")]
LEFT = "Ask [EMAIL_1] or [PHONE_1] now."


@pytest.fixture
def acmes(alice: Person, server: Served, upstream: Any) -> Company:
    company = Company(alice, server, upstream)
    company.model("plain")
    return company


@pytest.fixture
def actor(acmes: Company):
    with Actor() as actor:
        acmes.model("actor", base_url=actor.base_url)
        yield actor


def guard(company: Company, name: str = "pii", kind: str = "pii", **fields: Any) -> None:
    with tenant_transaction(company.tenant):
        Guardrail.create(company.tenant, name=name, kind=kind, by=company.person.principal, **{"action": "redact", **fields})


def messages(company: Company) -> anthropic.Anthropic:
    return anthropic.Anthropic(base_url=company.server.base_url, api_key=company.person.key("inference"), max_retries=0)


def respond(company: Company, *, stream: bool, **asked: Any) -> Any:
    client = company.client("inference")
    if not stream:
        return client.responses.create(**asked)
    with client.responses.stream(**asked) as events:
        told = "".join(event.delta for event in events if event.type == "response.output_text.delta")
        response = events.get_final_response()
    assert told == response.output_text
    return response


def write(company: Company, *, stream: bool, **asked: Any) -> Any:
    client = messages(company)
    if not stream:
        return client.messages.create(**asked)
    with client.messages.stream(**asked) as events:
        return events.get_final_message()


@pytest.mark.parametrize("stream", [False, True])
def test_messages_are_guarded_both_ways(acmes: Company, actor: Actor, stream: bool):  # noqa: FBT001
    guard(acmes, stage="both")
    actor.plays(SAID)
    asked: Any = [{"role": "user", "content": [{"type": "text", "text": "I am eve@example.com"}]}]
    answer = write(acmes, stream=stream, model="actor", max_tokens=100, messages=asked, system="For carol@example.com.")
    assert answer.content[0].text == LEFT.replace("EMAIL_1", "EMAIL_3")
    assert [message["content"] for message in actor.stats.bodies[-1]["messages"]] == ["For [EMAIL_1].", "I am [EMAIL_2]"]


@pytest.mark.parametrize("stream", [False, True])
def test_responses_are_guarded_both_ways_and_stored_as_they_were_given(acmes: Company, actor: Actor, stream: bool):  # noqa: FBT001
    guard(acmes, stage="both")
    actor.plays(SAID)
    answer = respond(acmes, stream=stream, model="actor", input="I am eve@example.com")
    assert answer.output_text == LEFT.replace("EMAIL_1", "EMAIL_2")
    assert actor.stats.bodies[-1]["messages"][-1]["content"] == "I am [EMAIL_1]"
    stored = acmes.client("inference").responses.retrieve(answer.id)
    assert stored.output_text == answer.output_text


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("ask", [write, respond])
def test_a_call_of_a_tool_is_guarded_behind_every_door(acmes: Company, actor: Actor, ask: Any, stream: bool):  # noqa: FBT001
    guard(acmes, stage="after")
    actor.plays([{"content": "I ask bob"}, call("mail", '{"to": "bob@example.com"}')], finish="tool_calls")
    if ask is write:
        tools: Any = [{"name": "mail", "input_schema": {"type": "object"}}]
        said, called = ask(acmes, stream=stream, model="actor", max_tokens=100, messages=QUESTION, tools=tools).content
        assert (said.text, called.input) == ("I ask bob", {"to": "[EMAIL_1]"})
    else:
        tools = [{"type": "function", "name": "mail", "parameters": {"type": "object", "properties": {}}, "strict": False}]
        said, called = ask(acmes, stream=stream, model="actor", input="?", tools=tools).output
        assert (said.content[0].text, called.arguments) == ("I ask bob", '{"to": "[EMAIL_1]"}')


@pytest.mark.parametrize("stream", [False, True])
def test_claudes_thoughts_are_guarded_behind_both_doors(acmes: Company, stream: bool):  # noqa: FBT001
    route = acmes.chatting("thinks=1", model=CLAUDE)
    for patterns, thought, is_signed in (["nothing of it"], THOUGHT, True), (["stone"], HIDDEN, False):
        guard(acmes, f"words-{is_signed}".lower(), "regex", stage="after", settings={"patterns": patterns})
        first, *_ = write(acmes, stream=stream, model=route, max_tokens=4096, messages=QUESTION, thinking=THINKING).content
        assert (first.type, first.thinking, bool(first.signature)) == ("thinking", thought, is_signed)
        answer = respond(acmes, stream=stream, model=route, input="?", reasoning={"effort": "low"})
        assert answer.output[0].content[0].text == thought
        assert "stone" not in answer.output_text or is_signed
        last = respond(acmes, stream=stream, model=route, input="And?", previous_response_id=answer.id, reasoning={"effort": "low"})
        assert last.status == "completed"  # the peer refuses thoughts that were changed
        sent = acmes.upstream.stats.bodies[-1]["messages"][1]["content"]
        assert any(block["type"] == "thinking" for block in sent) == is_signed


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_blocked_is_an_error_behind_every_door(acmes: Company, actor: Actor, stream: bool):  # noqa: FBT001
    guard(acmes, stage="after", action="block")
    actor.plays([{"content": "So: "}, *SAID])
    with pytest.raises(anthropic.APIStatusError, match="guardrail `pii`"):
        write(acmes, stream=stream, model="actor", max_tokens=100, messages=QUESTION)
    told = ""
    try:  # a stream that has begun tells of it in an event
        for event in acmes.client("inference").responses.create(model="actor", input="?", stream=True) if stream else ():
            told += event.to_json()
        told = told or str(respond(acmes, stream=False, model="actor", input="?"))
    except openai.BadRequestError as e:
        told += str(e)
    assert "guardrail `pii`" in told
    assert "bob@" not in told
