"""The translations of Anthropic's wire, member by member, without a socket."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.assistants.errors import MalformedRequest
from apps.assistants.front.asked import Asked
from apps.assistants.front.wires.messages.decode import decode
from apps.assistants.front.wires.messages.encode import encode
from apps.assistants.front.wires.messages.wire import Messages
from apps.gateway.errors import UpstreamDown
from menhir.errors import Forbidden, LimitReached, TooLarge

from peers import said
from peers.script import Orders, script, words_of

PNG = {"type": "base64", "media_type": "image/png", "data": "iVBO"}
MARK = {"type": "ephemeral"}


def messages_of(*content: dict[str, Any], role: str = "user") -> list[dict[str, Any]]:
    return decode({"model": "m", "messages": [{"role": role, "content": list(content)}]})["messages"]


@pytest.mark.parametrize(
    ("block", "part"),
    [
        ({"type": "image", "source": PNG}, {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBO"}}),
        (
            {"type": "image", "source": {"type": "url", "url": "https://x/a.png"}},
            {"type": "image_url", "image_url": {"url": "https://x/a.png"}},
        ),
        ({"type": "image", "source": {"type": "file", "file_id": "f_1"}}, {"type": "file", "file": {"file_id": "f_1"}}),
        (
            {"type": "document", "title": "a.pdf", "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBE"}},
            {"type": "file", "file": {"filename": "a.pdf", "file_data": "data:application/pdf;base64,JVBE"}},
        ),
        (
            {"type": "document", "source": {"type": "url", "url": "https://x/a.pdf"}},
            {"type": "file", "file": {"filename": "document.pdf", "file_data": "https://x/a.pdf"}},
        ),
        ({"type": "text", "text": "Hi", "cache_control": MARK}, {"type": "text", "text": "Hi", "cache_control": MARK}),
        ({"type": "container_upload", "file_id": "f_1"}, {"type": "container_upload", "file_id": "f_1"}),
    ],
)
def test_a_block_becomes_a_part(block: dict[str, Any], part: dict[str, Any]):
    assert messages_of(block) == [{"role": "user", "content": [part]}]


def test_documents_of_text_are_text():
    document = {"type": "document", "title": "Stones", "source": {"type": "text", "media_type": "text/plain", "data": "They stand."}}
    parts = [{"type": "text", "text": "Stones\n"}, {"type": "text", "text": "They stand."}]
    assert messages_of(document) == [{"role": "user", "content": parts}]
    blocks = {"type": "document", "source": {"type": "content", "content": [{"type": "image", "source": PNG}]}}
    assert messages_of(blocks)[0]["content"][0]["type"] == "image_url"


def test_pictures_of_a_tool_follow_its_result():
    result = {"type": "tool_result", "tool_use_id": "t_1", "content": [{"type": "text", "text": "here"}, {"type": "image", "source": PNG}]}
    other = {"type": "tool_result", "tool_use_id": "t_2", "cache_control": MARK}
    first, second, third = messages_of(result, other, {"type": "text", "text": "See?"})
    assert first == {"role": "tool", "tool_call_id": "t_1", "content": "here"}
    assert second == {"role": "tool", "tool_call_id": "t_2", "content": "", "cache_control": MARK}
    assert [part["type"] for part in third["content"]] == ["image_url", "text"]


def test_what_the_model_said_is_kept_apart():
    thought = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
    hidden = {"type": "redacted_thinking", "data": "eHh4"}
    use = {"type": "tool_use", "id": "t_1", "name": "weather", "input": {"city": "Carnac"}}
    (message,) = messages_of(thought, hidden, {"type": "text", "text": "Let me see."}, use, role="assistant")
    assert message == {
        "role": "assistant",
        "content": "Let me see.",
        "thinking_blocks": [thought, hidden],
        "tool_calls": [{"id": "t_1", "type": "function", "function": {"name": "weather", "arguments": '{"city":"Carnac"}'}}],
    }


@pytest.mark.parametrize(
    ("given", "made"),
    [
        ({"system": [{"type": "text", "text": "Be brief.", "cache_control": MARK}]}, None),
        ({"tool_choice": {"type": "none"}}, {"tool_choice": "none"}),
        ({"tool_choice": {"type": "auto", "disable_parallel_tool_use": True}}, {"tool_choice": "auto", "parallel_tool_calls": False}),
        ({"tool_choice": {"type": "tool", "name": "t"}}, {"tool_choice": {"type": "function", "function": {"name": "t"}}}),
        ({"metadata": {"user_id": "ann"}}, {"user": "ann"}),
        ({"stream": True}, {"stream": True, "stream_options": {"include_usage": True}}),
        ({"stream": False}, {"stream": False}),
        ({"thinking": {"type": "adaptive"}, "top_k": 5}, {"thinking": {"type": "adaptive"}, "top_k": 5}),
        (
            {"output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"type": "object"}}}},
            {
                "output_config": {"effort": "low"},
                "response_format": {"type": "json_schema", "json_schema": {"name": "output", "schema": {"type": "object"}, "strict": True}},
            },
        ),
    ],
)
def test_the_rest_of_a_request(given: dict[str, Any], made: dict[str, Any] | None):
    tools = [{"name": "t", "input_schema": {}}]
    asked = {"model": "m", "messages": [{"role": "user", "content": "Hi"}], "tools": tools, **given}
    body = decode(asked)
    if made is None:
        assert body["messages"][0] == {"role": "system", "content": given["system"]}
        return
    rest = {name: value for name, value in body.items() if name not in {"model", "messages", "tools"}}
    assert rest == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"messages": None},
        {"messages": ["Hi"]},
        {"messages": [{"role": "user"}]},
        {"messages": [{"role": "user", "content": ["Hi"]}]},
        {"messages": [{"role": "user", "content": [{"type": "image"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "base64"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "document", "source": {"type": "moon"}}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result"}]}]},
        {"messages": [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t", "content": 5}]}]},
        {"messages": [], "tools": [{"description": "no name"}]},
        {"messages": [], "stop_sequences": "END"},
        {"messages": [], "system": 5},
    ],
)
def test_nonsense_is_refused(wrong: dict[str, Any]):
    with pytest.raises(MalformedRequest) as refused:
        decode({"model": "m", **wrong})
    assert refused.value.param


@pytest.mark.parametrize(
    ("reason", "stop"),
    [("stop", "end_turn"), ("length", "max_tokens"), ("tool_calls", "tool_use"), ("content_filter", "refusal"), (None, "end_turn")],
)
def test_why_it_stopped(reason: str | None, stop: str):
    answer = {"id": "c", "model": "m", "choices": [{"message": {"content": "Hi"}, "finish_reason": reason}]}
    assert encode(answer, request_id="r", sequences=[])["stop_reason"] == stop


def test_a_whole_answer():
    orders = Orders(calls=1, chunks=2, thinks=1, reason="length")
    choice = said.choices(orders, ["a ", "b"], {"tools": [{"type": "function", "function": {"name": "t"}}]})
    message = encode({"id": "c", "model": "m", "choices": choice, "usage": None}, request_id="r", sequences=[])
    assert message == {
        "id": "msg_c",
        "type": "message",
        "role": "assistant",
        "model": "m",
        "content": [
            {"type": "thinking", "thinking": said.THOUGHT, "signature": said.SIGNATURE},
            {"type": "text", "text": "a b"},
            {"type": "tool_use", "id": "call_0", "name": "t", "input": {"city": "Carnac 0", "deep": {"a": [0]}}},
        ],
        "stop_reason": "max_tokens",
        "stop_sequence": None,
        "usage": {
            "input_tokens": 0,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 0,
            "cache_creation": {"ephemeral_5m_input_tokens": 0, "ephemeral_1h_input_tokens": 0},
            "output_tokens": 0,
        },
    }
    plain = {"choices": [{"message": {"reasoning_content": "Hm.", "refusal": "No."}, "finish_reason": "stop"}]}
    refused = encode(plain, request_id="r", sequences=[])
    assert [block["type"] for block in refused["content"]] == ["thinking", "text"]
    assert refused["stop_reason"] == "refusal"


async def translated(parts: list[bytes]) -> bytes:
    """A chat stream, cut into these parts, in Anthropic's wire."""
    out: list[bytes] = []

    async def send(message: Any) -> None:
        out.append(message.get("body", b""))

    reply = Messages().reply(send, Asked(request_id=b"req_1"))
    await reply.start(200, [(b"content-type", b"text/event-stream")])
    for number, part in enumerate(parts):
        await reply.send(part, number < len(parts) - 1)
    return b"".join(out)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    ends = sorted({place % len(data) for place in places} - {0})
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


STREAMS = [
    Orders(),
    Orders(thinks=1, calls=2, chunks=3, interleave=1),
    Orders(calls=2, interleave=1),
    Orders(error=3, crlf=1),
    Orders(finish=0, usage="none"),
]


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(STREAMS), st.lists(st.integers(min_value=0, max_value=100_000), max_size=30))
def test_wherever_a_stream_is_cut_the_events_are_the_same(orders: Orders, places: list[int]):
    body = {"tools": [{"type": "function", "function": {"name": "t"}}]}
    events = script(orders, head={"id": "c", "model": "m"}, words=words_of(orders), prompt=3, asked=True, body=body)
    whole = b": still there\n\n" + b"".join(events)
    told = asyncio.run(translated(cut(whole, places)))
    assert told == asyncio.run(translated([whole]))
    check(told, broken=orders.error >= 0)


def check(told: bytes, *, broken: bool) -> None:
    """The grammar of the stream: blocks counted from 0, one after the other, each begun and ended."""
    events = [json.loads(event.partition(b"data: ")[2]) for event in told.split(b"\n\n") if event]
    kinds = [event["type"] for event in events if event["type"] != "ping"]
    assert kinds[0] == "message_start"
    assert kinds[-2:] == ["message_delta", "message_stop"] if not broken else kinds[-1] == "error"
    opened = -1
    is_open = False
    for event in events:
        match event["type"]:
            case "content_block_start":
                assert not is_open
                assert event["index"] == opened + 1
                opened, is_open = event["index"], True
            case "content_block_delta":
                assert is_open
                assert event["index"] == opened
            case "content_block_stop":
                assert is_open
                assert event["index"] == opened
                is_open = False
    assert broken or not is_open


@pytest.mark.parametrize(
    ("error", "status", "kind"),
    [
        (LimitReached(), 429, "rate_limit_error"),
        (TooLarge(), 413, "request_too_large"),
        (Forbidden(), 403, "permission_error"),
        (UpstreamDown(), 503, "api_error"),
        (MalformedRequest("no", param="x"), 400, "invalid_request_error"),
    ],
)
async def test_errors(error: Any, status: int, kind: str):
    out: list[Any] = []

    async def send(message: Any) -> None:
        out.append(message)

    await Messages().reply(send, Asked(request_id=b"req_1")).error(error)
    body = json.loads(out[1]["body"])
    assert (out[0]["status"], body["error"]["type"], body["request_id"]) == (status, kind, "req_1")
    assert (b"request-id", b"req_1") in out[0]["headers"]
