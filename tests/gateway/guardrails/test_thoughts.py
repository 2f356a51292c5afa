"""What a model thinks is guarded wherever it is said; and texts that take turns in a stream are each looked at as one."""

from __future__ import annotations

from itertools import chain
from typing import Any

import orjson
import pytest

from apps.gateway import corridor
from apps.gateway.capture.assembling import assembled
from apps.gateway.errors import GuardrailBlocked
from apps.gateway.guardrails.guard import Guard, finder_of
from apps.gateway.guardrails.guarding import CallGuard
from apps.gateway.guardrails.kinds import settings_of
from apps.gateway.guardrails.streaming import StreamGuard
from menhir.postgres.ids import uuid7
from menhir.tenancy.principal import system

from peers.caller import Client, ask, call_of, fake
from peers.claude import THOUGHT

CARD = "4111 1111 1111 1111"
HIDDEN = THOUGHT.replace("stone", "[REDACTED]")
THINKING = {"thinking": {"type": "enabled", "budget_tokens": 1024}, "max_tokens": 4096}


def rule(action: str = "redact", **fields: Any) -> Guard:
    settings = settings_of("pii", fields)
    return Guard(uuid7(), "pii", "pii", action, False, False, True, frozenset(), settings, finder_of("pii", settings))


async def through(deltas: list[dict[str, Any]], guard: CallGuard | None = None, *, finish: str = "stop") -> list[dict[str, Any]]:
    """The deltas that come out of a guarded stream."""
    guard = guard or CallGuard(call_of(system(uuid7(), "t"), "m", stream=True), [rule()])
    stream = StreamGuard(guard)
    choices = [{"index": 0, "delta": delta, "finish_reason": None} for delta in deltas]
    choices.append({"index": 0, "delta": {}, "finish_reason": finish})
    out = b""
    for choice in choices:
        out += await stream.take(b"data: " + orjson.dumps({"id": "1", "choices": [choice]}) + b"\n\n", ended=False)
    out += await stream.take(b"", ended=True)
    through.last = assembled(out)["choices"][0]
    said = [orjson.loads(event.removeprefix(b"data: "))["choices"][0] for event in out.split(b"\n\n")[:-1]]
    assert said[-1]["finish_reason"] == finish
    return [choice["delta"] for choice in said]


async def message(deltas: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
    """What they add up to."""
    await through(deltas, **more)
    return through.last["message"]


def cut(text: str, size: int = 5) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


@pytest.mark.parametrize("size", [1, 3, 7, 100])
async def test_two_members_in_one_delta_do_not_cut_each_other(size):
    pieces = cut(f"Pay with {CARD}, then.", size)
    said = await message([{"reasoning": piece, "reasoning_content": piece} for piece in pieces])
    assert said == {"reasoning": "Pay with [CREDIT_CARD_1], then.", "reasoning_content": "Pay with [CREDIT_CARD_1], then."}
    said = await message([{"reasoning": f"{number}", "reasoning_content": piece} for number, piece in enumerate(pieces)])
    assert said["reasoning_content"] == "Pay with [CREDIT_CARD_1], then."


@pytest.mark.parametrize("kind", ["function", "custom"])
async def test_tools_that_take_turns_do_not_cut_each_other(kind):
    member = "arguments" if kind == "function" else "input"
    begun = [{"tool_calls": [{"index": at, "id": f"c{at}", "type": kind, kind: {"name": "f", member: ""}}]} for at in (0, 1)]
    pieces = [[{"tool_calls": [{"index": at, kind: {member: piece}}]} for piece in cut(f'"{CARD}"')] for at in (0, 1)]
    said = await message([*begun, *chain.from_iterable(zip(*pieces, strict=True))], finish="tool_calls")
    assert [call[kind][member] for call in said["tool_calls"]] == ['"[CREDIT_CARD_1]"'] * 2


async def test_texts_that_take_turns_do_not_cut_each_other():
    said = await message([{name: piece} for piece in cut(f"Pay: {CARD}") for name in ("content", "reasoning_content")])
    assert said == {"content": "Pay: [CREDIT_CARD_1]", "reasoning_content": "Pay: [CREDIT_CARD_1]"}


async def test_a_call_that_is_sent_whole_is_not_mixed_with_the_next():
    calls = [
        {"tool_calls": [{"id": f"c{number}", "type": "function", "function": {"name": "f", "arguments": f'"{CARD}"'}}]} for number in (1, 2)
    ]
    out = await through(calls, finish="tool_calls")
    assert [delta["tool_calls"][0]["function"]["arguments"] for delta in out if delta] == ['"[CREDIT_CARD_1]"'] * 2
    calls = [{"tool_calls": [{"index": 0, "id": "c", "function": {"name": "f", "arguments": {"to": ["eve@example.com", 1]}}}]}]
    (delta, _) = await through(calls, finish="tool_calls")
    assert delta["tool_calls"][0]["function"]["arguments"] == {"to": ["[EMAIL_1]", 1]}


async def test_what_is_held_back_goes_before_the_text_that_begins():
    out = await through([{"reasoning_content": "Ask bob"}, {"content": "Hello eve"}, {"tool_calls": [{"index": 0, "id": "c"}]}])
    assert [name for delta in out for name, value in delta.items() if value] == [
        "reasoning_content",
        "reasoning_content",
        "content",
        "content",
        "tool_calls",
    ]


@pytest.mark.parametrize("size", [1, 4, 9, 100])
async def test_signed_thoughts_pass_whole_or_lose_their_signature(size):
    def thinks(text: str, index: int, signature: str) -> list[dict[str, Any]]:
        block = {"index": index, "type": "thinking", "thinking": "", "signature": ""}
        pieces = [{"reasoning_content": piece, "thinking_blocks": [{**block, "thinking": piece}]} for piece in cut(text, size)]
        return [*pieces, {"thinking_blocks": [{**block, "signature": signature}]}]

    deltas = [*thinks("I know Bob.", 0, "good"), *thinks(f"He has {CARD}", 1, "bad"), {"content": "Hello"}]
    said = await message(deltas)
    assert said["thinking_blocks"] == [
        {"index": 0, "type": "thinking", "thinking": "I know Bob.", "signature": "good"},
        {"index": 1, "type": "thinking", "thinking": "He has [CREDIT_CARD_1]", "signature": ""},
    ]
    assert said["reasoning_content"] == "I know Bob.He has [CREDIT_CARD_1]"
    out = await through(deltas)
    signed = next(number for number, delta in enumerate(out) if "good" in str(delta))
    assert not any("I know" in str(delta) or "Bob" in str(delta) for delta in out[signed + 1 :])


async def test_a_thought_that_comes_with_its_signature():
    block = {"index": 0, "type": "thinking", "thinking": f"He has {CARD}", "signature": "s"}
    out = await through([{"reasoning_content": f"He has {CARD}", "thinking_blocks": [block]}, {"content": "Hello"}])
    assert out[0]["thinking_blocks"] == [{"index": 0, "type": "thinking", "thinking": "He has [CREDIT_CARD_1]", "signature": ""}]
    block = {"index": 0, "type": "thinking", "thinking": "I know Bob", "signature": "s"}
    out = await through([{"thinking_blocks": [block]}, {"content": "Hello"}])
    assert out[0]["thinking_blocks"] == [block]


@pytest.mark.parametrize("size", [1, 4, 100])
async def test_thoughts_of_other_makers(size):
    pieces = cut(f"He has {CARD}", size)
    details = [{"reasoning": piece, "reasoning_details": [{"type": "reasoning.text", "text": piece, "index": 0}]} for piece in pieces]
    said = await message([*details, {"reasoning_details": [{"type": "reasoning.text", "signature": "s", "index": 0}]}])
    assert said["reasoning_details"] == [{"type": "reasoning.text", "text": "He has [CREDIT_CARD_1]", "index": 0}]
    parts = [{"content": [{"type": "thinking", "thinking": [{"type": "text", "text": piece}]}]} for piece in pieces]
    said = await message([*parts, {"content": f"Use {CARD}"}])
    assert said["content"] == [
        {"type": "thinking", "thinking": [{"type": "text", "text": "He has [CREDIT_CARD_1]"}]},
        {"type": "text", "text": "Use [CREDIT_CARD_1]"},
    ]


async def test_what_is_thought_in_two_places_is_counted_once():
    guard = CallGuard(call_of(system(uuid7(), "t"), "m", stream=True), [rule("flag")])
    await through(
        [{"reasoning_content": p, "thinking_blocks": [{"index": 0, "type": "thinking", "thinking": p}]} for p in cut(f"{CARD}!")], guard
    )
    assert [note.counts for note in guard.notes] == [{"credit_card": 1}]


@pytest.mark.usefixtures("gateway", "written")
@pytest.mark.parametrize("stream", [False, True])
async def test_claudes_thoughts_are_guarded(alice, routes, guards, stream):
    route = await routes.to("claude-3-7-sonnet-20250219?thinks=1", kind="anthropic")

    async def answered() -> tuple[str, str, list[str]]:
        client = await ask(call_of(alice.principal, route, stream=stream, **THINKING))
        said = assembled(client.body)["choices"][0]["message"] if stream else client.json["choices"][0]["message"]
        blocks = said["thinking_blocks"]
        assert [block["type"] for block in blocks] == ["thinking", "redacted_thinking"]
        return said["reasoning_content"], blocks[0]["thinking"], blocks[0]["signature"]

    await guards.add("other", "regex", stage="after", action="redact", settings={"patterns": ["nothing of the kind"]})
    content, thought, signature = await answered()
    assert (content, thought) == (THOUGHT, THOUGHT)
    assert signature
    await guards.add("stone", "regex", stage="after", action="redact", settings={"patterns": ["stone"]})
    assert await answered() == (HIDDEN, HIDDEN, "")
    assert [event.counts for event in await guards.events()] == [{"pattern": 2}]  # in the thought, and in the answer


@pytest.mark.usefixtures("gateway", "written")
@pytest.mark.parametrize("stream", [False, True])
async def test_a_thought_blocks_a_call(alice, routes, guards, stream):
    await guards.add("stone", "regex", stage="after", settings={"patterns": ["They ask"]})
    call, client = (
        call_of(alice.principal, await routes.to("claude-3-7-sonnet-20250219?thinks=1", kind="anthropic"), stream=stream, **THINKING),
        Client(),
    )
    with pytest.raises(GuardrailBlocked):
        await corridor.run(call, client, client.gone)
    assert not client.parts


@pytest.mark.usefixtures("gateway", "written")
async def test_a_webhook_is_asked_about_a_thought_once(alice, routes, guards, webhook):
    await guards.add("judge", "webhook", stage="after", settings={"url": webhook.url, "every_characters": 20})
    client = await ask(call_of(alice.principal, await routes.to(fake(thinks=1)), stream=True))
    assert client.events[-1] == "[DONE]"
    asked = [text for data in webhook.asked for text in data["texts"]]
    assert "".join(asked).count("A stone, standing.") == 1
