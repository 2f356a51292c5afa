"""What else is served of OpenAI's wire beside chat: completions, moderations, embeddings in full; and a rerank. Each is in the ledger."""

from __future__ import annotations

import base64
import struct

import httpx2
import openai
import pytest
from assistants.conftest import EMBEDDINGS, Company, calls_of
from assistants.test_admission import ask, error

from apps.gateway.guardrails.models import Guardrail
from menhir.tenancy.transaction import tenant_transaction

from peers.script import TEXT, vector_of
from stage.cast import Person

STONES = ["a menhir is one standing stone", "a dolmen is a tomb", "bread needs flour"]


def test_a_completion_reaches_the_upstream_as_it_was_written(acmes: Company):
    asked = {"prompt": ["Once ", "Twice "], "suffix": "end", "echo": True, "best_of": 1, "n": 2, "max_tokens": 5}
    answer = acmes.client("inference").completions.create(model="plain", **asked)
    assert acmes.upstream.stats.bodies[-1] == {"model": "fake", **asked}
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]
    assert answer.choices[2].text.startswith("Twice ")
    (row,) = calls_of(acmes)
    assert (row["operation"], row["outcome"], row["input_tokens"]) == ("completions", "completed", 2)
    assert row["output_tokens"] == answer.usage.completion_tokens


@pytest.mark.parametrize("usage", [False, True])
@pytest.mark.parametrize("kind", ["openai", "anthropic"])
def test_a_completion_as_a_stream(acmes: Company, kind: str, *, usage: bool):
    model = "plain" if kind == "openai" else acmes.chatting()
    options = {"stream_options": {"include_usage": True}} if usage else {}
    stream = acmes.client("inference").completions.create(model=model, prompt="Once", stream=True, max_tokens=99, **options)
    chunks = list(stream)
    assert "".join(choice.text for chunk in chunks for choice in chunk.choices).strip() == TEXT
    assert {chunk.object for chunk in chunks} == {"text_completion"}
    assert [choice.finish_reason for choice in chunks[-2 if usage else -1].choices] == ["stop"]
    assert (chunks[-1].usage is not None) is usage
    (row,) = calls_of(acmes)
    assert (row["outcome"], row["stream"], row["usage_source"]) == ("completed", True, "upstream")
    assert row["operation"] == ("completions" if kind == "openai" else "chat")


def test_a_model_that_only_chats_completes_all_the_same(acmes: Company):
    client = acmes.client("inference")
    model = acmes.chatting()
    answer = client.completions.create(model=model, prompt=["What is a menhir?"], echo=True, max_tokens=99)
    assert answer.choices[0].text.strip() == f"What is a menhir?{TEXT}"
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage.completion_tokens > 0
    for param, more in {
        "suffix": {"suffix": "end"},
        "prompt": {"prompt": ["a", "b"]},
        "best_of": {"best_of": 3},
        "logprobs": {"logprobs": 99},
    }.items():
        with pytest.raises(openai.BadRequestError) as refused:
            client.completions.create(**{"model": model, "prompt": "a", **more})
        assert refused.value.param == param
    with pytest.raises(openai.NotFoundError):
        client.completions.create(model="nowhere", prompt="a")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("path", ["completions", "messages"])
def test_guardrails_watch_over_every_wire(acmes: Company, path: str, *, stream: bool):
    with tenant_transaction(acmes.tenant):
        for name, stage, pattern in (("asked", "before", "hunter2"), ("said", "after", "standing")):
            rule = {"stage": stage, "action": "block" if stage == "before" else "redact", "settings": {"patterns": [pattern]}}
            Guardrail.create(acmes.tenant, name=name, kind="regex", by=acmes.person.principal, **rule)
    key = acmes.person.key("inference")

    def said(text: str) -> tuple[int, str]:
        body = {"model": "plain", "max_tokens": 99, "prompt": text, "messages": [{"role": "user", "content": text}], "stream": stream}
        body.pop("messages" if path == "completions" else "prompt")
        answer = httpx2.post(f"{acmes.server.base_url}/v1/{path}", json=body, headers={"x-api-key": key})
        return answer.status_code, answer.text

    status, text = said("What is a menhir?")
    assert status == 200
    assert "stone" in text
    assert "standing" not in text
    assert said("my password is hunter2")[0] == 400
    assert acmes.upstream.stats.requests == 1


def test_a_completion_that_breaks_off_is_an_error(acmes: Company):
    for number, (model, orders) in enumerate((("plain-cut", ""), (acmes.chatting("chunks=10&cut=4"), "no"))):
        if not orders:
            acmes.model(model, "chunks=10&cut=4")
        stream = acmes.client("inference").completions.create(model=model, prompt="a", stream=True, max_tokens=9)
        with pytest.raises(openai.APIError) as broken:
            list(stream)
        assert broken.value.type == "upstream_error"
        assert calls_of(acmes)[number]["outcome"] == "failed"


def test_a_completion_of_words_has_probabilities(acmes: Company):
    from apps.assistants.front.wires.completions.encode import Encoder

    said = {
        "content": [{"token": "up", "logprob": -1.0, "top_logprobs": [{"token": "up", "logprob": -1.0}]}, {"token": "on", "logprob": -2.0}]
    }
    answer = {"id": "chatcmpl-1", "choices": [{"index": 0, "message": {"content": "upon"}, "logprobs": said, "finish_reason": "length"}]}
    (choice,) = Encoder(echo="Once ").encode(answer, part="message")["choices"]
    assert choice["logprobs"] == {
        "tokens": ["up", "on"],
        "token_logprobs": [-1.0, -2.0],
        "top_logprobs": [{"up": -1.0}, {}],
        "text_offset": [5, 7],
    }
    assert (choice["text"], choice["finish_reason"]) == ("Once upon", "length")


@pytest.mark.parametrize("guarded", [False, True])
def test_several_completions_with_their_probabilities(acmes: Company, *, guarded: bool):
    """As the upstream wrote them, and, where guardrails watch, by way of a chat."""
    acmes.model("odds", "chunks=3")
    if guarded:
        with tenant_transaction(acmes.tenant):
            rule = {"stage": "before", "action": "block", "settings": {"patterns": ["hunter2"]}}
            Guardrail.create(acmes.tenant, name="asked", kind="regex", by=acmes.person.principal, **rule)
    client = acmes.client("inference").completions
    whole = client.create(model="odds", prompt="Once", n=2, logprobs=2, max_tokens=9)
    assert [choice.index for choice in whole.choices] == [0, 1]
    if not guarded:
        assert acmes.upstream.stats.bodies[-1]["logprobs"] == 2
        return
    assert (acmes.upstream.stats.bodies[-1]["logprobs"], acmes.upstream.stats.bodies[-1]["top_logprobs"]) == (True, 2)
    for choice in whole.choices:
        assert "".join(choice.logprobs.tokens) == choice.text
        assert choice.logprobs.token_logprobs == [-0.25] * 3
        assert [set(top) for top in choice.logprobs.top_logprobs] == [{"other0", "other1"}] * 3
        assert [choice.text[at:][: len(token)] for at, token in zip(choice.logprobs.text_offset, choice.logprobs.tokens, strict=True)] == (
            choice.logprobs.tokens
        )
    told: dict[int, str] = {0: "", 1: ""}
    for chunk in client.create(model="odds", prompt="Once", n=2, logprobs=2, max_tokens=9, stream=True):
        for part in chunk.choices:
            for at, token in zip(part.logprobs.text_offset, part.logprobs.tokens, strict=True) if part.logprobs else ():
                assert at == len(told[part.index])
                assert token == part.text
            told[part.index] += part.text
    assert list(told.values()) == [choice.text for choice in whole.choices]


def test_moderations(acmes: Company):
    acmes.model("omni-moderation-latest")
    client = acmes.client("inference")
    answer = client.moderations.create(input=["all is well", "violence"])
    assert [result.flagged for result in answer.results] == [False, True]
    assert client.moderations.create(model="plain", input=[{"type": "text", "text": "violence"}]).results[0].flagged
    assert [(row["operation"], row["outcome"]) for row in calls_of(acmes)] == [("moderations", "completed")] * 2
    for wrong in (None, [], 5, ["a", 1]):
        assert error(ask(acmes, "POST", "/v1/moderations", {"input": wrong}, key=acmes.person.key()), 400)["param"] == "input"


@pytest.mark.parametrize(("usage", "source"), [("right", "upstream"), ("cohere", "upstream"), ("none", "estimate")])
def test_rerank(acmes: Company, usage: str, source: str):
    acmes.model("ranker", f"usage={usage}")
    body = {
        "model": "ranker",
        "query": "what is a menhir",
        "documents": [*STONES, {"text": "a stone"}],
        "top_n": 2,
        "return_documents": True,
    }
    status, answer, headers = ask(acmes, "POST", "/v1/rerank", body, key=acmes.person.key("inference"))
    assert status == 200
    assert [result["index"] for result in answer["results"]] == [0, 1]
    assert headers["x-menhir-upstream"] == "fake-ranker"
    assert acmes.upstream.stats.bodies[-1] == {**body, "model": f"fake?usage={usage}"}
    (row,) = calls_of(acmes)
    assert (row["operation"], row["outcome"], row["usage_source"]) == ("rerank", "completed", source)
    assert row["input_tokens"] == 20 if source == "upstream" else row["input_tokens"] > 0


@pytest.mark.parametrize(
    ("param", "wrong"),
    [
        ("query", {"query": 5}),
        ("documents", {"documents": []}),
        ("documents", {"documents": [5]}),
        ("top_n", {"top_n": 0}),
        ("model", {"model": ""}),
    ],
)
def test_a_rerank_that_cannot_be_meant(acmes: Company, param: str, wrong: dict[str, object]):
    body = {"model": "plain", "query": "a", "documents": ["b"], **wrong}
    assert error(ask(acmes, "POST", "/v1/rerank", body, key=acmes.person.key("inference")), 400)["param"] == param
    assert acmes.upstream.stats.requests == 0


@pytest.mark.parametrize("path", ["/v1/moderations", "/v1/rerank", "/v1/embeddings"])
def test_who_only_chats_refuses_the_rest_clearly(acmes: Company, path: str):
    body = {"model": acmes.chatting(), "input": "a", "query": "a", "documents": ["b"]}
    refused = error(ask(acmes, "POST", path, body, key=acmes.person.key("inference")), 400)
    assert refused["param"] == "model"
    body["model"] = acmes.extract()
    assert error(ask(acmes, "POST", path, body, key=acmes.person.key("inference")), 400)["param"] == "model"
    assert acmes.upstream.stats.requests == 0


@pytest.mark.parametrize("path", ["/v1/completions", "/v1/moderations", "/v1/rerank"])
def test_each_is_served_what_is_theirs(acmes: Company, bob: Person, globexs: Company, path: str):
    body = {"model": acmes.model("only-acmes"), "prompt": "a", "input": "a", "query": "a", "documents": ["b"]}
    assert ask(acmes, "POST", path, body, key=acmes.person.key("inference"))[0] == 200
    assert ask(acmes, "POST", path, body, key=bob.key("inference"))[0] == 200
    assert error(ask(globexs, "POST", path, body, key=globexs.person.key("inference")), 404)
    assert error(ask(acmes, "POST", path, body, key=acmes.person.key("prompts:read")), 403)
    assert error(ask(acmes, "POST", path, body), 401)
    assert ask(acmes, "GET", path, key=acmes.person.key("inference"))[0] == 405
    assert len(calls_of(acmes)) == 2
    assert not calls_of(globexs)


@pytest.mark.parametrize("form", ["", "form=float"])
def test_embeddings_come_in_the_form_that_was_asked_for(acmes: Company, form: str):
    acmes.model("vectors", form)
    body = {"model": "vectors", "input": ["a", "b"], "dimensions": 8}
    key = acmes.person.key("inference")
    floats = ask(acmes, "POST", "/v1/embeddings", {**body, "encoding_format": "float"}, key=key)[1]
    packed = ask(acmes, "POST", "/v1/embeddings", {**body, "encoding_format": "base64"}, key=key)[1]
    for number, text in enumerate(["a", "b"]):
        wanted = [pytest.approx(value, abs=1e-6) for value in vector_of(text, 8)]
        assert floats["data"][number]["embedding"] == wanted
        assert list(struct.unpack("<8f", base64.b64decode(packed["data"][number]["embedding"]))) == wanted
    assert floats["usage"] == {"prompt_tokens": 2, "total_tokens": 2}  # the others may come from the cache, which uses none
    client = acmes.client("inference").embeddings
    assert client.create(model="vectors", input="a", dimensions=8).data[0].embedding == [
        pytest.approx(x, abs=1e-6) for x in vector_of("a", 8)
    ]


def test_embeddings_of_many_texts_and_of_tokens(acmes: Company):
    client = acmes.client("inference").embeddings
    many = client.create(model=EMBEDDINGS, input=[f"text {number}" for number in range(300)])
    assert [item.index for item in many.data] == list(range(300))
    client.create(model=EMBEDDINGS, input=[[1, 2, 3], [4]])
    assert acmes.upstream.stats.bodies[-1]["input"] == [[1, 2, 3], [4]]
    client.create(model=EMBEDDINGS, input=[1, 2, 3])
    for param, wrong in {
        "dimensions": {"dimensions": 0},
        "encoding_format": {"encoding_format": "hex"},
        "input": {"input": ["a", 1]},
    }.items():
        with pytest.raises(openai.BadRequestError) as refused:
            client.create(**{"model": EMBEDDINGS, "input": "a", **wrong})
        assert refused.value.param == param


def test_models_are_as_old_as_their_routes(acmes: Company):
    listed = acmes.client("inference").models.list().data
    assert all(model.created > 1_700_000_000 for model in listed)
