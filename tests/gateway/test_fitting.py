"""What a target gets of a conversation that others have answered before."""

from __future__ import annotations

import copy

import orjson
import pytest

from apps.gateway import fitting
from apps.gateway.call import ResolvedRoute, ResolvedTarget
from apps.gateway.fitting import fitted
from menhir.postgres.ids import uuid7

from peers.caller import ask, call_of, fake

OPENAI, AZURE = "https://api.openai.com/v1", "https://acme.openai.azure.com/openai/v1"
GROQ, MISTRAL, GOOGLE = (
    "https://api.groq.com/openai/v1",
    "https://api.mistral.ai/v1",
    "https://generativelanguage.googleapis.com/v1beta/openai",
)
DEEPSEEK, KIMI, LOCAL = "https://api.deepseek.com/v1", "https://api.moonshot.ai/v1", "http://localhost:8000/v1"
SIGNED = {"google": {"thought_signature": "s"}}
CALL = {"id": "c", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
TOOL = {"type": "function", "function": {"name": "clock"}}
ANSWERED = {
    "role": "assistant",
    "content": None,
    "refusal": None,
    "reasoning_content": "Hm.",
    "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}],
    "extra_content": SIGNED,
    "images": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,aGk="}}],
    "tool_calls": [{**CALL, "extra_content": SIGNED}],
}
PLAIN = {"role": "assistant", "content": None, "refusal": None, "tool_calls": [CALL]}
ASKED = {"role": "user", "content": [{"type": "text", "text": "What time is it?", "cache_control": {"type": "ephemeral"}}]}
RESULT = {"role": "tool", "tool_call_id": "c", "content": "12"}


def target_at(base_url: str, *, kind: str = "openai", model: str = "m") -> ResolvedTarget:
    return ResolvedTarget(kind=kind, provider="p", provider_id=uuid7(), base_url=base_url, credential="", headers={}, upstream_model=model)


def said(base_url: str = OPENAI, *, kind: str = "openai", model: str = "gpt-5", wire: str = "chat", **body):
    call = call_of(None, "m", **body)  # type: ignore[arg-type]
    call.wire = wire
    before = copy.deepcopy(call.body)
    fit = fitted(call, target_at(base_url, kind=kind, model=model))
    assert call.body == before
    return fit


@pytest.mark.parametrize("base_url", [OPENAI, AZURE, GROQ, MISTRAL])
def test_who_refuses_what_it_does_not_know_gets_what_it_knows(base_url):
    body = said(base_url, messages=[ASKED, ANSWERED, RESULT], tools=[{**TOOL, "cache_control": {"type": "ephemeral"}}], top_k=5, seed=7)
    assert body["messages"] == [{"role": "user", "content": [{"type": "text", "text": "What time is it?"}]}, PLAIN, RESULT]
    assert body["tools"] == [TOOL]
    assert (body["seed"], "top_k" in body) == (7, False)


def test_google_gets_its_signatures_in_openais_wire_too():
    assert said(GOOGLE, messages=[ANSWERED])["messages"] == [
        {**PLAIN, "extra_content": SIGNED, "tool_calls": [{**CALL, "extra_content": SIGNED}]}
    ]


@pytest.mark.parametrize("base_url", [DEEPSEEK, KIMI, LOCAL])
def test_who_wants_its_own_back_or_passes_over_it_gets_everything(base_url):
    call = call_of(None, "m", messages=[ASKED, ANSWERED, RESULT], thinking={"type": "enabled"}, top_k=5)  # type: ignore[arg-type]
    assert fitted(call, target_at(base_url)) is call.body


@pytest.mark.parametrize(("base_url", "kind"), [(OPENAI, "openai"), ("", "anthropic"), ("", "gemini")])
@pytest.mark.parametrize(
    "more", [{}, {"messages": [PLAIN, RESULT, {"role": "user", "content": [{"type": "text", "text": "a"}]}], "tools": [TOOL]}]
)
def test_what_has_nothing_foreign_in_it_stays_as_it_came(base_url, kind, more):
    call = call_of(None, "m", **more)  # type: ignore[arg-type]
    assert fitted(call, target_at(base_url, kind=kind)) is call.body


@pytest.mark.parametrize("messages", [None, "Hello", [5, None], [{"content": [5], "tool_calls": 5}], {"thinking_blocks": []}])
def test_what_is_no_conversation_is_the_upstreams_to_refuse(messages):
    assert said(messages=messages)["messages"] == messages


def test_the_words_of_other_makers_are_left_out():
    own = {"safetySettings": [], "generationConfig": {"topK": 1}, "betas": ["a"], "output_config": {"format": 5}}
    assert not own.keys() & said(**own).keys()
    assert own.keys() & said(kind="anthropic", **own).keys() == {"betas", "output_config"}
    assert own.keys() & said(kind="gemini", **own).keys() == {"safetySettings", "generationConfig"}


@pytest.mark.parametrize("wire", ["chat", "messages"])
@pytest.mark.parametrize(
    ("asked", "model", "effort"),
    [
        ({"thinking": {"type": "enabled", "budget_tokens": 1_024}}, "gpt-5", "low"),
        ({"thinking": {"type": "enabled", "budget_tokens": 10_000}}, "gpt-5-mini-2025-08-07", "medium"),
        ({"thinking": {"type": "enabled", "budget_tokens": 31_999}}, "o3", "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "max"}}, "gpt-5.4", "high"),
        ({"thinking": {"type": "adaptive"}, "output_config": {"effort": "low"}, "reasoning_effort": "medium"}, "gpt-5", "medium"),
        ({"thinking": {"type": "adaptive"}}, "gpt-5", None),
        ({"thinking": {"type": "disabled"}}, "gpt-5", None),
        ({"output_config": {"effort": "high"}}, "gpt-4o", None),
        ({"output_config": {"effort": "high"}}, "gpt-5-chat-latest", None),
        ({"output_config": {"effort": "high"}, "tools": [TOOL]}, "gpt-5.1", "high"),
        ({"output_config": {"effort": "high"}, "tools": [TOOL]}, "gpt-5.4-mini", None),
        ({"output_config": {"effort": ["high"]}, "thinking": {"type": "enabled", "budget_tokens": "9"}}, "gpt-5", None),
        ({"output_config": [], "thinking": 5}, "gpt-5", None),
    ],
)
def test_how_much_a_model_of_openais_thinks(asked, model, effort, wire):
    body = said(model=model, wire=wire, **asked)
    assert body.get("reasoning_effort") == effort
    assert not {"thinking", "output_config"} & body.keys()


def test_gemini_is_told_how_much_to_think():
    asked = {"thinking": {"type": "enabled", "budget_tokens": 2_000}, "output_config": {"effort": "low"}, "betas": ["a"]}
    body = said(kind="gemini", wire="messages", **asked)
    assert (body["thinking"], body["reasoning_effort"]) == (asked["thinking"], "low")
    assert not {"output_config", "betas"} & body.keys()
    assert "thinking" not in said(LOCAL, wire="messages", **asked)


LIMIT_WORDS = {"max_tokens", "max_completion_tokens"}


def route_of(limit: int | None) -> ResolvedRoute:
    return ResolvedRoute(name="m", targets=(), max_output_tokens=limit)


@pytest.mark.parametrize(
    ("base_url", "model", "asked", "told"),
    [
        (OPENAI, "gpt-4o", {}, {"max_completion_tokens": 77}),
        (AZURE, "gpt-5", {"max_tokens": None}, {"max_completion_tokens": 77, "max_tokens": None}),
        (LOCAL, "llama", {}, {"max_tokens": 77}),
        (MISTRAL, "mistral-small", {"max_completion_tokens": 5}, {"max_tokens": 5}),
        (LOCAL, "llama", {"max_completion_tokens": 5, "max_tokens": None}, {"max_tokens": 5}),
        (LOCAL, "gpt-5-mini", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        (OPENAI, "gpt-4o", {"max_completion_tokens": 5}, {"max_completion_tokens": 5}),
        (OPENAI, "gpt-4o", {"max_tokens": 5}, {"max_tokens": 5}),
        (LOCAL, "llama", {"max_completion_tokens": 5, "max_tokens": 9}, {"max_completion_tokens": 5, "max_tokens": 9}),
    ],
)
@pytest.mark.parametrize("wire", ["chat", "responses"])
def test_each_is_told_how_long_in_the_word_that_it_knows(base_url, model, asked, told, wire):
    call = call_of(None, "m", **asked)  # type: ignore[arg-type]
    call.wire, call.route = wire, route_of(77)
    body = fitted(call, target_at(base_url, model=model))
    assert {name: value for name, value in body.items() if name in LIMIT_WORDS} == told


def test_a_completion_is_told_in_its_own_word():
    call = call_of(None, "m", operation="completions", prompt="a")  # type: ignore[arg-type]
    call.route = route_of(77)
    assert fitted(call, target_at(OPENAI))["max_tokens"] == 77
    call.route = route_of(None)
    assert fitted(call, target_at(OPENAI)) is call.body
    call.body = {**call.body, "max_completion_tokens": 5}
    assert fitted(call, target_at(OPENAI)) == {"model": "m", "prompt": "a", "max_tokens": 5}


def test_what_writes_nothing_is_told_no_length():
    call = call_of(None, "m", operation="embeddings", input="a")  # type: ignore[arg-type]
    call.route = route_of(77)
    assert fitted(call, target_at(OPENAI)) is call.body


@pytest.mark.usefixtures("gateway")
async def test_the_routes_limit_goes_along_where_no_budget_applies(alice, routes, upstream):
    name = await routes.to("fake", policy={"max_output_tokens": 77})
    await ask(call_of(alice.principal, name))
    assert upstream.stats.bodies[-1]["max_tokens"] == 77


@pytest.mark.parametrize("tier", [[], {}, 5, None, "standard_only"])
def test_any_service_tier_is_passed_on(tier):
    assert said(LOCAL, wire="messages", service_tier=tier)["service_tier"] == ("default" if tier == "standard_only" else tier)


@pytest.fixture
def strict(monkeypatch):
    """The fake upstream is as strict as OpenAI."""
    monkeypatch.setattr(fitting, "STRICT", ("127.0.0.1",))
    fitting.reading_of.cache_clear()
    yield
    fitting.reading_of.cache_clear()


@pytest.mark.usefixtures("gateway", "strict")
async def test_a_chat_that_a_claude_answered_goes_on_with_another(alice, routes, upstream):
    name = await routes.among(("anthropic", fake(status=529, retry_after="30")), ("openai", "fake"))
    call = call_of(alice.principal, name, messages=[ASKED, ANSWERED, RESULT], tools=[TOOL])
    assert (await ask(call)).status == 200
    sent = upstream.stats.bodies
    assert "thinking" in orjson.dumps(sent[0]).decode()
    assert sent[1]["messages"][1] == PLAIN


@pytest.mark.usefixtures("gateway", "strict")
async def test_the_clients_bytes_are_not_sent_in_place_of_what_was_fitted(alice, routes, upstream):
    name = await routes.among(("openai", "fake"))
    call = call_of(alice.principal, name, messages=[ANSWERED, RESULT])
    call.body = {**call.body, "model": "fake"}
    call.raw = orjson.dumps(call.body)
    await ask(call)
    assert upstream.stats.bodies[-1]["messages"] == [PLAIN, RESULT]
