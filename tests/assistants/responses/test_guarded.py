"""What a guardrail takes out of a request is not stored beside it either."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest
from assistants.conftest import Company
from openai import OpenAI

from apps.gateway.guardrails.models import Guardrail
from menhir.tenancy.transaction import tenant_transaction

INPUT: list[dict[str, Any]] = [
    {"role": "user", "content": "I am ann@example.com."},
    {"role": "assistant", "content": [{"type": "output_text", "text": "Not bob@"}, {"type": "output_text", "text": "example.com?"}]},
    {
        "role": "user",
        "content": [
            {"type": "input_text", "text": "No: carol@example.com."},
            {"type": "input_image", "image_url": "data:image/png;base64," + base64.b64encode(b"png").decode()},
        ],
    },
    {"type": "function_call", "call_id": "c1", "name": "write", "arguments": '{"to": "dave@example.com"}'},
    {"type": "function_call", "call_id": "c2", "name": "write", "arguments": "{}"},
    {"type": "function_call_output", "call_id": "c1", "output": "erin@example.com answered"},
    {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "frank@example.com, too"}]},
]


def redact(company: Company, **settings: Any) -> None:
    with tenant_transaction(company.tenant):
        rule = {"stage": "before", "action": "redact", "settings": {"kinds": ["email"], **settings}}
        Guardrail.create(company.tenant, name="addresses", kind="pii", by=company.person.principal, **rule)


def answered(client: OpenAI, *, stream: bool, **asked: Any) -> Any:
    if not stream:
        return client.responses.create(model="plain", **asked)
    *_rest, last = client.responses.create(model="plain", stream=True, **asked)
    return last.response


@pytest.mark.parametrize("stream", [False, True])
def test_what_was_taken_out_is_not_stored(acmes: Company, *, stream: bool):
    redact(acmes)
    acmes.prompt("letter", "Write to {{ whom }}.")
    client = acmes.client("inference")
    prompt = {"id": "letter", "variables": {"whom": "gus@example.com"}}
    first = answered(client, stream=stream, input=INPUT, instructions="Serve hal@example.com.", prompt=prompt)
    assert "example.com" not in json.dumps(list(acmes.upstream.stats.bodies))
    shown = client.responses.retrieve(first.id)
    listed = [item.to_dict(warnings=False) for item in client.responses.input_items.list(first.id, order="asc")]
    assert "example.com" not in json.dumps([shown.to_dict(warnings=False), listed])
    assert shown.instructions.startswith("Serve [EMAIL_")
    assert shown.prompt.id == "letter"
    assert [item["type"] for item in listed] == [item.get("type", "message") for item in INPUT]
    assert "[EMAIL_" in listed[0]["content"][0]["text"]
    assert [part["type"] for part in listed[2]["content"]] == ["input_text", "input_image"]
    assert json.loads(listed[3]["arguments"])["to"].startswith("[EMAIL_")
    assert listed[4]["arguments"] == "{}"
    second = answered(client, stream=stream, input="And now?", previous_response_id=first.id)
    assert second.status == "completed"
    sent = acmes.upstream.stats.bodies[-1]["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "user", "assistant", "tool", "tool", "assistant", "user"]
    assert "[EMAIL_" in sent[0]["content"]


def test_what_is_put_back_for_the_client_is_put_back_in_the_store(acmes: Company):
    """Else the next call would count its placeholders from the beginning, and mean others by them."""
    redact(acmes, restore=True)
    acmes.model("echoing", "echo=7")
    client = acmes.client("inference")
    first = client.responses.create(model="echoing", input="From ann@example.com to bob@example.com")
    assert first.output_text == "From ann@example.com to bob@example.com"
    assert "example.com" not in json.dumps(list(acmes.upstream.stats.bodies))
    (item,) = client.responses.input_items.list(first.id)
    assert item.content[0].text == "From ann@example.com to bob@example.com"
    client.responses.create(model="echoing", input="And bob@example.com?", previous_response_id=first.id)
    sent = [message["content"] for message in acmes.upstream.stats.bodies[-1]["messages"]]
    assert sent == ["From [EMAIL_1] to [EMAIL_2]", "From [EMAIL_1] to [EMAIL_2]", "And [EMAIL_2]?"]


def test_what_nothing_was_taken_out_of_is_stored_as_it_came(acmes: Company):
    redact(acmes)
    client = acmes.client("inference")
    notes = [{"type": "url_citation", "url": "https://x.example", "title": "x", "start_index": 0, "end_index": 1}]
    said = {"role": "assistant", "content": [{"type": "output_text", "text": "Stone.", "annotations": notes}]}
    first = client.responses.create(model="plain", input=[said, {"role": "user", "content": "Hi"}], instructions="Be brief.")
    listed = list(client.responses.input_items.list(first.id, order="asc"))
    assert listed[0].content[0].annotations[0].url == "https://x.example"
    assert client.responses.retrieve(first.id).instructions == "Be brief."
