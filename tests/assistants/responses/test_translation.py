"""What holds of the translation whatever is said, and however it is cut."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.assistants.errors import MalformedRequest
from apps.assistants.front.asked import Asked
from apps.assistants.front.wires.responses import items, parameters
from apps.assistants.front.wires.responses.messages import messages_of
from apps.assistants.front.wires.responses.stored import events_of
from apps.assistants.front.wires.responses.stream import Stream
from apps.assistants.front.wires.responses.wire import Responses, ResponsesReply
from apps.assistants.responses import Stored
from apps.gateway.sse import EventSplitter, data_of
from menhir.tenancy.principal import system

from peers.actor import USAGE, call, message_of, more

ID = UUID("0198c0a8-f2b0-7c3e-9d6f-3b1f2a4c5d6e")
AT = datetime(2026, 1, 1, tzinfo=UTC)

TEXT = st.text(min_size=1, max_size=8)
DELTA = st.one_of(
    st.builds(lambda text: {"reasoning_content": text}, TEXT),
    st.builds(lambda text: {"content": text}, TEXT),
    st.builds(lambda text: {"refusal": text}, TEXT),
    st.just({"role": "assistant", "content": ""}),
    st.just({}),
)


@st.composite
def calls(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Function calls whose arguments come in pieces, perhaps of several at the same time."""
    made: list[dict[str, Any]] = []
    for number in range(draw(st.integers(0, 3))):
        made.append(call(f"f{number}", draw(st.text(max_size=4)), number=number, call_id=f"c{number}"))
        made += [more(draw(TEXT), number=draw(st.integers(0, number))) for _ in range(draw(st.integers(0, 3)))]
    return made


CHATS = st.tuples(st.lists(DELTA, max_size=10), calls(), st.sampled_from(["stop", "tool_calls", "length", "content_filter"]))


def stream_of(*, told: bool = True, first: int = 1, **asked: Any) -> Stream:
    said = {"model": "m", "input": "?", "stream": told, **asked}
    return Stream(ID, asked=parameters.repeated(said), first=first, summary=parameters.wants_summary(said), told=told)


def played(deltas: list[dict[str, Any]], finish: str, **asked: Any) -> tuple[Stream, list[dict[str, Any]]]:
    """A stream of these deltas, and its events."""
    stream = stream_of(**asked)
    out = [stream.take({"model": "m-1", "choices": [{"index": 0, "delta": delta}]}) for delta in deltas]
    out.append(stream.take({"model": "m-1", "choices": [{"index": 0, "delta": {}, "finish_reason": finish}]}))
    out += [stream.take({"choices": [], "usage": USAGE}), stream.finish(at=AT), stream.last()]
    return stream, events(b"".join(out))


def events(sent: bytes) -> list[dict[str, Any]]:
    said = [data_of(event) for event in EventSplitter().feed(sent)]
    return [orjson.loads(data) for data in said if data is not None]


def rebuilt(told: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The output as a client puts it together that believes the deltas alone."""
    output: list[dict[str, Any]] = []
    for event in told:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(output)
                output.append(event["item"])
            case "content_part.added" | "reasoning_summary_part.added" as kind:
                parts = output[event["output_index"]]["content" if kind[0] == "c" else "summary"]
                assert event.get("content_index", event.get("summary_index")) == len(parts)
                parts.append(event["part"])
            case "output_text.delta" | "reasoning_text.delta":
                output[event["output_index"]]["content"][event["content_index"]]["text"] += event["delta"]
            case "reasoning_summary_text.delta":
                output[event["output_index"]]["summary"][event["summary_index"]]["text"] += event["delta"]
            case "refusal.delta":
                output[event["output_index"]]["content"][event["content_index"]]["refusal"] += event["delta"]
            case "function_call_arguments.delta":
                output[event["output_index"]]["arguments"] += event["delta"]
    return output


@given(CHATS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_the_deltas_add_up_to_the_response(chat, summary):
    deltas, called, finish = chat
    asked = {"reasoning": {"summary": "auto"}} if summary else {}
    stream, told = played(deltas + called, finish, **asked)
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    last = told[-1]["response"]
    assert last == stream.whole
    assert [{**item, "status": ""} for item in rebuilt(told)] == [{**item, "status": ""} for item in last["output"]]
    done = [event["item"] for event in told if event["type"] == "response.output_item.done"]
    assert sorted(done, key=lambda item: str(item["id"][-4:])) == last["output"]
    assert last["status"] == ("completed" if finish in {"stop", "tool_calls"} else "incomplete")
    assert len({item["id"] for item in last["output"]}) == len(last["output"])


@given(CHATS)
@settings(max_examples=100, deadline=None)
def test_a_whole_answer_says_what_its_stream_does(chat):
    deltas, called, finish = chat
    order = {"reasoning_content": 0, "content": 1, "refusal": 2}
    deltas = sorted((delta for delta in deltas if delta and "role" not in delta), key=lambda delta: order[next(iter(delta))])
    streamed, _ = played(deltas + called, finish)
    whole = stream_of(told=False)
    message = message_of(deltas + called)
    assert whole.take({"model": "m-1", "choices": [{"index": 0, "message": message, "finish_reason": finish}], "usage": USAGE}) == b""
    assert whole.finish(at=AT) == b""
    assert whole.whole == {**streamed.whole}


@given(CHATS, st.booleans())
@settings(max_examples=100, deadline=None)
def test_what_is_stored_is_streamed_again(chat, summary):
    deltas, called, finish = chat
    stream, _ = played(deltas + called, finish, **({"reasoning": {"summary": "auto"}} if summary else {}))
    again = events(events_of(Stored(ID, [{"id": "msg_1"}], stream.items, stream.response)))
    assert again[-1]["response"] == stream.whole
    assert [{**item, "status": ""} for item in rebuilt(again)] == [{**item, "status": ""} for item in stream.items]


@given(CHATS, st.data())
@settings(max_examples=60, deadline=None)
def test_cuts_change_nothing(chat, data):
    deltas, called, finish = chat
    choices = [{"delta": delta} for delta in deltas + called] + [{"delta": {}, "finish_reason": finish}]
    told = b"".join(b"data: " + orjson.dumps({"model": "m-1", "choices": [choice]}) + b"\n\n" for choice in choices) + b"data: [DONE]\n\n"
    places = sorted(data.draw(st.lists(st.integers(0, len(told)), max_size=6)))
    pieces = [told[start:end] for start, end in zip([0, *places], [*places, len(told)], strict=True)]
    assert without_times(sent(pieces)) == without_times(sent([told]))


def sent(pieces: list[bytes]) -> bytes:
    parts: list[bytes] = []

    async def send(message: Any) -> None:
        parts.append(message.get("body", b""))

    async def run() -> None:
        reply = ResponsesReply(Responses(), send, Asked(request_id=b"req_1"))
        fields = {"model": "m", "stream": True, "store": False}
        reply.expect(ID, who=system(ID, "acme"), fields=fields, given=[], previous=None)
        await reply.start(200, [(b"content-type", b"text/event-stream")])
        for piece in pieces:
            await reply.send(piece, True)

    asyncio.run(run())
    return b"".join(parts)


def test_who_only_followed_is_told_of_an_error():
    reply = ResponsesReply(Responses(), None, Asked(request_id=b"req_1"))
    (event,) = events(reply.broken({"message": "no", "type": "upstream_error", "code": "upstream_cut", "param": None}))
    assert event == {"type": "error", "code": "upstream_cut", "message": "no", "param": None, "sequence_number": 0}


def without_times(told: bytes) -> list[dict[str, Any]]:
    found = events(told)
    found[-1]["response"]["completed_at"] = None
    return found


def test_the_events_of_a_response():
    """Word for word: clients read these names, and count on these ids."""
    _, told = played([{"reasoning_content": "Hm"}, {"content": "Yes"}, call("f", "{}")], "tool_calls")
    text = {"type": "output_text", "annotations": [], "logprobs": [], "text": "Yes"}
    thought = {"type": "reasoning_text", "text": "Hm"}
    rs, msg, fc = (f"{kind}_{ID.hex}{number:04x}" for number, kind in enumerate(("rs", "msg", "fc"), 1))
    reasoning = {"id": rs, "type": "reasoning", "status": "completed", "summary": [], "content": [thought]}
    message = {"id": msg, "type": "message", "status": "completed", "role": "assistant", "content": [text]}
    called = {"id": fc, "type": "function_call", "status": "completed", "call_id": "call_f", "name": "f", "arguments": "{}"}
    begun = {"status": "in_progress"}
    in_text, in_thought = ({"item_id": item, "output_index": at, "content_index": 0} for at, item in ((1, msg), (0, rs)))
    expected = [
        ("output_item.added", {"output_index": 0, "item": {**reasoning, **begun, "content": []}}),
        ("content_part.added", {**in_thought, "part": {**thought, "text": ""}}),
        ("reasoning_text.delta", {**in_thought, "delta": "Hm"}),
        ("reasoning_text.done", {**in_thought, "text": "Hm"}),
        ("content_part.done", {**in_thought, "part": thought}),
        ("output_item.done", {"output_index": 0, "item": reasoning}),
        ("output_item.added", {"output_index": 1, "item": {**message, **begun, "content": []}}),
        ("content_part.added", {**in_text, "part": {**text, "text": ""}}),
        ("output_text.delta", {**in_text, "delta": "Yes", "logprobs": []}),
        ("output_text.done", {**in_text, "text": "Yes", "logprobs": []}),
        ("content_part.done", {**in_text, "part": text}),
        ("output_item.done", {"output_index": 1, "item": message}),
        ("output_item.added", {"output_index": 2, "item": {**called, **begun, "arguments": ""}}),
        ("function_call_arguments.delta", {"item_id": fc, "output_index": 2, "delta": "{}"}),
        ("function_call_arguments.done", {"item_id": fc, "output_index": 2, "arguments": "{}"}),
        ("output_item.done", {"output_index": 2, "item": called}),
    ]
    assert [event["type"] for event in told[:2]] == ["response.created", "response.in_progress"]
    for number, (event, (kind, members)) in enumerate(zip(told[2:-1], expected, strict=True), 2):
        assert event == {"type": f"response.{kind}", "sequence_number": number, **members}
    assert told[-1]["response"]["output"] == [reasoning, message, called]
    assert told[-1]["response"]["usage"] == {
        "input_tokens": 11,
        "input_tokens_details": {"cached_tokens": 3, "cache_write_tokens": 2},
        "output_tokens": 7,
        "output_tokens_details": {"reasoning_tokens": 2},
        "total_tokens": 18,
    }


SIGNED = [
    {"reasoning_content": "Hm", "thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "Hm", "signature": ""}]},
    {"thinking_blocks": [{"index": 0, "type": "thinking", "thinking": "", "signature": "sig"}]},
    {"thinking_blocks": [{"index": 1, "type": "redacted_thinking", "data": "xyz"}]},
]
BLOCKS = [{"type": "thinking", "thinking": "Hm", "signature": "sig"}, {"type": "redacted_thinking", "data": "xyz"}]


def test_signed_thoughts_go_back_to_who_signed_them():
    """Claude refuses to go on from its own calls without them, and Gemini without the signature of each call."""
    signature = {"google": {"thought_signature": "s"}}
    calling = call("f", "{}")
    calling["tool_calls"][0]["extra_content"] = signature
    stream, _ = played([*SIGNED, {"content": "Yes", "extra_content": signature}, calling], "tool_calls")
    answered = {"type": "function_call_output", "call_id": "call_f", "output": "7"}
    again = items.read([{"role": "user", "content": "?"}, *stream.items, answered], response_id=ID, known={})
    _, said, result = messages_of(again)[0]
    assert said["thinking_blocks"] == BLOCKS
    assert said["extra_content"] == said["tool_calls"][0]["extra_content"] == signature
    assert result == {"role": "tool", "tool_call_id": "call_f", "content": "7"}
    whole = stream_of(told=False)
    message = {"role": "assistant", "content": "Yes", "reasoning_content": "Hm", "thinking_blocks": BLOCKS, "extra_content": signature}
    whole.take({"choices": [{"message": {**message, "tool_calls": calling["tool_calls"]}}]})
    whole.finish(at=AT)
    assert whole.items == stream.items
    assert events(events_of(Stored(ID, [{"id": "msg_1"}], stream.items, stream.response)))[-1]["response"]["output"] == stream.items


def test_thoughts_that_led_to_nothing_are_forgotten():
    stream, _ = played(SIGNED, "length")
    again = items.read(
        [*stream.items, {"role": "user", "content": "Well?"}, {"role": "assistant", "content": "Yes"}], response_id=ID, known={}
    )
    assert messages_of(again)[0] == [{"role": "user", "content": "Well?"}, {"role": "assistant", "content": "Yes"}]


def test_pictures_that_functions_gave_are_shown_after_all_results():
    calls = [{"type": "function_call", "call_id": name, "name": "f", "arguments": "{}"} for name in ("a", "b")]
    picture = {"type": "input_image", "image_url": "data:image/png;base64,AA=="}
    shown = {"type": "function_call_output", "call_id": "a", "output": [{"type": "input_text", "text": "Look:"}, picture]}
    told = {"type": "function_call_output", "call_id": "b", "output": "7"}
    messages = messages_of(items.read([*calls, shown, told], response_id=ID, known={}))[0]
    assert [(message["role"], message["content"]) for message in messages] == [
        ("assistant", None),
        ("tool", "Look:"),
        ("tool", "7"),
        ("user", [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA=="}}]),
    ]


def test_an_upstream_that_counts_every_call_as_the_first():
    pieces = [call("f", "{", call_id="a"), more("}"), call("g", "[", call_id="b"), more("]")]
    _, told = played(pieces, "tool_calls")
    assert [(item["call_id"], item["arguments"]) for item in told[-1]["response"]["output"]] == [("a", "{}"), ("b", "[]")]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("Hi", [{"role": "user", "content": "Hi"}]),
        ([{"role": "developer", "content": "Hear."}], [{"role": "developer", "content": "Hear."}]),
        ([{"role": "assistant", "content": "I said."}], [{"role": "assistant", "content": "I said."}]),
        (
            [{"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}],
            [{"role": "assistant", "content": "No."}],
        ),
        ([{"type": "message", "role": "assistant", "content": []}], []),
        ([{"type": "reasoning", "summary": []}, {"role": "user", "content": "Hi"}], [{"role": "user", "content": "Hi"}]),
        (
            [{"role": "user", "content": [{"type": "input_text", "text": "a"}, {"type": "input_text", "text": "b"}]}],
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
        ),
    ],
)
def test_items_become_messages(given: Any, expected: list[dict[str, Any]]):
    assert messages_of(items.read(given, response_id=ID, known={}))[0] == expected


JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-9, 9), st.sampled_from(["message", "function", "input_text", "user", "auto", "x"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.dictionaries(st.sampled_from(["type", "role", "content", "text", "id", "name", "format", "variables"]), inner, max_size=4),
    ),
    max_leaves=8,
)


SAID = ["content", "refusal", "reasoning_content", "thinking_blocks", "tool_calls", "annotations", "extra_content"]
NAMES = [
    *SAID,
    "delta",
    "message",
    "choices",
    "usage",
    "type",
    "index",
    "id",
    "function",
    "name",
    "arguments",
    "finish_reason",
    "logprobs",
    "text",
]
NONSENSE = st.recursive(
    st.one_of(st.none(), st.integers(-2, 2), st.sampled_from(["", "url_citation", "thinking", "x"])),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)),
    max_leaves=10,
)
ODD_DELTA = st.dictionaries(st.sampled_from(SAID), NONSENSE, max_size=4)


@given(
    st.lists(
        st.one_of(NONSENSE.filter(lambda said: isinstance(said, dict)), ODD_DELTA.map(lambda delta: {"choices": [{"delta": delta}]})),
        max_size=6,
    )
)
@settings(max_examples=400, deadline=None)
def test_an_upstream_that_speaks_nonsense_does_no_harm(chunks):
    stream = stream_of()
    told = events(b"".join([stream.take(chunk) for chunk in chunks] + [stream.finish(at=AT), stream.last()]))
    assert [event["sequence_number"] for event in told] == list(range(len(told)))
    again = events(events_of(Stored(ID, [{"id": "msg_1"}], stream.items, stream.response)))
    assert again[-1]["response"] == told[-1]["response"]
    orjson.dumps(messages_of(items.read(stream.items, response_id=ID, known={}))[0])


@given(st.dictionaries(st.sampled_from(sorted(parameters.OURS | {"input", "temperature"})), JSON, max_size=5), JSON)
@settings(max_examples=400, deadline=None)
def test_nonsense_is_refused_and_nothing_else(fields, given_input):
    with suppress(MalformedRequest):
        orjson.dumps(parameters.chat_of(fields))
        orjson.dumps(parameters.repeated(fields))
        parameters.wants_summary(fields)
    with suppress(MalformedRequest):
        messages_of(items.read(given_input, response_id=ID, known={}))[0]
