"""How many tokens a message would take, asked with Anthropic's own client."""

from __future__ import annotations

import json
from decimal import Decimal

import anthropic
import pytest
from assistants.conftest import Company, calls_of
from assistants.messages.conftest import QUESTION, WEATHER, client_of

from apps.gateway.guardrails.models import Guardrail
from menhir.metering.limits.models import Limit
from menhir.tenancy.transaction import tenant_transaction


def test_tokens_are_counted(acmes: Company):
    count = client_of(acmes).messages.with_raw_response.count_tokens
    counted = count(model="plain", messages=[{"role": "user", "content": "a" * 400}], system="b" * 40)
    assert counted.parse().input_tokens == 110
    assert counted.headers["x-menhir-estimate"] == "true"
    assert count(model="plain", messages=QUESTION, tools=[WEATHER]).parse().input_tokens > 20
    with pytest.raises(anthropic.NotFoundError):
        count(model="nowhere", messages=QUESTION)
    assert acmes.upstream.stats.requests == 0
    assert not calls_of(acmes)


def test_claude_counts_itself(acmes: Company):
    model = acmes.chatting()
    count = client_of(acmes).beta.messages.with_raw_response.count_tokens
    counted = count(model=model, messages=QUESTION, system="Be brief.", betas=["one-2025"])
    assert counted.parse().input_tokens > 1000
    assert "x-menhir-estimate" not in counted.headers
    asked = [{"role": "user", "content": [{"type": "text", "text": "What is a menhir?"}]}]
    system = [{"type": "text", "text": "Be brief."}]
    assert acmes.upstream.stats.bodies[-1] == {"model": "fake", "messages": asked, "system": system}
    assert "one-2025" in acmes.upstream.stats.headers[-1]["anthropic-beta"]
    acmes.prompt("guide", "You know stones.")
    count(model=model, messages=QUESTION, extra_body={"max_tokens": 5, "temperature": 1, "prompt": {"id": "guide"}})
    system = [{"type": "text", "text": "You know stones."}]
    assert acmes.upstream.stats.bodies[-1] == {"model": "fake", "messages": asked, "system": system}
    with pytest.raises(anthropic.BadRequestError, match="betas"):
        count(model=model, messages=QUESTION, extra_body={"betas": [1]})


def test_whoever_asked_to_be_left_alone_is_not_asked_to_count(acmes: Company):
    model = acmes.chatting("status=529&retry_after=60")
    client = client_of(acmes)
    with pytest.raises(anthropic.APIStatusError):
        client.messages.create(model=model, max_tokens=9, messages=QUESTION)
    count = client.messages.with_raw_response.count_tokens(model=model, messages=QUESTION)
    assert count.headers["x-menhir-estimate"] == "true"
    assert acmes.upstream.stats.requests == 1


def test_a_count_that_claude_refuses_is_refused(acmes: Company):
    count = client_of(acmes).messages.count_tokens
    with pytest.raises(anthropic.BadRequestError):
        count(model=acmes.chatting("status=400"), messages=QUESTION)


def test_a_count_passes_the_guardrails(acmes: Company):
    """What a rule takes out of a message is not sent to be counted either."""
    model = acmes.chatting()
    count = client_of(acmes).messages.count_tokens
    with tenant_transaction(acmes.tenant):
        rule = {"stage": "before", "action": "redact", "settings": {"kinds": ["email"]}}
        Guardrail.create(acmes.tenant, name="addresses", kind="pii", by=acmes.person.principal, **rule)
    blocks = [{"type": "text", "text": "Write to carol@example.com."}]
    result = {"type": "tool_result", "tool_use_id": "toolu_0", "content": "dave@example.com"}
    call = {"type": "tool_use", "id": "toolu_0", "name": "weather", "input": {"whose": "erin@example.com"}}
    messages = [
        {"role": "user", "content": blocks},
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [result]},
    ]
    counted = count(model=model, messages=messages, system="You serve frank@example.com.", tools=[WEATHER])
    assert counted.input_tokens > 1000
    assert acmes.upstream.stats.requests == 1
    assert "EMAIL_1" in json.dumps(acmes.upstream.stats.bodies[-1])
    assert "example.com" not in json.dumps(list(acmes.upstream.stats.bodies))
    with tenant_transaction(acmes.tenant):
        rule = {"stage": "before", "action": "block", "settings": {"patterns": ["hunter2"]}}
        Guardrail.create(acmes.tenant, name="passwords", kind="regex", by=acmes.person.principal, **rule)
    with pytest.raises(anthropic.BadRequestError) as blocked:
        count(model=model, messages=[{"role": "user", "content": "hunter2"}])
    assert blocked.value.body["error"]["code"] == "content_policy_violation"
    assert acmes.upstream.stats.requests == 1


@pytest.mark.parametrize("claude", [False, True])
def test_a_count_takes_a_request_of_the_limits(acmes: Company, *, claude: bool):
    model = acmes.chatting() if claude else "plain"
    with tenant_transaction(acmes.tenant):
        Limit.set(acmes.tenant, subject="tenant", subject_id="", metric="requests", period="day", amount=Decimal(1))
    count = client_of(acmes).messages.with_raw_response.count_tokens
    assert count(model=model, messages=QUESTION).headers["x-ratelimit-remaining-requests"] == "0"
    with pytest.raises(anthropic.RateLimitError) as refused:
        count(model=model, messages=QUESTION)
    assert refused.value.type == "rate_limit_error"
    assert acmes.upstream.stats.requests == (1 if claude else 0)


@pytest.mark.parametrize("orders", ["status=500", "status=429", "first_ms=60000"])
def test_a_count_that_fails_is_an_estimate(acmes: Company, orders: str):
    count = client_of(acmes).messages.with_raw_response.count_tokens(model=acmes.chatting(orders), messages=QUESTION)
    assert count.headers["x-menhir-estimate"] == "true"
    assert count.parse().input_tokens < 1000
