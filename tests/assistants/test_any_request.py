"""Whatever shape a client sends, in any wire, it is a call or refused as malformed: never an error of ours."""

from __future__ import annotations

import copy
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import orjson
import pytest
from gateway.test_translated_shapes import damaged, places
from hypothesis import given, settings
from hypothesis import strategies as st

from apps.assistants.errors import MalformedRequest
from apps.assistants.front import admit
from apps.assistants.front.asked import Asked
from apps.assistants.front.wires.completions.decode import decode as of_completions
from apps.assistants.front.wires.messages.decode import decode as of_messages
from apps.assistants.front.wires.responses import items, parameters
from apps.assistants.front.wires.responses.messages import messages_of
from apps.gateway.call import Operation
from menhir.tenancy.principal import INFERENCE, Principal

WHO = Principal(uuid.uuid4(), "acme", "key", uuid.uuid4(), "a key", None, frozenset({INFERENCE}))
RESPONSE_ID = uuid.UUID("0198c0a8-f2b0-7c3e-9d6f-3b1f2a4c5d6e")


def plain(body: dict[str, Any], operation: Operation = "chat") -> None:
    """Admit a call, which may be malformed."""
    with suppress(MalformedRequest):
        call = admit.call(body, None, operation=operation, who=WHO, asked=Asked(request_id=b"req_1"), received=time.perf_counter())
        orjson.dumps(call.body)


def message(fields: dict[str, Any]) -> None:
    with suppress(MalformedRequest):
        plain(of_messages(fields))


def completion(fields: dict[str, Any]) -> None:
    plain(dict(fields), "completions")
    with suppress(MalformedRequest):
        plain(of_completions(fields))


def response(fields: dict[str, Any]) -> None:
    with suppress(MalformedRequest):
        body = parameters.chat_of(fields)
        items.references(fields.get("input"))
        given = items.read(fields.get("input"), response_id=RESPONSE_ID, known=KNOWN)
        parameters.wants_summary(fields)
        orjson.dumps([given, parameters.repeated(fields)])
        plain({**body, "messages": messages_of(given)[0]})


MESSAGES = {
    "model": "m",
    "max_tokens": 9,
    "system": [{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "Hi"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "document", "title": "a", "source": {"type": "content", "content": [{"type": "text", "text": "b"}]}},
                {"type": "search_result", "title": "a", "source": "b", "content": [{"type": "text", "text": "c"}]},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "thinking", "thinking": "a", "signature": "b"},
                {"type": "text", "text": "a", "citations": [{"type": "char_location"}]},
                {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}},
                {"type": "tool_use", "id": "t1", "name": "clock", "input": {"a": 1}},
            ],
        },
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t1", "content": [{"type": "text", "text": "12"}]}]},
    ],
    "tools": [{"name": "clock", "description": "a", "input_schema": {"type": "object"}, "strict": True, "defer_loading": True}],
    "tool_choice": {"type": "tool", "name": "clock", "disable_parallel_tool_use": True},
    "stop_sequences": ["a"],
    "metadata": {"user_id": "u"},
    "output_config": {"format": {"type": "json_schema", "schema": {}}, "effort": "low"},
    "stream": True,
    "temperature": 0.5,
}


@settings(max_examples=300)
@given(damaged(MESSAGES))
def test_any_message_is_a_call_or_malformed(fields: Any):
    message(fields)


COMPLETION = {
    "model": "m",
    "prompt": ["a"],
    "suffix": "",
    "n": 1,
    "best_of": 1,
    "logprobs": 2,
    "echo": True,
    "max_tokens": 5,
    "stream": True,
}


@given(damaged(COMPLETION))
def test_any_completion_is_a_call_or_malformed(fields: Any):
    completion(fields)


RESPONSE = {
    "model": "m",
    "instructions": "Be brief.",
    "input": [
        {
            "role": "user",
            "content": [
                {"type": "input_text", "text": "Hi"},
                {"type": "input_image", "image_url": "data:image/png;base64,aGk=", "detail": "low"},
                {"type": "input_file", "file_data": "aGk=", "filename": "a"},
                {"type": "input_audio", "input_audio": {"data": "a", "format": "wav"}},
            ],
        },
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "a"}, {"type": "refusal", "refusal": "b"}]},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "a"}], "encrypted_content": "mh1.W10="},
        {"type": "function_call", "call_id": "c1", "name": "clock", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "12"}]},
        {"type": "item_reference", "id": "msg_1"},
    ],
    "tools": [{"type": "function", "name": "clock", "parameters": {"type": "object"}, "strict": True}],
    "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "clock"}]},
    "text": {"format": {"type": "json_schema", "name": "a", "schema": {}}, "verbosity": "low"},
    "reasoning": {"effort": "low", "summary": "auto"},
    "include": ["message.output_text.logprobs"],
    "top_logprobs": 2,
    "prompt": {"id": "p", "variables": {"a": {"type": "input_text", "text": "b"}}},
    "metadata": {"a": "b"},
    "max_output_tokens": 9,
    "truncation": "auto",
    "store": True,
}
KNOWN = {"msg_1": {"type": "message", "id": "msg_1", "role": "user", "content": [{"type": "input_text", "text": "a"}]}}


@settings(max_examples=300)
@given(damaged(RESPONSE))
def test_any_response_is_a_call_or_malformed(fields: Any):
    response(fields)


PLAIN: dict[Operation, dict[str, Any]] = {
    "chat": {
        "model": "m",
        "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}]}],
        "stream": True,
        "stream_options": {"include_usage": True},
        "user": "u",
        "safety_identifier": "u",
    },
    "embeddings": {"model": "m", "input": ["a"], "encoding_format": "float", "dimensions": 5},
    "moderations": {"model": "m", "input": [{"type": "text", "text": "a"}]},
    "rerank": {"model": "m", "query": "a", "documents": ["b", {"text": "c"}], "top_n": 2},
}


@settings(max_examples=300)
@given(st.sampled_from([*PLAIN]).flatmap(lambda operation: st.tuples(st.just(operation), damaged(PLAIN[operation]))))
def test_any_request_of_openais_own_wire_is_a_call_or_malformed(asked: tuple[Operation, Any]):
    operation, fields = asked
    plain(fields, operation)


EVERY: dict[str, tuple[Callable[[Any], None], dict[str, Any]]] = {
    "messages": (message, MESSAGES),
    "completions": (completion, COMPLETION),
    "responses": (response, RESPONSE),
    **{operation: (partial(plain, operation=operation), fields) for operation, fields in PLAIN.items()},
}
WRONG = (None, True, 0, 1.5, "", "x", [], [1], [[]], {}, {"type": []})


@pytest.mark.parametrize("wire", EVERY)
def test_every_place_may_hold_anything(wire: str):
    """What chance may miss for long: a list where a word is looked up in a set."""
    read, whole = EVERY[wire]
    for *way, last in places(whole):
        for wrong in WRONG:
            fields = around = copy.deepcopy(whole)
            for name in way:
                around = around[name]
            around[last] = wrong
            read(fields)
