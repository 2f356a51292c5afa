"""The peers are honest: the providers' own clients understand what they say, and are refused what they would be refused."""

from __future__ import annotations

import anthropic
import pytest

from peers import claude
from peers.caller import fake
from peers.script import TEXT

TOOLS = [{"name": name, "input_schema": {"type": "object", "properties": {}}} for name in ("clock", "weather")]
HELLO = [{"role": "user", "content": "What is a menhir?"}]
THINK = {"type": "enabled", "budget_tokens": 1024}


@pytest.fixture
def claudes(upstream):
    return anthropic.Anthropic(base_url=upstream.base_url.removesuffix("/v1"), api_key="sk-any", max_retries=0)


def test_anthropics_client_reads_a_message(claudes, upstream):
    message = claudes.messages.create(model=fake(cached=5, written=9), max_tokens=50, messages=HELLO)
    assert message.content[0].text.strip() == TEXT
    assert message.stop_reason == "end_turn"
    assert (message.usage.cache_read_input_tokens, message.usage.cache_creation.ephemeral_1h_input_tokens) == (5, 3)
    assert (upstream.stats.requests, upstream.stats.answered) == (1, 1)


def test_anthropics_client_reads_a_stream(claudes):
    with claudes.messages.stream(model=fake(thinks=1, calls=2), max_tokens=2000, messages=HELLO, tools=TOOLS, thinking=THINK) as stream:
        message = stream.get_final_message()
    thought, redacted, text, clock, weather = message.content
    assert (thought.thinking, thought.signature) == (claude.THOUGHT, claude.claude_rules.signature(claude.THOUGHT))
    assert redacted.data
    assert text.text.strip() == TEXT
    assert [(call.name, call.input) for call in (clock, weather)] == [
        ("clock", {**claude.ARGUMENTS, "number": 0}),
        ("weather", {**claude.ARGUMENTS, "number": 1}),
    ]
    assert message.stop_reason == "tool_use"
    assert message.usage.output_tokens > 0


def test_anthropics_client_reads_refusals(claudes):
    for status, error in ((400, anthropic.BadRequestError), (429, anthropic.RateLimitError), (529, anthropic.InternalServerError)):
        with pytest.raises(error):
            claudes.messages.create(model=fake(status=status), max_tokens=50, messages=HELLO)
    with (
        pytest.raises(anthropic.APIStatusError, match="Overloaded"),
        claudes.messages.stream(model=fake(error=2, kind="overloaded_error", says="Overloaded"), max_tokens=50, messages=HELLO) as stream,
    ):
        stream.get_final_message()


@pytest.mark.parametrize(
    "asked",
    [
        {"extra_body": {"seed": 7}},
        {"extra_body": {"temperature": 2}},
        {"messages": [{"role": "assistant", "content": "Hello"}]},
        {"messages": [*HELLO, {"role": "assistant", "content": [{"type": "tool_use", "id": "a:b", "name": "clock", "input": {}}]}]},
        {"messages": [*HELLO, {"role": "user", "content": [{"type": "text", "text": ""}]}]},
        {"tool_choice": {"type": "any"}},
        {"thinking": THINK},
    ],
)
def test_the_peer_refuses_what_anthropic_refuses(claudes, asked):
    with pytest.raises(anthropic.BadRequestError):
        claudes.messages.create(**{"model": "fake", "max_tokens": 50, "messages": HELLO, **asked})
