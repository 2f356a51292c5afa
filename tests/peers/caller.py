"""A caller of the gateway: it makes calls as admission does, remembers what it was told, can hang up, and reads the ledger."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import orjson
import psycopg
from psycopg.rows import dict_row

from apps.gateway import corridor
from apps.gateway.call import Call
from apps.gateway.sse import EventSplitter, data_of
from menhir.postgres.ids import uuid7
from menhir.tenancy.principal import Principal

MESSAGES = [{"role": "user", "content": "What is a menhir?"}]


def fake(**orders: object) -> str:
    """A model's name that tells the fake upstream what to do."""
    return f"fake?{urlencode(orders)}" if orders else "fake"


@dataclass
class Client:
    """A client: it remembers what it was sent, and can hang up."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    parts: list[bytes] = field(default_factory=list)
    times: list[float] = field(default_factory=list)
    ended: bool = False
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    on_part: Callable[[Client], None] = lambda _client: None

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        assert not self.status
        self.status = status
        self.headers = {name.decode(): value.decode("latin-1") for name, value in headers}

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        assert self.status
        assert not self.ended
        self.parts.append(data)
        self.times.append(time.monotonic())
        self.ended = not more
        self.on_part(self)

    @property
    def body(self) -> bytes:
        return b"".join(self.parts)

    @property
    def json(self) -> Any:
        return orjson.loads(self.body)

    @property
    def events(self) -> list[Any]:
        """What the events of a stream say."""
        splitter = EventSplitter()
        said = [data_of(event) for event in splitter.feed(self.body)]
        assert not splitter.rest
        return [data.decode() if data == b"[DONE]" else orjson.loads(data) for data in said if data is not None]

    @property
    def text(self) -> str:
        """What a stream's chunks say together."""
        chunks = [event for event in self.events if isinstance(event, dict) and event.get("choices")]
        return "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks)


def call_of(principal: Principal, model: str, *, operation: str = "chat", **body: Any) -> Call:
    """A call as admission makes it."""
    body = {"model": model, **({"messages": MESSAGES} if operation == "chat" else {}), **body}
    return Call(
        id=uuid7(),
        request_id="req-1",
        principal=principal,
        operation=operation,
        received=time.perf_counter(),
        opened_at=datetime.now(UTC),
        model=model,
        body=body,
        raw=orjson.dumps(body),
        stream=bool(body.get("stream")),
        wants_usage=bool((body.get("stream_options") or {}).get("include_usage")),
    )


async def ask(call: Call) -> Client:
    """Run a call to its end."""
    client = Client()
    await corridor.run(call, client, client.gone)
    return client


def ledger_row(call_id: UUID) -> dict[str, Any]:
    """The call and its settlement as they are on disk; its settlement's columns are absent when it has none."""
    superuser = psycopg.conninfo.make_conninfo(os.environ["MENHIR_TEST_SUPERUSER"], dbname=os.environ["MENHIR_TEST_DATABASE"])
    with psycopg.connect(superuser, row_factory=dict_row) as connection:
        opened = connection.execute("SELECT * FROM metering_call WHERE id = %s", [call_id]).fetchall()
        settled = connection.execute("SELECT * FROM metering_settlement WHERE id = %s", [call_id]).fetchall()
    assert len(opened) <= 1
    assert len(settled) <= 1
    return {**(opened[0] if opened else {}), **(settled[0] if settled else {})}
