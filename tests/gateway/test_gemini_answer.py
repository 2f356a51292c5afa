"""Gemini's answers in OpenAI's words: whole, in any pieces, and refused."""

from __future__ import annotations

import base64
import struct

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from apps.gateway.errors import (
    ContentFiltered,
    UpstreamBusy,
    UpstreamCut,
    UpstreamDown,
)
from apps.gateway.upstreams.gemini import decode, embeddings
from apps.gateway.upstreams.gemini.stream import Stream
from apps.gateway.wire import usage_of

from peers import gemini, gemini_rules, translating
from peers.script import Orders
from peers.translating import chunks

USAGE = {
    "promptTokenCount": 100,
    "candidatesTokenCount": 3,
    "thoughtsTokenCount": 4,
    "cachedContentTokenCount": 60,
    "toolUsePromptTokenCount": 5,
}
USED = {
    "prompt_tokens": 105,
    "completion_tokens": 7,
    "total_tokens": 112,
    "prompt_tokens_details": {"cached_tokens": 60},
    "completion_tokens_details": {"reasoning_tokens": 4},
}


def candidate(*parts, reason="STOP", **more):
    return {"content": {"parts": list(parts), "role": "model"}, "finishReason": reason, "index": 0, **more}


def read(*candidates, **more):
    response = {"candidates": candidates, "usageMetadata": USAGE, "modelVersion": "gemini-x", "responseId": "resp", **more}
    return orjson.loads(decode.whole(orjson.dumps(response), provider="google", model="m", request_id="req-1", created=5))


def test_a_whole_answer():
    parts = [
        {"text": "Hm.", "thought": True},
        {"text": "Well, "},
        {"text": "look.", "thoughtSignature": "s1"},
        {"functionCall": {"name": "clock", "args": {"zone": "UTC"}}, "thoughtSignature": "s2"},
        {"functionCall": {"id": "fc", "name": "now"}},
    ]
    assert read(candidate(*parts)) == {
        "id": "resp",
        "object": "chat.completion",
        "created": 5,
        "model": "gemini-x",
        "choices": [
            {
                "index": 0,
                "message": {
                    "role": "assistant",
                    "content": "Well, look.",
                    "refusal": None,
                    "reasoning_content": "Hm.",
                    "extra_content": {"google": {"thought_signature": "s1"}},
                    "tool_calls": [
                        {
                            "id": "call_resp_0_0",
                            "type": "function",
                            "function": {"name": "clock", "arguments": '{"zone":"UTC"}'},
                            "extra_content": {"google": {"thought_signature": "s2"}},
                        },
                        {"id": "fc", "type": "function", "function": {"name": "now", "arguments": "{}"}},
                    ],
                },
                "logprobs": None,
                "finish_reason": "tool_calls",
            }
        ],
        "usage": USED,
    }


def test_several_candidates():
    choices = read(candidate({"text": "a"}), candidate({"text": "b"}, index=1, reason="MAX_TOKENS"))["choices"]
    assert [(choice["index"], choice["message"]["content"], choice["finish_reason"]) for choice in choices] == [
        (0, "a", "stop"),
        (1, "b", "length"),
    ]


def test_an_image():
    sound = [{"inlineData": {"mimeType": "audio/L16;rate=24000", "data": data}} for data in ("AAE=", "AgM=")]
    audio = read(candidate(*sound))["choices"][0]["message"]
    assert "images" not in audio
    assert audio["audio"] == {
        "id": "audio_resp_0",
        "data": base64.b64encode(bytes(range(4))).decode(),
        "transcript": "",
        "expires_at": 0,
        "mime_type": "audio/L16;rate=24000",
    }
    message = read(candidate({"inlineData": {"mimeType": "image/png", "data": "aGk="}}))["choices"][0]["message"]
    assert message["images"] == [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}]


def test_how_likely_it_was():
    tokens = [{"token": "ß", "logProbability": -0.5}]
    result = {"chosenCandidates": tokens, "topCandidates": [{"candidates": [*tokens, {"token": "x", "logProbability": -2}]}]}
    sharp = {"token": "ß", "logprob": -0.5, "bytes": [195, 159]}
    assert read(candidate({"text": "ß"}, logprobsResult=result))["choices"][0]["logprobs"] == {
        "content": [{**sharp, "top_logprobs": [sharp, {"token": "x", "logprob": -2, "bytes": [120]}]}],
        "refusal": None,
    }


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "IMAGE_SAFETY"])
def test_what_a_filter_stopped_says_so(reason):
    choice = read({"finishReason": reason, "safetyRatings": []})["choices"][0]
    assert (choice["finish_reason"], choice["message"]["content"]) == ("content_filter", None)


def test_a_prompt_that_was_not_let_in():
    with pytest.raises(ContentFiltered, match="PROHIBITED_CONTENT") as filtered:
        read(promptFeedback={"blockReason": "PROHIBITED_CONTENT"})
    assert filtered.value.upstream_code == "content_filter"


@pytest.mark.parametrize("reason", ["MALFORMED_FUNCTION_CALL", "MISSING_THOUGHT_SIGNATURE", "UNEXPECTED_TOOL_CALL"])
def test_a_breakdown_is_no_answer(reason):
    with pytest.raises(UpstreamDown, match=reason):
        read({"finishReason": reason})


def test_the_ledger_understands_the_usage():
    used = usage_of(USED)
    assert (used.input_tokens, used.output_tokens, used.cached_input_tokens, used.reasoning_tokens) == (105, 7, 60, 4)
    assert read(candidate({"text": "x"}), usageMetadata={"promptTokenCount": 3})["usage"]["completion_tokens"] == 0
    assert "usage" not in read(candidate({"text": "x"}), usageMetadata={})


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b'{"candidates": [', b"{}", b'{"candidates": 5}', b'{"candidates": [{"content": "x"}]}']
)
def test_what_is_no_answer_is_a_failure(body):
    with pytest.raises(UpstreamDown):
        decode.whole(body, provider="google", model="m", request_id="req-1", created=5)


def test_an_error_in_place_of_an_answer():
    with pytest.raises(UpstreamBusy, match="Overloaded"):
        read(error={"code": 503, "message": "Overloaded", "status": "UNAVAILABLE"})


def test_embeddings():
    said = orjson.dumps({"embeddings": [{"values": [1.0, -0.5]}, {"values": [0.0, 2.0]}], "usageMetadata": {"promptTokenCount": 4}})
    plain = orjson.loads(embeddings.whole([said], encoding="float", provider="google", model="m"))
    assert plain == {
        "object": "list",
        "model": "m",
        "data": [
            {"object": "embedding", "index": 0, "embedding": [1.0, -0.5]},
            {"object": "embedding", "index": 1, "embedding": [0.0, 2.0]},
        ],
        "usage": {"prompt_tokens": 4, "total_tokens": 4},
    }
    packed = orjson.loads(embeddings.whole([said], encoding="base64", provider="google", model="m"))["data"][1]["embedding"]
    assert struct.unpack("<2f", base64.b64decode(packed)) == (0.0, 2.0)
    assert "usage" not in orjson.loads(embeddings.whole([b'{"embeddings": []}'], encoding=None, provider="google", model="m"))
    with pytest.raises(UpstreamDown):
        embeddings.whole([b"{}"], encoding=None, provider="google", model="m")


def test_embeddings_of_several_batches_keep_their_order_and_are_counted_together():
    def batch(start: int, size: int, **more: object) -> bytes:
        return orjson.dumps({"embeddings": [{"values": [float(start + at)]} for at in range(size)], **more})

    used = {"usageMetadata": {"promptTokenCount": 100}}
    whole = orjson.loads(embeddings.whole([batch(0, 100, **used), batch(100, 5, **used)], encoding=None, provider="google", model="m"))
    assert [(item["index"], item["embedding"]) for item in whole["data"]] == [(at, [float(at)]) for at in range(105)]
    assert whole["usage"] == {"prompt_tokens": 200, "total_tokens": 200}
    assert "usage" not in orjson.loads(
        embeddings.whole([batch(0, 100, **used), batch(100, 5)], encoding=None, provider="google", model="m")
    )
    with pytest.raises(UpstreamDown):  # whose are the rest?
        embeddings.whole([batch(0, 99), batch(100, 5)], encoding=None, provider="google", model="m")


def translated(pieces):
    return translating.translated(Stream(provider="google", model="m", request_id="req-1", created=5), pieces)


def events(*, count=1, calls=0, signs=True, **orders):
    tools = [{"functionDeclarations": [{"name": "clock"}, {"name": "weather"}]}]
    body = {"contents": [{"role": "user", "parts": [{"text": "Hello"}]}], "tools": tools if calls else []}
    body["generationConfig"] = {"candidateCount": count, "thinkingConfig": {"thinkingBudget": 5}}
    told = Orders(calls=calls, **orders)
    head = {"modelVersion": "gemini-x", "responseId": "resp"}
    said = gemini.script(body, told, head=head, words=["A ", "石 ", "menhir."], prompt=100, signs=signs)
    return [gemini.event_of(event, told) for event in gemini.broken(said, told)]


def test_a_stream():
    said = chunks(translated(events(calls=2, thinks=1, cached=60)))
    assert said.pop() == "[DONE]"
    usage = said.pop()
    assert usage["choices"] == []
    assert usage["usage"] == {
        "prompt_tokens": 100,
        "completion_tokens": 6,
        "total_tokens": 106,
        "prompt_tokens_details": {"cached_tokens": 60},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    assert all((chunk["id"], chunk["created"], chunk["model"]) == ("resp", 5, "gemini-x") for chunk in [*said, usage])
    assert all(chunk["usage"] is None for chunk in said)
    deltas = [chunk["choices"][0]["delta"] for chunk in said]
    assert deltas[0] == {"role": "assistant", "reasoning_content": gemini.THOUGHT}
    assert not any("role" in delta for delta in deltas[1:])
    assert "".join(delta.get("content", "") for delta in deltas) == "A 石 menhir."
    calls = [call for delta in deltas for call in delta.get("tool_calls", [])]
    assert [(call["index"], call["id"], call["function"]["name"]) for call in calls] == [(0, "fc-0", "clock"), (1, "fc-1", "weather")]
    assert orjson.loads(calls[1]["function"]["arguments"]) == {**gemini.ARGUMENTS, "number": 1}
    assert calls[0]["extra_content"] == {"google": {"thought_signature": gemini_rules.SIGNATURE}}
    assert [chunk["choices"][0]["finish_reason"] for chunk in said[-2:]] == [None, "tool_calls"]


def test_a_signature_of_the_text_arrives_at_its_end():
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks(translated(events()))[:-2]]
    assert [delta["extra_content"] for delta in deltas if "extra_content" in delta] == [
        {"google": {"thought_signature": gemini_rules.SIGNATURE}}
    ]


def test_several_candidates_in_a_stream():
    said = chunks(translated(events(count=2)))[:-2]
    for index in (0, 1):
        own = [chunk["choices"][0] for chunk in said if chunk["choices"][0]["index"] == index]
        assert "".join(choice["delta"].get("content", "") for choice in own) == "A 石 menhir."
        assert own[0]["delta"]["role"] == "assistant"
        assert [choice["finish_reason"] for choice in own][-2:] == [None, "stop"]


@given(st.data())
def test_any_pieces_give_the_same_chunks(data: st.DataObject):
    whole_stream = b"".join(events(calls=2, thinks=1, count=2, crlf=data.draw(st.sampled_from([-1, 0]))))
    cuts = sorted(data.draw(st.sets(st.integers(0, len(whole_stream)), max_size=40)))
    pieces = [whole_stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(whole_stream)], strict=True)]
    assert translated(pieces) == translated([whole_stream]) == translated([whole_stream[i : i + 1] for i in range(len(whole_stream))])


def test_an_answer_of_nothing_is_an_answer():
    said = chunks(translated([gemini.event_of({"candidates": [{"finishReason": "SAFETY"}]}, Orders())]))
    assert said[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert said[1]["choices"][0]["finish_reason"] == "content_filter"
    assert (said[0]["id"], said[0]["model"]) == ("req-1", "m")


@pytest.mark.parametrize(
    ("orders", "error"),
    [
        ({"error": 1, "says": "The model is overloaded."}, UpstreamBusy),
        ({"malformed": 1}, UpstreamCut),
        ({"finish": 0}, UpstreamCut),
        ({"reason": "MALFORMED_FUNCTION_CALL"}, UpstreamDown),
        ({"blocked": "SAFETY"}, ContentFiltered),
    ],
)
def test_a_stream_that_breaks(orders, error):
    with pytest.raises(error):
        translated(events(**orders))


def test_a_candidate_that_did_not_finish_is_a_cut():
    with pytest.raises(UpstreamCut):
        translated(events(count=2)[:-1])
