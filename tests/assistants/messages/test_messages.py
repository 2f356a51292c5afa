"""Anthropic's own client on a route of any kind, over a real socket."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import anthropic
import pytest
from assistants.conftest import EMBEDDINGS, Company, calls_of
from assistants.messages.conftest import QUESTION, client_of, message_of

from apps.gateway.models import Route
from menhir.metering.limits.models import Limit
from menhir.tenancy.transaction import tenant_transaction

from peers.said import SIGNATURE, THOUGHT
from peers.script import TEXT
from stage.cast import Person


def test_a_whole_message(acmes: Company):
    message = client_of(acmes).messages.create(model="plain", max_tokens=100, messages=QUESTION, system="Be brief.")
    assert message.content[0].text.strip() == TEXT
    assert message.stop_reason == "end_turn"
    assert message.usage.output_tokens > 0
    assert message._request_id.startswith("req_")
    sent = acmes.upstream.stats.bodies[-1]
    assert sent["messages"] == [{"role": "system", "content": "Be brief."}, *QUESTION]


def test_a_stream(acmes: Company):
    with client_of(acmes).messages.stream(model="plain", max_tokens=100, messages=QUESTION) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text.strip() == TEXT
    assert message.stop_reason == "end_turn"
    assert message.usage.input_tokens > 0
    assert message.usage.output_tokens > 0


async def test_the_async_client(acmes: Company):
    key = await asyncio.to_thread(acmes.person.key, "inference")
    client = anthropic.AsyncAnthropic(base_url=acmes.server.base_url, auth_token=key, max_retries=0)
    whole = await client.messages.create(model="plain", max_tokens=100, messages=QUESTION)
    async with client.messages.stream(model="plain", max_tokens=100, messages=QUESTION) as stream:
        message = await stream.get_final_message()
    assert whole.content[0].text == message.content[0].text


def test_without_a_key_nobody_is_let_in(acmes: Company):
    with pytest.raises(anthropic.AuthenticationError) as refused:
        client_of(acmes, key="sk-wrong").messages.create(model="plain", max_tokens=1, messages=QUESTION)
    assert refused.value.type == "authentication_error"
    assert refused.value.request_id


def test_a_stream_that_is_cut_is_an_error(acmes: Company):
    acmes.model("cut", "chunks=10&cut=3")
    with (
        pytest.raises(anthropic.APIStatusError) as broken,
        client_of(acmes).messages.stream(model="cut", max_tokens=100, messages=QUESTION) as stream,
    ):
        stream.get_final_message()
    assert broken.value.body["error"]["type"] == "api_error"


@pytest.mark.parametrize("stream", [False, True])
def test_thoughts_keep_their_signature(acmes: Company, *, stream: bool):
    acmes.model("thinking", "thinks=1&cached=2&written=1")
    asked = {"model": "thinking", "max_tokens": 2000, "messages": QUESTION, "thinking": {"type": "enabled", "budget_tokens": 1024}}
    if stream:
        with client_of(acmes).messages.stream(**asked) as told:
            kinds = [event.type for event in told if event.type.startswith("content_block_st")]
            message = told.get_final_message()
        assert kinds == ["content_block_start", "content_block_stop"] * 2
    else:
        message = client_of(acmes).messages.create(**asked)
    thought, text = message.content
    assert (thought.thinking, thought.signature) == (THOUGHT, SIGNATURE)
    assert text.text.strip() == TEXT
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens, message.usage.cache_creation_input_tokens) == (1, 2, 1)
    assert stream or message.usage.cache_creation.ephemeral_5m_input_tokens == 1
    assert "thinking" not in acmes.upstream.stats.bodies[-1]


@pytest.mark.parametrize("stream", [False, True])
def test_a_stop_sequence_is_named(acmes: Company, *, stream: bool):
    acmes.model("stopping", "stopped=END")
    asked = {"model": "stopping", "max_tokens": 9, "messages": QUESTION, "stop_sequences": ["STOP", "END"]}
    message = message_of(client_of(acmes), stream=stream, **asked)
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")
    sent = acmes.upstream.stats.bodies[-1]
    assert (sent["stop"], sent["max_tokens"]) == (["STOP", "END"], 9)


def test_unknown_members_are_passed_on_and_a_person_is_named(acmes: Company):
    more = {"seed": 7, "x-unheard-of": [1.0, None, "ß"]}
    client_of(acmes).messages.create(
        model="plain",
        max_tokens=9,
        messages=QUESTION,
        metadata={"user_id": "p" * 100},
        extra_body=more,
        extra_headers={"anthropic-beta": "one,two"},
    )
    sent = acmes.upstream.stats.bodies[-1]
    assert {name: sent[name] for name in more} == more
    assert len(sent["user"]) == 64
    assert set(sent) == {"model", "messages", "max_tokens", "user", *more}


REFUSALS = [
    ("status=400", anthropic.BadRequestError, "invalid_request_error"),
    ("status=429", anthropic.RateLimitError, "rate_limit_error"),
    ("status=529", anthropic.APIStatusError, "overloaded_error"),
    ("status=500", anthropic.InternalServerError, "api_error"),
    ("status=401", anthropic.InternalServerError, "api_error"),
]


@pytest.mark.parametrize(("orders", "kind", "named"), REFUSALS)
@pytest.mark.parametrize("stream", [False, True])
def test_an_upstream_that_refuses(acmes: Company, orders: str, kind: type[anthropic.APIStatusError], named: str, *, stream: bool):
    acmes.model("refusing", orders)
    with pytest.raises(kind) as refused:
        client_of(acmes).messages.create(model="refusing", max_tokens=9, messages=QUESTION, stream=stream)
    body = refused.value.body
    assert set(body) == {"type", "error", "request_id"}
    assert (body["type"], body["error"]["type"]) == ("error", named)
    assert body["request_id"] == refused.value.request_id
    assert named != "overloaded_error" or refused.value.status_code == 529


def test_what_is_wrong_is_named_in_the_clients_words(acmes: Company):
    client = client_of(acmes)
    wrong = [
        ({"messages": "Hi"}, "messages"),
        ({"messages": [{"role": "user", "content": [{"type": "text"}]}]}, "messages[0].content[0].text"),
        ({"messages": [{"role": "assistant", "content": [{"type": "tool_use", "id": "x"}]}]}, "messages[0].content[0]"),
        ({"messages": [{"role": "tool", "content": "Hi"}]}, "messages[0].role"),
        ({"messages": QUESTION, "tool_choice": "auto"}, "tool_choice"),
        ({"messages": QUESTION, "max_tokens": 0}, "max_tokens"),
        ({"messages": []}, "messages"),
    ]
    for body, param in wrong:
        with pytest.raises(anthropic.BadRequestError) as refused:
            client.post("/v1/messages", cast_to=object, body={"model": "plain", "max_tokens": 9, **body})
        assert refused.value.body["error"]["param"] == param
    with pytest.raises(anthropic.NotFoundError):
        client.messages.create(model="nowhere", max_tokens=9, messages=QUESTION)
    with pytest.raises(anthropic.NotFoundError):
        client.post("/v1/messages/batches", cast_to=object, body={})
    with pytest.raises(anthropic.APIStatusError) as method:
        client.get("/v1/messages", cast_to=object)
    assert method.value.status_code == 405
    assert acmes.upstream.stats.requests == 0


def test_a_busy_upstream_is_asked_again_by_the_client(acmes: Company):
    acmes.model("busy", "busy=3&retry_after=0")
    client = client_of(acmes).with_options(max_retries=2)
    assert client.messages.create(model="busy", max_tokens=9, messages=QUESTION).stop_reason == "end_turn"
    assert acmes.upstream.stats.requests == 4


def test_a_client_that_hangs_up_takes_the_upstream_with_it(acmes: Company):
    acmes.model("slow", "chunks=2000&gap_ms=20")
    stream = client_of(acmes).messages.create(model="slow", max_tokens=9, messages=QUESTION, stream=True)
    next(iter(stream))
    stream.response.close()
    assert acmes.upstream.wait(lambda stats: len(stats.cancelled) == 1, seconds=1.0)


def test_an_assistant_answers_with_its_passages(acmes: Company):
    collection = acmes.learn("stones", menhirs="A menhir is one standing stone.")
    acmes.assistant("guide", acmes.prompt("guide", "You know stones."), "plain", collections=[collection])
    client = client_of(acmes)
    whole = client.messages.create(model="assistant:guide", max_tokens=9, messages=QUESTION)
    assert whole.menhir["passages"][0]["title"] == "Menhirs"
    with client.messages.stream(model="assistant:guide", max_tokens=9, messages=QUESTION) as stream:
        first = next(iter(stream))
        stream.until_done()
    assert first.message.menhir["passages"][0]["title"] == "Menhirs"
    assert acmes.upstream.stats.bodies[-1]["messages"][0] == {"role": "system", "content": "You know stones."}


def test_the_ledger_has_the_call_once(acmes: Company):
    message = client_of(acmes).messages.create(model="plain", max_tokens=9, messages=QUESTION)
    rows = calls_of(acmes)
    assert [(row["operation"], row["outcome"], row["output_tokens"]) for row in rows] == [
        ("chat", "completed", message.usage.output_tokens)
    ]


def test_models_are_listed_in_anthropics_shape(acmes: Company, globexs: Company):
    acmes.model("only-acmes")
    client = client_of(acmes)
    listed = client.models.list()
    assert {model.id for model in listed} == {"plain", "only-acmes", EMBEDDINGS}
    assert [model.id for model in client.models.list(limit=1)] == [model.id for model in listed]
    assert abs((client.models.retrieve("only-acmes").created_at - datetime.now(UTC)).total_seconds()) < 60
    with pytest.raises(anthropic.NotFoundError):
        client_of(globexs).models.retrieve("only-acmes")
    with pytest.raises(anthropic.BadRequestError):
        client.models.list(extra_query={"limit": "000000001" + "9" * 5_000})


def test_each_is_served_what_is_theirs(acmes: Company, bob: Person, globexs: Company):
    only = acmes.model("only-acmes")
    asked = {"model": only, "max_tokens": 9, "messages": QUESTION}
    assert client_of(acmes).messages.create(**asked).stop_reason == "end_turn"
    assert client_of(acmes, key=bob.key("inference")).messages.create(**asked).stop_reason == "end_turn"
    with pytest.raises(anthropic.NotFoundError):
        client_of(globexs).messages.create(**asked)
    with pytest.raises(anthropic.NotFoundError):
        client_of(globexs).messages.count_tokens(model=only, messages=QUESTION)
    with pytest.raises(anthropic.PermissionDeniedError):
        client_of(acmes, key=acmes.person.key("prompts:read")).messages.create(**asked)


@pytest.mark.parametrize("usage", ["right", "none"])
def test_a_stream_says_at_once_how_much_was_read(acmes: Company, usage: str):
    """An estimate, which the upstream's own count replaces at the end."""
    acmes.model("long", f"usage={usage}")
    with client_of(acmes).messages.stream(
        model="long", max_tokens=9, system="b" * 40, messages=[{"role": "user", "content": "a" * 400}]
    ) as told:
        (first,) = (event.message.usage.input_tokens for event in told if event.type == "message_start")
        last = told.get_final_message().usage.input_tokens
    assert (first, last) == (110, 2 if usage == "right" else 110)


@pytest.mark.parametrize("stream", [False, True])
def test_limits_are_told_as_anthropic_tells_them(acmes: Company, *, stream: bool):
    with tenant_transaction(acmes.tenant):
        for metric, amount in (("requests", 1), ("tokens", 100_000)):
            Limit.set(acmes.tenant, subject="tenant", subject_id="", metric=metric, period="hour", amount=Decimal(amount))
    create = client_of(acmes).messages.with_raw_response.create
    asked = {"model": "plain", "max_tokens": 9, "messages": QUESTION, "stream": stream}
    given = create(**asked, extra_headers={"idempotency-key": "one"})
    with pytest.raises(anthropic.RateLimitError) as refused:
        create(**asked)
    for headers in (given.headers, refused.value.response.headers):
        assert headers["anthropic-ratelimit-requests-limit"] == "1"
        assert headers["anthropic-ratelimit-requests-remaining"] == "0"
        assert headers["anthropic-ratelimit-tokens-limit"] == "100000"
        ends = datetime.fromisoformat(headers["anthropic-ratelimit-requests-reset"])
        assert timedelta(0) < ends - datetime.now(UTC) < timedelta(hours=1, seconds=2)
    given.http_response.read()
    again = create(**asked, extra_headers={"idempotency-key": "one"})
    assert not [name for name in again.headers if "ratelimit" in name]


def test_what_is_no_json_by_the_letter_is_read(acmes: Company):
    asked = {"model": acmes.chatting("torn=1", kind="openai"), "max_tokens": 99, "messages": QUESTION}
    said = "?" + TEXT.partition(" ")[2]
    assert client_of(acmes).messages.create(**asked).content[0].text.strip() == said
    with client_of(acmes).messages.stream(**asked) as stream:
        assert stream.get_final_text().strip() == said


@pytest.mark.parametrize("stream", [False, True])
def test_one_call_for_one_idempotency_key(acmes: Company, *, stream: bool):
    client = client_of(acmes)
    asked = {"model": "plain", "max_tokens": 9, "messages": QUESTION, "extra_headers": {"idempotency-key": f"once-{stream}"}}

    first, again = (message_of(client, stream=stream, **asked) for _ in range(2))
    assert first.to_dict() == again.to_dict()
    assert acmes.upstream.stats.requests == 1


def test_an_answer_is_kept_for_both_wires(acmes: Company):
    """What one client's words came to is the same call as another's in other words."""
    with tenant_transaction(acmes.tenant):
        Route.objects.within(acmes.tenant).filter(name="plain").update(cache_seconds=60)
    acmes.model("other")  # says that the configuration has changed
    client = client_of(acmes)
    asked = {"model": "plain", "max_tokens": 9, "messages": QUESTION}
    first = client.messages.with_raw_response.create(**asked)
    again = client.messages.with_raw_response.create(**asked)
    assert again.headers["x-menhir-cache"] == "hit"
    assert first.parse().to_dict() == again.parse().to_dict()
    assert acmes.upstream.stats.requests == 1
