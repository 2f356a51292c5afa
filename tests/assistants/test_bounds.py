"""What holds in every wire: limits and budgets in the wire's own words, retries that do not multiply, and signs of life."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import anthropic
import httpx2
import openai
import pytest
from assistants.conftest import Company
from assistants.test_admission import ask

from apps.gateway.guardrails.models import Guardrail
from apps.gateway.models import Provider, Route
from menhir.metering.limits.models import Limit
from menhir.tenancy.transaction import tenant_transaction

WIRES: dict[str, Callable[[str], dict[str, Any]]] = {
    "/v1/chat/completions": lambda text: {"messages": [{"role": "user", "content": text}], "max_tokens": 9},
    "/v1/completions": lambda text: {"prompt": text, "max_tokens": 9},
    "/v1/embeddings": lambda text: {"input": text},
    "/v1/moderations": lambda text: {"input": text},
    "/v1/rerank": lambda text: {"query": text, "documents": ["a", "b"]},
    "/v1/messages": lambda text: {"messages": [{"role": "user", "content": text}], "max_tokens": 9},
    "/v1/responses": lambda text: {"input": text, "max_output_tokens": 9},
}
QUESTION = [{"role": "user", "content": "What is a menhir?"}]


def bounded(company: Company, metric: str, amount: str, *, model: str = "gpt-4o-mini") -> str:
    """A limit of the whole tenant's, and a model that has a price."""
    with tenant_transaction(company.tenant):
        provider = Provider(tenant=company.tenant, slug="priced", kind="openai", base_url=company.upstream.base_url, tariff="openai")
        provider.set_credential("sk-upstream")
        provider.save()
        route = Route.objects.create(tenant=company.tenant, name="priced")
        route.lead_to((provider, model))
        Limit.set(company.tenant, subject="tenant", subject_id="", metric=metric, period="day", amount=Decimal(amount))
    return route.name


def refusal(company: Company, path: str, text: str, *, key: str, stream: bool) -> tuple[dict[str, Any], Any]:
    """The error of a call that is refused with 429, in the shape of its wire, and the headers beside it."""
    status, body, headers = ask(company, "POST", path, {"model": "priced", "stream": stream, **WIRES[path](text)}, key=key)
    assert status == 429, body
    assert headers["content-type"] == "application/json"
    error = body["error"]
    if path == "/v1/messages":
        assert (set(body), body["type"]) == ({"type", "error", "request_id"}, "error")
        assert error["type"] == "rate_limit_error"
    else:
        assert set(body) == {"error"}
        assert set(error) == {"message", "type", "param", "code"}
        assert error["type"] == ("insufficient_quota" if error["code"] == "insufficient_quota" else "rate_limit_error")
    return error, headers


@pytest.mark.parametrize("path", WIRES)
def test_a_limit_of_requests_holds(acmes: Company, path: str):
    bounded(acmes, "requests", "1")
    key = acmes.person.key("inference")
    assert ask(acmes, "POST", path, {"model": "priced", **WIRES[path]("One?")}, key=key)[0] == 200
    assert acmes.upstream.stats.requests == 1
    for stream in (False, True):
        error, headers = refusal(acmes, path, "Two?", key=key, stream=stream)
        assert error["code"] == "rate_limit_exceeded"
        assert int(headers["retry-after"]) >= 1
        assert headers["x-should-retry"] is None
    assert acmes.upstream.stats.requests == 1


@pytest.mark.parametrize("path", WIRES)
def test_a_budget_holds(acmes: Company, path: str):
    bounded(acmes, "money", "0.000001")
    key = acmes.person.key("inference")
    for stream in (False, True):
        error, headers = refusal(acmes, path, "What is a menhir, and what are they for?", key=key, stream=stream)
        assert error["code"] == "insufficient_quota"
        assert headers["x-should-retry"] == "false"
    assert acmes.upstream.stats.requests == 0


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/messages", "/v1/responses"])
@pytest.mark.parametrize("guarded", [False, True])
def test_signs_of_life_pass_in_the_middle_of_a_stream(acmes: Company, path: str, *, guarded: bool):
    """An upstream that thinks between two words keeps the connection to the client open, whoever stands in between."""
    acmes.model("priced", "chunks=4&alive=1")
    if guarded:
        with tenant_transaction(acmes.tenant):
            rule = {"stage": "after", "action": "block", "settings": {"patterns": ["hunter2"], "window": 4}}
            Guardrail.create(acmes.tenant, name="said", kind="regex", by=acmes.person.principal, **rule)
    body = {"model": "priced", "stream": True, **WIRES[path]("Hm?")}
    key = acmes.person.key("inference")
    answer = httpx2.post(f"{acmes.server.base_url}{path}", json=body, headers={"authorization": f"Bearer {key}"})
    assert answer.status_code == 200
    events = answer.text.split("\n\n")
    living = [number for number, event in enumerate(events) if event.startswith((":", "event: ping"))]
    saying = [number for number, event in enumerate(events) if event and number not in living]
    assert len([number for number in living if saying[0] < number < saying[-1]]) >= 4


class Posts:
    """Counts what a client sends."""

    def __init__(self) -> None:
        self.count = 0
        self.hooks = {"request": [self.sent]}

    def sent(self, request: object) -> None:
        self.count += 1


def openais(company: Company, posts: Posts) -> Callable[[str], Any]:
    client = openai.OpenAI(
        base_url=f"{company.server.base_url}/v1",
        api_key=company.person.key("inference"),
        max_retries=2,
        http_client=openai.DefaultHttpxClient(event_hooks=posts.hooks),
    )
    return lambda model: client.chat.completions.create(model=model, messages=QUESTION, max_tokens=9)


def anthropics(company: Company, posts: Posts) -> Callable[[str], Any]:
    client = anthropic.Anthropic(
        base_url=company.server.base_url,
        api_key=company.person.key("inference"),
        max_retries=2,
        http_client=anthropic.DefaultHttpxClient(event_hooks=posts.hooks),
    )
    return lambda model: client.messages.create(model=model, messages=QUESTION, max_tokens=9)


CLIENTS = [(openais, openai.RateLimitError), (anthropics, anthropic.RateLimitError)]


@pytest.mark.parametrize(("client", "limited"), CLIENTS)
def test_the_clients_retries_and_ours_do_not_multiply(acmes: Company, client: Any, limited: type[Exception]):
    """Its first try is tried again here; the two that it makes itself are not."""
    posts = Posts()
    create = client(acmes, posts)
    create(acmes.model("busy", "busy=3&retry_after=0"))
    assert (posts.count, acmes.upstream.stats.requests) == (3, 4)
    acmes.upstream.reset()
    with pytest.raises(limited):
        create(acmes.model("busier", "busy=99&retry_after=0"))
    assert (posts.count, acmes.upstream.stats.requests) == (6, 4)


@pytest.mark.parametrize(("client", "limited"), CLIENTS)
def test_a_spent_budget_is_not_tried_again(acmes: Company, client: Any, limited: type[Exception]):
    posts = Posts()
    with pytest.raises(limited):
        client(acmes, posts)(bounded(acmes, "money", "0.000001"))
    assert (posts.count, acmes.upstream.stats.requests) == (1, 0)
