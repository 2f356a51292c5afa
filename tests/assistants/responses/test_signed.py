"""Routes to those who sign what their models think, and a fallback to those who know nothing of it."""

from __future__ import annotations

from typing import Any

import pytest
from assistants.conftest import Company

from apps.gateway.models import Provider, Route
from menhir.tenancy.transaction import tenant_transaction

from peers.actor import Actor, call
from peers.claude import THOUGHT

THINKING = "claude-3-7-sonnet-20250219?thinks=1&calls=2"
TOOLS = [{"type": "function", "name": name, "parameters": {"type": "object", "properties": {}}, "strict": False} for name in ("a", "b")]


def route(company: Company, name: str, *targets: tuple[str, str, str]) -> None:
    with tenant_transaction(company.tenant):
        made = []
        for number, (kind, base_url, model) in enumerate(targets):
            provider = Provider(tenant=company.tenant, slug=f"{name}-{number}", kind=kind, base_url=base_url)
            provider.set_credential("sk-upstream")
            provider.save()
            made.append((provider, model))
        Route.objects.create(tenant=company.tenant, name=name).lead_to(*made)


def ask(company: Company, *, stream: bool, **asked: Any) -> Any:
    client = company.client("inference")
    if not stream:
        return client.responses.create(reasoning={"effort": "low"}, tools=TOOLS, **asked)
    with client.responses.stream(reasoning={"effort": "low"}, tools=TOOLS, **asked) as events:
        return events.get_final_response()


@pytest.mark.parametrize("stored", [True, False])
@pytest.mark.parametrize("stream", [False, True])
def test_claude_goes_on_from_its_own_thoughts(acmes: Company, *, stream: bool, stored: bool):
    """The peer refuses what the real one refuses: calls without the thoughts that led to them, and thoughts that were changed."""
    route(acmes, "claude", ("anthropic", acmes.upstream.base_url, THINKING))
    question = {"role": "user", "content": "What is a menhir?"}
    first = ask(acmes, stream=stream, model="claude", input=[question], store=stored)
    thought, text, *calls = first.output
    assert (thought.type, thought.content[0].text) == ("reasoning", THOUGHT)
    assert (text.type, [item.name for item in calls]) == ("message", ["a", "b"])
    results = [{"type": "function_call_output", "call_id": item.call_id, "output": "Here."} for item in calls]
    if stored:
        last = ask(acmes, stream=stream, model="claude", input=results, previous_response_id=first.id)
    else:
        last = ask(acmes, stream=stream, model="claude", input=[question, *first.output, *results], store=False)
    assert last.status == "completed"
    assert [item.type for item in last.output] == ["reasoning", "message"]
    assistant = acmes.upstream.stats.bodies[-1]["messages"][1]
    assert [block["type"] for block in assistant["content"]] == ["thinking", "redacted_thinking", "text", "tool_use", "tool_use"]


def test_who_knows_nothing_of_signatures_gets_none(acmes: Company, actor: Actor):
    signature = {"google": {"thought_signature": "s"}}
    calling = call("a", "{}")
    calling["tool_calls"][0]["extra_content"] = signature
    signed = {"index": 0, "type": "thinking", "thinking": "Hm", "signature": "s"}
    actor.plays([{"reasoning_content": "Hm", "thinking_blocks": [signed]}, calling], finish="tool_calls")
    actor.plays([{"content": "Done."}])
    first = ask(acmes, stream=True, model="actor", input="?")
    result = {"type": "function_call_output", "call_id": "call_a", "output": "7"}
    ask(acmes, stream=True, model="actor", input=[result], previous_response_id=first.id, max_output_tokens=9)
    sent = actor.stats.bodies[-1]
    assert sent["messages"][1] == {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "a", "arguments": "{}"}}],
    }
    assert sent["max_tokens"] == 9  # most servers that speak as OpenAI does know no other word
