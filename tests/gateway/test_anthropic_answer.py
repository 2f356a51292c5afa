"""Anthropic's answers in OpenAI's words: whole, in any pieces, and refused."""

from __future__ import annotations

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.errors import (
    ContextTooLong,
    UpstreamBusy,
    UpstreamCut,
    UpstreamDown,
    UpstreamError,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamUnauthorized,
    UpstreamUnusable,
)
from apps.gateway.sse import data_of
from apps.gateway.upstreams.anthropic.decode import whole
from apps.gateway.upstreams.anthropic.encode import ANSWER_TOOL
from apps.gateway.upstreams.anthropic.errors import error_of
from apps.gateway.upstreams.anthropic.stream import Stream
from apps.gateway.wire import usage_of

from peers import claude, translating
from peers.script import Orders, words_of
from peers.translating import chunks

USAGE = {
    "input_tokens": 10,
    "cache_creation_input_tokens": 30,
    "cache_read_input_tokens": 60,
    "cache_creation": {"ephemeral_5m_input_tokens": 20, "ephemeral_1h_input_tokens": 10},
    "output_tokens": 7,
    "output_tokens_details": {"thinking_tokens": 4},
}
USED = {
    "prompt_tokens": 100,
    "completion_tokens": 7,
    "total_tokens": 107,
    "prompt_tokens_details": {"cached_tokens": 60, "cache_write_tokens": 30, "cache_write_1h_tokens": 10},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def read(*content, by_tool=False, **more):
    message = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x", "content": content, "usage": USAGE, **more}
    return orjson.loads(whole(orjson.dumps(message), by_tool=by_tool, provider="claude", created=5))


def test_a_whole_answer():
    thoughts = [{"type": "thinking", "thinking": "Hm.", "signature": "s"}, {"type": "redacted_thinking", "data": "x"}]
    call = {"type": "tool_use", "id": "toolu_1", "name": "clock", "input": {"zone": "UTC"}}
    assert read(*thoughts, {"type": "text", "text": "Well, "}, {"type": "text", "text": "look."}, call, stop_reason="tool_use") == {
        "id": "msg_1",
        "object": "chat.completion",
        "created": 5,
        "model": "claude-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Well, look.",
                    "refusal": None,
                    "reasoning_content": "Hm.",
                    "thinking_blocks": thoughts,
                    "tool_calls": [{"id": "toolu_1", "type": "function", "function": {"name": "clock", "arguments": '{"zone":"UTC"}'}}],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": USED,
    }


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("pause_turn", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("refusal", "content_filter"),
        ("unheard_of", "stop"),
    ],
)
def test_why_it_stopped(reason, finish):
    assert read({"type": "text", "text": "x"}, stop_reason=reason)["choices"][0]["finish_reason"] == finish


def test_a_refusal_says_why():
    details = {"type": "refusal", "category": "bio", "explanation": "Not this."}
    message = read(stop_reason="refusal", stop_details=details)["choices"][0]["message"]
    assert (message["content"], message["refusal"]) == (None, "Not this.")


def test_an_answer_by_our_tool_is_no_call():
    choice = read({"type": "tool_use", "id": "t", "name": ANSWER_TOOL, "input": {"age": 3}}, by_tool=True, stop_reason="tool_use")[
        "choices"
    ][0]
    assert choice["message"] == {"role": "assistant", "content": '{"age":3}', "refusal": None}
    assert choice["finish_reason"] == "stop"


def test_the_ledger_understands_the_usage():
    used = usage_of(USED)
    assert (used.input_tokens, used.output_tokens, used.cached_input_tokens, used.reasoning_tokens) == (100, 7, 60, 4)
    assert read({"type": "text", "text": "x"}, usage={"input_tokens": 0, "output_tokens": 0})["usage"]["total_tokens"] == 0


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"id": "msg_', b'{"hello": "there"}', b'{"type": "message", "content": 5}'])
def test_what_is_no_message_is_a_failure(body):
    with pytest.raises(UpstreamDown):
        whole(body, by_tool=False, provider="claude", created=5)


def test_an_error_in_place_of_a_message():
    with pytest.raises(UpstreamBusy, match="Overloaded"):
        whole(
            b'{"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}',
            by_tool=False,
            provider="claude",
            created=5,
        )


def translated(pieces, *, by_tool=False):
    return translating.translated(Stream(by_tool=by_tool, provider="claude", model="claude-x", created=5), pieces)


BLOCKS = [
    {"type": "thinking", "thinking": claude.THOUGHT, "signature": "signed"},
    {"type": "text", "text": "", "words": words_of(Orders(chunks=3))},
    {"type": "tool_use", "id": "toolu_0", "name": "clock", "input": {}},
    {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": claude.ARGUMENTS},
]


def events(blocks=BLOCKS, reason="tool_use", **orders):
    head = {"id": "msg_1", "type": "message", "role": "assistant", "model": "claude-x"}
    return claude.script(Orders(**orders), head=head, blocks=blocks, prompt=10, words=7, end={"stop_reason": reason})


def test_a_stream():
    said = chunks(translated(events(cached=60, written=30)))
    assert said.pop() == "[DONE]"
    usage = said.pop()
    assert usage["choices"] == []
    assert (usage["usage"]["prompt_tokens"], usage["usage"]["completion_tokens"]) == (100, 7)
    assert all((chunk["id"], chunk["created"], chunk["model"]) == ("msg_1", 5, "claude-x") for chunk in [*said, usage])
    assert all(chunk["usage"] is None for chunk in said)
    deltas = [chunk["choices"][0]["delta"] for chunk in said]
    assert "role" in deltas[0]
    assert not any("role" in delta for delta in deltas[1:])
    assert "".join(delta.get("reasoning_content", "") for delta in deltas) == claude.THOUGHT
    blocks = [block for delta in deltas for block in delta.get("thinking_blocks", [])]
    assert {(block["index"], block["type"]) for block in blocks} == {(0, "thinking")}
    assert "".join(block["thinking"] for block in blocks) == claude.THOUGHT
    assert "".join(block["signature"] for block in blocks) == "signed"
    assert "".join(delta.get("content", "") for delta in deltas) == "".join(BLOCKS[1]["words"])
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [(call["index"], call["id"], call["function"]["name"]) for call in calls if "id" in call] == [
        (0, "toolu_0", "clock"),
        (1, "toolu_1", "weather"),
    ]
    arguments = ["".join(call["function"]["arguments"] for call in calls if call["index"] == index) for index in (0, 1)]
    assert [orjson.loads(text) for text in arguments] == [{}, claude.ARGUMENTS]
    assert [chunk["choices"][0]["finish_reason"] for chunk in said[-2:]] == [None, "tool_calls"]


@given(st.data())
def test_any_pieces_give_the_same_chunks(data: st.DataObject):
    crlf = data.draw(st.booleans())
    whole_stream = b"".join(events(crlf=int(crlf)))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole_stream)), max_size=40)))
    pieces = [whole_stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole_stream)], strict=True)]
    assert translated(pieces) == translated([whole_stream]) == translated([whole_stream[i : i + 1] for i in range(len(whole_stream))])


def test_nothing_is_said_before_there_is_something_to_say():
    """So that what fails between the beginning and the first word can be asked elsewhere; a comment shows that the other side lives."""
    stream = Stream(by_tool=False, provider="claude", model="claude-x", created=5)
    before = b"".join(stream.take(data_of(event)) for event in events(blocks=BLOCKS[1:2])[:3])
    assert before
    assert chunks(before) == []


def test_an_answer_by_our_tool_is_streamed_as_text():
    block = {"type": "tool_use", "id": "t", "name": ANSWER_TOOL, "input": {"age": 3}}
    said = chunks(translated(events(blocks=[block]), by_tool=True))
    assert orjson.loads("".join(chunk["choices"][0]["delta"].get("content", "") for chunk in said[:-2])) == {"age": 3}
    assert said[-3]["choices"][0]["finish_reason"] == "stop"
    assert not any("tool_calls" in chunk["choices"][0]["delta"] for chunk in said[:-2])


def test_an_answer_of_nothing_is_an_answer():
    said = chunks(translated(events(blocks=[], reason="end_turn")))
    assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert said[1]["choices"][0]["finish_reason"] == "stop"


def test_an_error_inside_a_stream():
    with pytest.raises(UpstreamBusy, match="Overloaded"):
        translated(events(error=1, kind="overloaded_error", says="Overloaded"))
    with pytest.raises(ContextTooLong) as too_long:
        translated(events(error=1, kind="invalid_request_error", says="prompt is too long: 2 tokens > 1 maximum"))
    assert too_long.value.upstream_code == "context_length_exceeded"


@pytest.mark.parametrize("orders", [{"malformed": 1}, {"finish": 0, "done": 0}, {"finish": 0}])
def test_a_stream_that_breaks_is_cut(orders):
    with pytest.raises(UpstreamCut):
        translated(events(**orders))


@pytest.mark.parametrize(
    "event", [b"data: []\n\n", b"data: 5\n\n", b'data: {"type": 7}\n\n', b'data: {"type": "content_block_delta", "delta": 1}\n\n']
)
def test_an_event_of_another_shape_is_a_cut(event):
    with pytest.raises(UpstreamCut):
        translated([event])


def test_a_stream_that_only_forgot_its_last_event_is_complete():
    assert translated(events(done=0)) == translated(events())


@pytest.mark.parametrize(
    ("status", "kind", "message", "error", "code"),
    [
        (400, "invalid_request_error", "messages: too short", UpstreamRefused, "invalid_request_error"),
        (400, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum", ContextTooLong, "context_length_exceeded"),
        (
            400,
            "invalid_request_error",
            "input length and `max_tokens` exceed context limit: 1 + 2 > 2",
            ContextTooLong,
            "context_length_exceeded",
        ),
        (400, "invalid_request_error", "Your credit balance is too low to access the Anthropic API.", UpstreamUnusable, "billing_error"),
        (401, "authentication_error", "invalid x-api-key sk-secret", UpstreamUnauthorized, None),
        (402, "billing_error", "pay", UpstreamUnusable, "billing_error"),
        (403, "permission_error", "no", UpstreamUnauthorized, None),
        (404, "not_found_error", "model: claude-0", UpstreamUnusable, "not_found_error"),
        (413, "request_too_large", "too large", ContextTooLong, "context_length_exceeded"),
        (429, "rate_limit_error", "slow down", UpstreamLimited, "rate_limit_error"),
        (500, "api_error", "oh", UpstreamDown, "api_error"),
        (504, "timeout_error", "oh", UpstreamDown, "timeout_error"),
        (529, "overloaded_error", "Overloaded", UpstreamBusy, "overloaded_error"),
    ],
)
def test_what_a_refusal_means(status, kind, message, error, code):
    body = orjson.dumps({"type": "error", "error": {"type": kind, "message": message}})
    raised = error_of(status, {"retry-after": "7"}, body, provider="claude")
    assert type(raised) is error
    assert raised.upstream_code == code
    assert raised.upstream_status == status
    assert "sk-secret" not in raised.message
    assert raised.retry_after_seconds == (7 if issubclass(error, UpstreamBusy) else None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b'{"error": "text"}', b'{"error": {"type": 7}}'])
def test_a_refusal_in_another_shape_is_one_all_the_same(body):
    assert isinstance(error_of(503, {}, body, provider="claude"), UpstreamError)
