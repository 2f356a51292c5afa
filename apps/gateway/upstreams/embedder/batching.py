"""Dynamic batching: texts that arrive close together share a forward pass, and a search never waits for an ingestion.

A request of a few texts is a query, one of many is bulk. Each pass takes queries if there are any, all of them; else the bulk texts next in
line, sorted by length so that little is padded. A pass of bulk is kept short (about 2,000 tokens), because that is what a query
waits for at most.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import numpy as np
import structlog

from apps.gateway.upstreams.embedder.model import LONGEST_TOKENS, EmbedderError, Model, Vectors
from menhir.telemetry import gauges, meters

QUERY_TEXTS = 4
PASS_TOKENS = 2_048
PASS_TEXTS = 64
LINGER_SECONDS = 0.002
MOST_WAITING_TEXTS = 20_000
CHARACTERS_PER_TOKEN = 4
SIZES = (1, 2, 4, 8, 16, 32, 64)

TEXTS = meters.counter("menhir_embedder_texts_total", "Texts that were given vectors.", "kind")
TOKENS = meters.counter("menhir_embedder_tokens_total", "Tokens read by the model.").of()
PASS_SIZES = meters.histogram("menhir_embedder_pass_texts", "Texts that shared a pass.", SIZES, "kind")
PASS_SECONDS = meters.histogram("menhir_embedder_pass_seconds", "How long a pass took.", meters.SECONDS, "kind")
WAITS = meters.histogram("menhir_embedder_wait_seconds", "From a text's arrival to its pass.", meters.SECONDS, "kind")
FAILED = meters.counter("menhir_embedder_failed_passes_total", "Passes in which the model failed.").of()

log = structlog.get_logger(__name__)


class Overloaded(EmbedderError):
    """So many texts wait already that one more would wait for minutes."""


@dataclass(eq=False, slots=True)
class Request:
    """The texts of one caller on their way through as many passes as they need."""

    texts: Sequence[str]
    done: asyncio.Future[None]
    vectors: list[Vectors | None]
    since: float
    tokens: int = 0
    left: int = 0

    @property
    def kind(self) -> str:
        """Whether somebody waits for it, or a document."""
        return "query" if len(self.texts) <= QUERY_TEXTS else "bulk"


@dataclass(frozen=True, slots=True)
class Item:
    """One text of a request."""

    request: Request
    at: int

    @property
    def text(self) -> str:
        return self.request.texts[self.at]

    @property
    def guessed_tokens(self) -> int:
        return min(LONGEST_TOKENS, 3 + len(self.text) // CHARACTERS_PER_TOKEN)


@dataclass(slots=True)
class Batcher:
    """One model, one thread, and who is next."""

    load: Callable[[], Model]
    ready: asyncio.Event = field(default_factory=asyncio.Event)
    _queries: deque[Item] = field(default_factory=deque)
    _bulk: deque[Item] = field(default_factory=deque)
    _wake: asyncio.Event = field(default_factory=asyncio.Event)
    passes: int = 0

    async def run(self) -> None:
        """Load the model, then make passes until cancelled. Raises what loading raises."""
        loop = asyncio.get_running_loop()
        gauges.register("menhir_embedder_ready", "Whether the model is loaded.", self.ready.is_set)
        gauges.register("menhir_embedder_waiting_texts", "Texts that wait for their pass.", self._depths, labels=("kind",))
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="model") as thread:
            model = await loop.run_in_executor(thread, self.load)
            self.ready.set()
            while True:
                await self._wake.wait()
                self._wake.clear()
                await asyncio.sleep(LINGER_SECONDS)
                while items := self._next():
                    await self._pass(items, lambda texts: loop.run_in_executor(thread, model.embed, texts))

    async def embed(self, texts: Sequence[str]) -> tuple[Vectors, int]:
        """The vectors of the texts in their order, and the tokens read. A caller who is cancelled is not worked for any further."""
        waiting = len(self._bulk) + len(self._queries)
        if waiting and waiting + len(texts) > MOST_WAITING_TEXTS:
            raise Overloaded
        request = Request(
            texts, asyncio.get_running_loop().create_future(), [None] * len(texts), since=time.perf_counter(), left=len(texts)
        )
        items = sorted((Item(request, at) for at in range(len(texts))), key=lambda item: len(item.text))
        (self._queries if request.kind == "query" else self._bulk).extend(items)
        self._wake.set()
        await request.done
        return np.stack([vector for vector in request.vectors if vector is not None]), request.tokens

    def _depths(self) -> dict[tuple[str, ...], float]:
        return {("query",): len(self._queries), ("bulk",): len(self._bulk)}

    def _next(self) -> list[Item]:
        return _taken(self._queries) or _taken(self._bulk)

    async def _pass(self, items: list[Item], embed: Callable[[list[str]], Awaitable[tuple[Vectors, list[int]]]]) -> None:
        self.passes += 1
        kind, began = items[0].request.kind, time.perf_counter()
        for item in items:
            WAITS.of(kind).observe(began - item.request.since)
        try:
            vectors, tokens = await embed([item.text for item in items])
        except Exception as error:
            FAILED.add()
            log.exception("embedder.pass_failed", texts=len(items))
            for item in items:
                if not item.request.done.done():
                    item.request.done.set_exception(error)
            return
        PASS_SECONDS.of(kind).observe(time.perf_counter() - began)
        PASS_SIZES.of(kind).observe(len(items))
        TEXTS.of(kind).add(len(items))
        TOKENS.add(sum(tokens))
        for item, vector, read in zip(items, vectors, tokens, strict=True):
            request = item.request
            request.vectors[item.at] = vector
            request.tokens += read
            request.left -= 1
            if not request.left and not request.done.done():
                request.done.set_result(None)


def _taken(queue: deque[Item]) -> list[Item]:
    """The items of the next pass: within the limit of tokens once padded, and of nobody who has left."""
    items: list[Item] = []
    longest = 0
    while queue and len(items) < PASS_TEXTS:
        item = queue[0]
        if item.request.done.done():
            queue.popleft()
            continue
        longest = max(longest, item.guessed_tokens)
        if items and longest * (len(items) + 1) > PASS_TOKENS:
            break
        items.append(queue.popleft())
    return items
