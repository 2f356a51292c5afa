r"""What is no JSON by the letter, but is read by every official client: half an emoji (`"\\ud83d"`), `NaN`, `-Infinity`."""

from __future__ import annotations

import json

import orjson
import pytest

from apps.gateway import routing
from apps.gateway.wire import MOST_MENDED_BYTES, OPAQUE, characters_of, loaded, read_chunk, read_envelope

from peers.caller import ask, call_of, fake, ledger_row
from peers.script import TEXT

REST = TEXT.partition(" ")[2]


async def breaker_of(tenant, name):
    return (await routing.resolve(tenant.id, name)).targets[0].health.breaker


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("preface", [None, {"sources": []}])
@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_passed_on_and_billed(alice, routes, stream, preface):
    name = await routes.to(fake(torn=1))
    call = call_of(alice.principal, name, stream=stream)
    call.preface = preface
    client = await ask(call)
    if stream:
        events = [json.loads(event[6:]) for event in client.body.split(b"\n\n") if event.startswith(b"data: {")]
        chunks = [event["choices"][0] for event in events if "menhir" not in event]
        assert client.body.endswith(b"data: [DONE]\n\n")
        assert "".join(chunk["delta"].get("content", "") for chunk in chunks).strip() == f"\ud83d{REST}"
        assert chunks[0]["logprobs"]["content"][0]["logprob"] == float("-inf")
    else:
        # What gets a member of ours besides is written anew, and by the letter.
        assert json.loads(client.body)["choices"][0]["message"]["content"].strip() == ("?" if preface else "\ud83d") + REST
    row = ledger_row(call.id)
    assert (row["outcome"], row["usage_source"], row["output_tokens"]) == ("completed", "upstream", len(TEXT.split()))
    assert (await breaker_of(alice.tenant, name)).calm


@pytest.mark.usefixtures("gateway")
@pytest.mark.parametrize("kind", ["anthropic", "gemini"])
@pytest.mark.parametrize("stream", [False, True])
async def test_it_is_translated(alice, routes, kind, stream):
    client = await ask(call_of(alice.principal, await routes.among((kind, fake(torn=1))), stream=stream))
    said = client.text if stream else client.json["choices"][0]["message"]["content"]
    assert said.strip() == f"?{REST}"


def test_what_matters_of_it_is_read():
    chunk = read_chunk(b'{"choices": [{"delta": {"content": "\\ud83d four"}, "finish_reason": "stop"}], "usage": {"prompt_tokens": NaN}}')
    assert (chunk.choices[0].finish_reason, characters_of(chunk), chunk.usage) == ("stop", 6, {"prompt_tokens": None})
    assert read_envelope(b'{"data": [NaN, 1e999], "usage": {"prompt_tokens": 5}}').usage == {"prompt_tokens": 5}
    assert read_chunk(b"[NaN]") is OPAQUE
    assert loaded(b'{"a": -Infinity}') == {"a": None}


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{not json",
        b'{"a": ',
        b"\xff",
        b'{"a": "\\ud83"}',
        b'{"a": ' + b"[" * 100_000,
        b'{"a": "\\ud83d", "b": "' + b"x" * MOST_MENDED_BYTES + b'"}',
    ],
)
def test_what_is_no_json_is_none(said):
    for read in (read_chunk, read_envelope, loaded):
        with pytest.raises(ValueError):
            read(said)


def test_what_python_writes_is_read():
    said = {"choices": [{"delta": {"content": "\ud83d"}, "logprobs": float("nan")}]}
    assert orjson.dumps(loaded(json.dumps(said).encode())) == b'{"choices":[{"delta":{"content":"?"},"logprobs":null}]}'
