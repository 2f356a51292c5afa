"""Every text that a call carries is looked at, wherever it stands; and what is no text is refused by whom it should be."""

from __future__ import annotations

from base64 import b64encode
from copy import deepcopy
from typing import Any

import pytest

from apps.gateway import corridor
from apps.gateway.errors import GuardrailBlocked, GuardrailUnavailable
from apps.gateway.guardrails import texts

from peers.caller import Client, ask, call_of, fake, ledger_row

pytestmark = pytest.mark.usefixtures("gateway", "written")
MAIL = "bob@example.com"
SCHEMA = {"type": "object", "properties": {"name": {"type": "string", "description": f"Of {MAIL}", "enum": [MAIL]}}, "required": ["name"]}


def says(content: object, **more: object) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content, **more}]


def enclosed(text: str, media: str = "text/plain") -> str:
    return f"data:{media};base64,{b64encode(text.encode()).decode()}"


def called(**call: object) -> list[dict[str, Any]]:
    return [*says("hi"), {"role": "assistant", "content": None, "tool_calls": [{"id": "1", **call}]}]


FIELDS: dict[str, dict[str, Any]] = {
    "tool": {"tools": [{"type": "function", "function": {"name": "f", "description": f"For {MAIL}", "parameters": SCHEMA}}]},
    "custom tool": {"tools": [{"type": "custom", "custom": {"name": "f", "description": f"For {MAIL}"}}]},
    "function": {"functions": [{"name": "f", "description": "d", "parameters": SCHEMA}]},
    "answer": {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "description": MAIL, "schema": SCHEMA}}},
    "name": {"messages": says("hi", name=MAIL)},
    "user": {"user": MAIL},
    "safety_identifier": {"safety_identifier": MAIL},
    "metadata": {"metadata": {"person": MAIL}},
    "stop": {"stop": [MAIL]},
    "custom call": {"messages": called(type="custom", custom={"name": "f", "input": f"to {MAIL}"})},
    "object call": {"messages": called(type="function", function={"name": "f", "arguments": {"to": [{"type": MAIL}]}})},
    "thinking": {"messages": [*says("hi"), {"role": "assistant", "content": "a", "thinking_blocks": [{"type": "thinking", "thinking": MAIL, "signature": "s"}]}]},
    "details": {"messages": [*says("hi"), {"role": "assistant", "content": "a", "reasoning_details": [{"type": "reasoning.text", "text": MAIL, "signature": "s"}]}]},
    "thinking part": {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": [{"type": "text", "text": MAIL}]}]}]},
    "file": {"messages": says([{"type": "file", "file": {"filename": "a.txt", "file_data": enclosed(f"I am {MAIL}. 石")}}])},
    "plain file": {"messages": says([{"type": "file", "file": {"file_data": "data:text/plain,I%20am%20bob%40example.com"}}])},
    "file's name": {"messages": says([{"type": "file", "file": {"filename": MAIL, "file_id": "f"}}])},
    "deep": {"messages": says([{"type": "tool_result", "content": [{"type": "x", "content": [{"type": "y", "content": [{"content": [{"content": [{"content": [{"content": MAIL}]}]}]}]}]}]}])},
}  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
async def test_a_field_is_looked_at_and_rewritten(alice, routes, guards, upstream, field):
    await guards.add("pii", "pii", action="redact")
    route = await routes.to("fake")
    await ask(call_of(alice.principal, route, **deepcopy(FIELDS[field])))
    sent = upstream.stats.bodies[-1]
    found = [place.text for place in texts.of_request(sent)]
    assert any("[EMAIL_1]" in text for text in found)
    assert MAIL not in str(sent)
    assert MAIL not in str(found)
    await guards.add("words", "regex", settings={"patterns": ["EMAIL_1"]}, position=1)
    with pytest.raises(GuardrailBlocked):
        await corridor.run(call_of(alice.principal, route, **deepcopy(FIELDS[field])), client := Client(), client.gone)
    assert upstream.stats.requests == 1


async def test_what_holds_a_schema_together_is_left_alone(alice, routes, guards, upstream):
    await guards.add("words", "regex", action="redact", settings={"patterns": ["string|name|object|json_schema|function"]})
    body = {"tools": deepcopy(FIELDS["tool"]["tools"]), "response_format": deepcopy(FIELDS["answer"]["response_format"])}
    await ask(call_of(alice.principal, await routes.to("fake"), **deepcopy(body)))
    assert {name: upstream.stats.bodies[-1][name] for name in body} == body


async def test_what_was_signed_is_sent_without_its_signature_once_it_is_rewritten(alice, routes, guards, upstream):
    await guards.add("pii", "pii", action="redact")
    said = [{"type": "thinking", "thinking": "Hm.", "signature": "a"}, {"type": "thinking", "thinking": MAIL, "signature": "b"}]
    messages = [*says("hi"), {"role": "assistant", "content": "a", "thinking_blocks": said}]
    await ask(call_of(alice.principal, await routes.to("fake"), messages=messages))
    assert upstream.stats.bodies[-1]["messages"][1]["thinking_blocks"] == [
        {"type": "thinking", "thinking": "Hm.", "signature": "a"},
        {"type": "thinking", "thinking": "[EMAIL_1]", "signature": ""},
    ]


@pytest.mark.parametrize(
    ("operation", "body"),
    [
        ("rerank", {"query": MAIL, "documents": ["a"]}),
        ("rerank", {"query": "a", "documents": ["b", MAIL]}),
        ("rerank", {"query": "a", "documents": [{"title": MAIL, "text": "b"}]}),
        ("embeddings", {"input": MAIL}),
        ("embeddings", {"input": ["a", MAIL]}),
        ("moderations", {"input": [{"type": "text", "text": MAIL}]}),
        ("completions", {"prompt": ["a", MAIL]}),
        ("completions", {"prompt": "a", "suffix": MAIL}),
    ],
)
async def test_the_input_of_every_operation_is_looked_at(alice, routes, guards, upstream, operation, body):
    await guards.add("pii", "pii", action="redact")
    route = await routes.to("fake")
    await ask(call_of(alice.principal, route, operation=operation, **deepcopy(body)))
    sent = upstream.stats.bodies[-1]
    assert MAIL not in str(sent)
    assert "[EMAIL_1]" in str(sent)


async def test_a_text_completion_is_guarded_like_a_chat(alice, routes, guards):
    await guards.add("stone", "regex", stage="after", action="redact", settings={"patterns": ["standing stone"], "window": 20})
    for stream in (False, True):
        client = await ask(call_of(alice.principal, await routes.to("fake"), operation="completions", prompt="a", stream=stream))
        if stream:
            said = "".join(choice["text"] for event in client.events[:-1] for choice in event["choices"])
        else:
            said = client.json["choices"][0]["text"]
        assert said.startswith("A menhir is one [REDACTED], and this answer")
        assert said.strip().endswith("too.")


UNREAD: dict[str, object] = {
    "image_url": {"type": "image_url", "image_url": {"url": "https://example.com/a.png"}},
    "input_audio": {"type": "input_audio", "input_audio": {"data": "AAAA", "format": "wav"}},
    "file_id": {"type": "file", "file": {"file_id": "f"}},
    "pdf": {"type": "file", "file": {"filename": "a.pdf", "file_data": enclosed("%PDF", "application/pdf")}},
    "no text": {"type": "file", "file": {"file_data": "data:text/plain;base64,/////w=="}},
    "unknown": {"type": "hologram", "hologram": {"id": "h"}},
    "in a result": {"type": "tool_result", "content": [{"type": "image", "source": {}}]},
}


@pytest.mark.parametrize("kind", UNREAD)
async def test_what_is_no_text_passes_no_rule_that_fails_closed(alice, routes, guards, upstream, kind):
    route = await routes.to("fake")
    messages = says([{"type": "text", "text": "Look."}, UNREAD[kind]])
    await guards.add("open", "pii")
    await guards.add("size", "size", fails_closed=True, settings={"max_messages": 5})
    await guards.add("seen", "pii", fails_closed=True, settings={"unread": "pass"})
    await ask(call_of(alice.principal, route, messages=messages))
    assert upstream.stats.requests == 1
    await guards.add("closed", "pii", fails_closed=True)
    call, client = call_of(alice.principal, route, messages=messages), Client()
    with pytest.raises(GuardrailUnavailable):
        await corridor.run(call, client, client.gone)
    assert ledger_row(call.id)["error_code"] == "guardrail:closed"
    assert upstream.stats.requests == 1


async def test_a_rule_that_fails_open_may_refuse_what_is_no_text(alice, routes, guards):
    await guards.add("strict", "regex", settings={"patterns": ["zzz"], "unread": "refuse"})
    client = Client()
    with pytest.raises(GuardrailUnavailable, match="cannot read an image"):
        await corridor.run(call_of(alice.principal, await routes.to("fake"), messages=says([UNREAD["image_url"]])), client, client.gone)
    await ask(call_of(alice.principal, await routes.to("fake"), messages=says([{"type": "text", "text": ""}])))
    await ask(call_of(alice.principal, await routes.to(fake(echo=1)), messages=says(FIELDS["file"]["messages"][0]["content"])))
