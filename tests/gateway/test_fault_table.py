"""Each way in which an upstream can fail, through the front door: what the client sees, what the ledger says, and that nothing stays held.

The models are named after a priced one, so that what was used has a price.
"""

from __future__ import annotations

import asyncio
import os
import socket
from dataclasses import dataclass, field
from typing import Any

import orjson
import psycopg
import pytest
from asgiref.sync import sync_to_async
from psycopg.rows import dict_row

from apps.assistants.front import application
from apps.gateway import afterwards, asking, hangup, runtime, sse
from apps.gateway.guardrails.models import Guardrail
from apps.gateway.sse import EventSplitter, data_of
from menhir.metering.limits import limits
from menhir.tenancy.transaction import tenant_transaction

from peers.caller import MESSAGES
from peers.script import TEXT

pytestmark = pytest.mark.usefixtures("gateway")
NOTHING, ESTIMATE, UPSTREAM = "nothing", "estimate", "upstream"
CHAT = "/v1/chat/completions"
WORDED: dict[str, dict[str, Any]] = {
    CHAT: {"messages": MESSAGES},
    "/v1/messages": {"messages": MESSAGES, "max_tokens": 100},
    "/v1/responses": {"input": "What is a menhir?"},
    "/v1/completions": {"prompt": "What is a menhir?"},
}


@dataclass
class Seen:
    """What a client saw."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    ended: bool = False

    @property
    def events(self) -> list[Any]:
        said = [data_of(event) for event in EventSplitter().feed(self.body)]
        return [data.decode() if data == b"[DONE]" else orjson.loads(data) for data in said if data is not None]

    @property
    def text(self) -> str:
        if self.headers["content-type"] == "application/json":
            return orjson.loads(self.body)["choices"][0]["message"]["content"]
        chunks = [event for event in self.events if isinstance(event, dict) and event.get("choices")]
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


async def ask(principal, model: str, *, stream: bool, n: int = 1, path: str = CHAT, **headers: str) -> Seen:
    """Ask as a server does that has read a request."""
    seen, told, left = Seen(), False, asyncio.Event()
    asked = {**WORDED[path], "model": model, "stream": stream, **({"n": n} if n > 1 else {})}
    body = orjson.dumps(asked)

    async def receive() -> dict[str, Any]:
        nonlocal told
        if told:
            await left.wait()
            return {"type": "http.disconnect"}
        told = True
        return {"type": "http.request", "body": body}

    async def send(message) -> None:
        if message["type"] == "http.response.start":
            seen.status = message["status"]
            seen.headers = {name.decode(): value.decode() for name, value in message["headers"]}
        else:
            seen.body += message["body"]
            seen.ended = not message.get("more_body", False)

    scope = {
        "type": "http",
        "method": "POST",
        "path": path,
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
        "state": {"principal": principal},
    }
    await application(scope, receive, send)
    return seen


def row_of(tenant_id, model: str) -> dict[str, Any]:
    """The one call of this model, settled."""
    rows = [row for row in rows_of(tenant_id) if row["model"] == model and row["parent_id"] is None]
    assert len(rows) == 1
    return rows[0]


def rows_of(tenant_id) -> list[dict[str, Any]]:
    """Everything that stands in a tenant's ledger, in order."""
    superuser = psycopg.conninfo.make_conninfo(os.environ["MENHIR_TEST_SUPERUSER"], dbname=os.environ["MENHIR_TEST_DATABASE"])
    with psycopg.connect(superuser, row_factory=dict_row) as connection:
        return connection.execute(
            "SELECT call.model, call.parent_id, call.estimate, settlement.* FROM metering_call AS call"
            " LEFT JOIN metering_settlement AS settlement USING (tenant_id, opened_at, id) WHERE call.tenant_id = %s ORDER BY call.id",
            [tenant_id],
        ).fetchall()


async def legs_of(call: dict[str, Any]) -> list[dict[str, Any]]:
    """What stands beside a call for targets that were asked for it, too."""
    await afterwards.done(within_seconds=5)
    return [row for row in rows_of(call["tenant_id"]) if row["parent_id"] == call["id"]]


def used(row: dict[str, Any]) -> str:
    """What the ledger says was used, and by whose count."""
    if not (row["input_tokens"] or row["output_tokens"]):
        assert row["cost"] == 0
        return NOTHING
    assert row["cost"] > 0
    return row["usage_source"]


def priced(**orders: object) -> str:
    query = "&".join(f"{name}={value}" for name, value in orders.items())
    return f"claude-3-haiku?{query}" if orders else "claude-3-haiku"


@pytest.fixture
async def limited(alice, limit, gateway):
    """Acme has a limit on everything, and is far from it. Afterwards nothing is held, and what was spent is what the ledger says."""
    made = {metric: await limit(metric=metric, period="day", amount=amount) for metric, amount in AMPLE.items()}
    yield
    await afterwards.done(within_seconds=5)
    await limits.stop()
    superuser = psycopg.conninfo.make_conninfo(os.environ["MENHIR_TEST_SUPERUSER"], dbname=os.environ["MENHIR_TEST_DATABASE"])
    with psycopg.connect(superuser) as connection:
        found = connection.execute("SELECT limit_id, spent, leased FROM metering_meter WHERE tenant_id = %s", [alice.tenant.id]).fetchall()
    meters = {limit_id: (spent, leased) for limit_id, spent, leased in found}
    rows = rows_of(alice.tenant.id)
    assert all(row["outcome"] for row in rows)
    spent = {metric: meters.get(limit.id, (0, 0)) for metric, limit in made.items()}
    assert spent == {
        "money": (sum(row["cost"] for row in rows), 0),
        "tokens": (sum(row["input_tokens"] + row["output_tokens"] for row in rows), 0),
        "parallel": (0, 0),
        "requests": (sum(1 for row in rows if row["attempts"] and row["parent_id"] is None), 0),
    }


@pytest.fixture
async def tidy(limited):
    """Afterwards no connection is in use, no task is left, nobody is watched."""
    before = asyncio.all_tasks()
    yield
    await afterwards.done(within_seconds=5)
    before.add(asyncio.current_task())
    async with asyncio.timeout(2):
        while hangup._patrol._watches or any(task not in before for task in asyncio.all_tasks()):
            await asyncio.sleep(0.01)
    assert runtime.session()._used == set()


@pytest.fixture
async def ask_route(alice, routes, tidy):
    """Ask a new route that leads to models with these orders; gives what the client saw, and the ledger's row."""

    async def run(*orders: dict[str, Any], stream: bool, policy=None, base_url="", client_retries=0, n=1, path=CHAT, **patience: float):
        name = await routes.to(*(priced(**each) for each in orders), tariff="anthropic", policy=policy, base_url=base_url, **patience)
        headers = {"x_stainless_retry_count": str(client_retries)} if client_retries else {}
        seen = await ask(alice.principal, name, stream=stream, n=n, path=path, **headers)
        assert seen.ended
        assert b"sk-fake" not in seen.body
        return seen, row_of(alice.tenant.id, name)

    return run


BOTH, STREAM, WHOLE = (False, True), (True,), (False,)
AMPLE = {"money": 1_000, "tokens": 100_000_000, "parallel": 10, "requests": 1_000}

BEFORE = [
    # orders, patience, which calls; status, code that the client reads, x-should-retry; ledger's code, attempts, used
    ({"status": 500}, {}, BOTH, 503, "server_error", None, "upstream_down", 1, NOTHING),
    ({"status": 404}, {}, BOTH, 503, "server_error", "false", "upstream_down", 1, NOTHING),
    ({"status": 429, "code": "insufficient_quota"}, {}, BOTH, 503, "insufficient_quota", "false", "upstream_down", 1, NOTHING),
    ({"status": 401}, {}, BOTH, 503, "upstream_unauthorized", "false", "upstream_unauthorized", 1, NOTHING),
    ({"status": 400}, {}, BOTH, 400, "invalid_request_error", None, "upstream_refused", 1, NOTHING),
    ({"status": 413}, {}, BOTH, 400, "server_error", None, "context_length_exceeded", 1, NOTHING),
    ({"status": 429}, {}, BOTH, 429, "rate_limit_error", None, "upstream_rate_limited", 2, NOTHING),
    ({"status": 429, "retry_after": "0.2"}, {}, BOTH, 429, "rate_limit_error", None, "upstream_rate_limited", 2, NOTHING),
    ({"status": 429, "retry_after": "30"}, {}, BOTH, 429, "rate_limit_error", None, "upstream_rate_limited", 1, NOTHING),
    ({"status": 503}, {}, BOTH, 503, "server_error", None, "upstream_busy", 2, NOTHING),
    ({"cut": 0}, {}, BOTH, 503, "upstream_cut", None, "upstream_cut", 1, ESTIMATE),
    ({"cut": 0, "half": 1}, {}, STREAM, 503, "upstream_cut", None, "upstream_cut", 1, ESTIMATE),
    ({"malformed": 0}, {}, BOTH, 503, "upstream_down", None, "upstream_down", 1, ESTIMATE),
    ({"error": 0}, {}, STREAM, 503, "overheated", None, "upstream_down", 1, ESTIMATE),
    ({"error": 0}, {}, WHOLE, 503, "server_error", None, "upstream_down", 1, ESTIMATE),
    ({"role": 3, "error": 0}, {}, STREAM, 503, "overheated", None, "upstream_down", 1, ESTIMATE),
    ({"first_ms": 20_000}, {"first_byte_timeout_seconds": 0.2}, STREAM, 504, "first_byte_timeout", None, "first_byte_timeout", 1, ESTIMATE),
    ({"first_ms": 20_000}, {"answer_timeout_seconds": 0.2}, WHOLE, 504, "answer_timeout", None, "answer_timeout", 1, ESTIMATE),
    ({"first_ms": 20_000}, {"policy": {"total_timeout_seconds": 0.2}}, BOTH, 504, "total_timeout", None, "total_timeout", 1, ESTIMATE),
]


@pytest.mark.parametrize(
    ("orders", "patience", "stream", "status", "code", "should_retry", "error_code", "attempts", "counted"),
    [(orders, patience, stream, *rest) for orders, patience, streams, *rest in BEFORE for stream in streams],
)
async def test_before_any_content(ask_route, upstream, orders, patience, stream, status, code, should_retry, error_code, attempts, counted):
    seen, row = await ask_route(orders, stream=stream, **patience)
    error = orjson.loads(seen.body)["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert (seen.status, error["type"], error["code"]) == (status, "upstream_error", code)
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["x-request-id"]
    assert seen.headers.get("x-should-retry") == should_retry
    assert seen.headers.get("retry-after") == ({"30": "30", "0.2": "1"}.get(orders.get("retry_after", "")))
    assert (row["outcome"], row["status"], row["error_code"], row["attempts"]) == ("failed", status, error_code, attempts)
    assert upstream.stats.requests == attempts
    assert used(row) == counted


@pytest.mark.parametrize("stream", BOTH)
async def test_nobody_listens(ask_route, stream):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    seen, row = await ask_route({}, stream=stream, base_url=f"http://127.0.0.1:{port}/v1")
    assert (seen.status, orjson.loads(seen.body)["error"]["code"]) == (503, "upstream_down")
    assert (row["outcome"], row["error_code"], row["attempts"], used(row)) == ("failed", "upstream_down", 1, NOTHING)


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize(
    ("orders", "patience", "attempts", "counted"),
    [
        *[(orders, patience, 3 if tries == 2 else 2, counted) for orders, patience, _, status, _, _, code, tries, counted in BEFORE if status != 400 and code != "total_timeout"],
        ({"status": 413}, {}, 2, NOTHING),
    ],
)  # fmt: skip
async def test_before_any_content_the_next_target_answers(ask_route, orders, patience, attempts, counted, stream):
    if not stream and orders.get("role"):
        pytest.skip("of streams alone")
    if "first_ms" in orders:
        patience = {"first_byte_timeout_seconds": 0.2, "answer_timeout_seconds": 0.2}
    seen, row = await ask_route(orders, {}, stream=stream, **patience)
    assert (seen.status, seen.text.strip()) == (200, TEXT)
    assert (row["outcome"], row["upstream_model"], row["attempts"], used(row)) == ("completed", "claude-3-haiku", attempts, UPSTREAM)
    assert seen.headers["x-menhir-attempts"] == str(attempts)
    # One that had taken the request is paid; one that refused it at once has cost nothing.
    assert [(leg["outcome"], leg["attempts"], used(leg)) for leg in await legs_of(row)] == [("failed", 1, counted)] * (counted == ESTIMATE)


@pytest.mark.parametrize("stream", BOTH)
async def test_before_any_content_each_try_that_was_taken_is_paid(ask_route, upstream, stream):
    busy = {"error": 0, "code": "rate_limit_exceeded"} if stream else {"first_ms": 20_000}
    patience = {"answer_timeout_seconds": 0.2}
    seen, row = await ask_route(busy, {"cut": 0}, {"status": 500}, {}, stream=stream, policy={"retries": 1}, **patience)
    assert (seen.status, row["upstream_model"], used(row)) == (200, "claude-3-haiku", UPSTREAM)
    legs = await legs_of(row)
    assert [leg["error_code"] for leg in legs] == (
        ["upstream_rate_limited", "upstream_rate_limited", "upstream_cut"] if stream else ["answer_timeout", "upstream_cut"]
    )
    assert {used(leg) for leg in legs} == {ESTIMATE}
    assert row["attempts"] == upstream.stats.requests == len(legs) + 2


@pytest.mark.parametrize("stream", BOTH)
async def test_each_target_is_paid_for_its_own_failure(ask_route, stream):
    """The first one's is what the client would be told, since it may come back; the second one's is what the second one had."""
    seen, row = await ask_route({"status": 500}, {"empty": 1, "reason": "content_filter"}, {}, stream=stream)
    assert (seen.status, row["upstream_model"]) == (200, "claude-3-haiku")
    assert [leg["error_code"] for leg in await legs_of(row)] == ["content_filter"]


@pytest.mark.parametrize("stream", BOTH)
async def test_what_a_filter_let_nothing_of_through_is_answered_by_the_next_target(ask_route, stream):
    seen, row = await ask_route({"empty": 1, "reason": "content_filter"}, {}, stream=stream)
    assert (seen.status, seen.text.strip()) == (200, TEXT)
    assert b"content_filter" not in seen.body
    (leg,) = await legs_of(row)
    assert (leg["outcome"], leg["status"], leg["error_code"], used(leg)) == ("failed", 400, "content_filter", UPSTREAM)
    assert (row["outcome"], row["upstream_model"], used(row)) == ("completed", "claude-3-haiku", UPSTREAM)


@pytest.mark.parametrize("stream", BOTH)
async def test_where_there_is_no_next_target_it_is_passed_on_as_it_is(ask_route, stream):
    seen, row = await ask_route({"empty": 1, "reason": "content_filter"}, stream=stream)
    assert seen.status == 200
    assert b'"content_filter"' in seen.body
    assert (row["outcome"], row["error_code"], used(row)) == ("completed", None, UPSTREAM)


@pytest.mark.parametrize("stream", BOTH)
async def test_what_a_filter_broke_off_is_not_said_anew(ask_route, upstream, stream):
    seen, row = await ask_route({"reason": "content_filter"}, {}, stream=stream)
    assert (seen.status, seen.text.strip()) == (200, TEXT)
    assert upstream.stats.requests == row["attempts"] == 1


@pytest.mark.parametrize("stream", BOTH)
async def test_a_blocked_answer_is_paid_and_nothing_stays_held(ask_route, alice, stream):
    def forbid() -> None:
        with tenant_transaction(alice.tenant):
            Guardrail.create(
                alice.tenant, name="stones", kind="regex", stage="after", settings={"patterns": ["standing"]}, by=alice.principal
            )

    await sync_to_async(forbid)()
    seen, row = await ask_route({"gap_ms": 50}, stream=stream)
    assert b"standing" not in seen.body
    assert (row["outcome"], row["error_code"]) == ("failed", "guardrail:stones")
    assert used(row) == (ESTIMATE if stream else UPSTREAM)


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize("path", WORDED)
@pytest.mark.parametrize(("orders", "code"), [({}, None), ({"status": 500}, "upstream_down"), ({"cut": 2}, "upstream_cut")])
async def test_every_wire_gives_back_what_it_held(ask_route, path, orders, code, stream):
    patience = {}
    if code == "upstream_cut" and not stream:
        orders, code, patience = {"first_ms": 20_000}, "answer_timeout", {"answer_timeout_seconds": 0.2}
    seen, row = await ask_route(orders, stream=stream, path=path, **patience)
    assert row["error_code"] == code
    assert (seen.status == 200) == (code is None or (stream and "cut" in orders))


@pytest.mark.parametrize(
    ("orders", "patience", "code", "error_code"),
    [
        ({"cut": 3}, {}, "upstream_cut", "upstream_cut"),
        ({"cut": 3, "half": 1}, {}, "upstream_cut", "upstream_cut"),
        ({"error": 3}, {}, "overheated", "upstream_down"),
        ({"malformed": 3}, {}, "upstream_cut", "upstream_cut"),
        ({"done": 0, "finish": 0, "usage": "none"}, {}, "upstream_cut", "upstream_cut"),
        ({"gap_ms": 20_000}, {"policy": {"idle_timeout_seconds": 0.2}}, "idle_timeout", "idle_timeout"),
        ({"gap_ms": 100, "chunks": 400}, {"policy": {"total_timeout_seconds": 0.5}}, "total_timeout", "total_timeout"),
    ],
)
async def test_after_the_first_content_a_stream_says_that_it_broke(ask_route, orders, patience, code, error_code):
    seen, row = await ask_route(orders, {}, stream=True, **patience)
    last = seen.events[-1]["error"]
    assert (seen.status, last["code"]) == (200, code)
    # An error that the upstream told is passed on in its own words, one of ours says whose fault it was.
    assert last["type"] == ("server_error" if code == "overheated" else "upstream_error")
    assert set(last) == {"message", "type", "param", "code"}
    assert b"[DONE]" not in seen.body
    assert b"not json" not in seen.body
    assert (row["outcome"], row["status"], row["error_code"], row["attempts"], used(row)) == ("failed", 200, error_code, 1, ESTIMATE)
    assert row["output_tokens"] > 0
    assert row["first_token_ms"] is not None


@pytest.mark.parametrize("stream", BOTH)
@pytest.mark.parametrize(
    ("orders", "counted"),
    [({}, UPSTREAM), ({"split": 1}, UPSTREAM), ({"crlf": 1, "split": 5}, UPSTREAM), ({"usage": "none"}, ESTIMATE), ({"usage": "wild"}, ESTIMATE),
     ({"usage": "zero"}, NOTHING), ({"usage": "early"}, UPSTREAM), ({"role": 4}, UPSTREAM), ({"comments": 3, "first_ms": 60}, UPSTREAM)],
)  # fmt: skip
async def test_odd_but_whole_answers_arrive_and_lies_about_usage_are_not_believed(ask_route, orders, counted, stream):
    seen, row = await ask_route(orders, stream=stream)
    assert (seen.status, seen.text.strip()) == (200, TEXT)
    assert (row["outcome"], row["error_code"], row["attempts"], used(row)) == ("completed", None, 1, counted)
    assert row["output_tokens"] in ({len(TEXT.split())} if counted == UPSTREAM else {0} if counted == NOTHING else range(15, 40))


@pytest.mark.parametrize(("unfinished", "last"), [(0, "[DONE]"), (1, "upstream_cut")])
async def test_a_stream_of_several_choices_is_whole_when_each_has_ended(ask_route, unfinished, last):
    seen, row = await ask_route({"done": 0, "unfinished": unfinished}, stream=True, n=2)
    end = seen.events[-1]
    assert (end if end == "[DONE]" else end["error"]["code"]) == last
    assert row["error_code"] == (None if last == "[DONE]" else last)


async def test_a_large_event_that_ends_is_passed_on(ask_route):
    seen, row = await ask_route({"big": 12 * 1024 * 1024}, stream=True)
    assert seen.text.startswith("x" * 12 * 1024 * 1024)
    assert row["outcome"] == "completed"


async def test_an_event_without_end_is_not(ask_route, monkeypatch):
    monkeypatch.setattr(sse, "MAX_EVENT_BYTES", 1024 * 1024)
    seen, row = await ask_route({"big": 2 * 1024 * 1024}, stream=True)
    assert (seen.status, row["error_code"], row["attempts"], used(row)) == (503, "upstream_cut", 1, ESTIMATE)


async def test_a_whole_answer_without_end_is_refused(ask_route, monkeypatch):
    monkeypatch.setattr(asking, "MAX_ANSWER_BYTES", 1024 * 1024)
    seen, row = await ask_route({"big": 2 * 1024 * 1024}, stream=False)
    assert (seen.status, row["error_code"]) == (503, "upstream_down")


async def test_a_client_on_its_second_try_is_not_retried_for(ask_route, upstream):
    _, row = await ask_route({"status": 429}, {"status": 429, "chunks": 1}, stream=False, policy={"retries": 5}, client_retries=1)
    assert upstream.stats.requests == row["attempts"] == 2
