"""The adapter: an attempt in, OpenAI's wire out, and nothing in between that waits for anybody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

from apps.gateway.errors import UpstreamRefused, UpstreamUnfit
from apps.gateway.upstreams import Attempt, UpstreamResponse
from apps.gateway.upstreams.extract.answer import answer
from apps.gateway.upstreams.extract.passages import read, text_of
from apps.gateway.upstreams.extract.wire import Completion, cut
from menhir.metering import tokens

PACE_HEADER = "x-pace-ms"
PACE_MS = 12.0
SLOWEST_PACE_MS = 200.0
# Reading this much text takes a few milliseconds, which nobody on the event loop notices; more goes to a thread.
INLINE_CHARACTERS = 20_000


class Answered:
    """A finished answer on its way, at a pace."""

    status = 200

    def __init__(self, parts: Iterable[bytes], *, content_type: str, pace_seconds: float) -> None:
        self.headers: Mapping[str, str] = {"content-type": content_type}
        self._parts = parts
        self._pace_seconds = pace_seconds

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the parts one by one, letting others run between any two."""
        for part in self._parts:
            yield part
            await asyncio.sleep(self._pace_seconds)


class Extract:
    """The upstream kind `extract`."""

    @asynccontextmanager
    async def open(self, attempt: Attempt) -> AsyncIterator[UpstreamResponse]:
        """Find the answer; raises UpstreamUnfit for what an extractor cannot do."""
        body = attempt.body
        messages = _understood(attempt)
        texts = [text_of(message.get("content")) for message in messages]
        if sum(map(len, texts)) <= INLINE_CHARACTERS:
            found = answer(read(messages))
        else:
            found = await asyncio.to_thread(lambda: answer(read(messages)))
        limit = body.get("max_completion_tokens") or body.get("max_tokens")
        text, finish_reason = cut(found, most_tokens=limit if isinstance(limit, int) else None)
        completion = Completion(
            id=f"chatcmpl-{attempt.request_id}",
            created=int(time.time()),
            model=attempt.target.upstream_model,
            text=text,
            finish_reason=finish_reason,
            prompt_tokens=sum(map(tokens.of_text, texts)),
        )
        if attempt.stream:
            yield Answered(completion.events(), content_type="text/event-stream", pace_seconds=pace_of(attempt.target.headers))
        else:
            yield Answered([completion.whole()], content_type="application/json", pace_seconds=0)


def pace_of(headers: Mapping[str, str]) -> float:
    """Seconds between two words, from the provider's headers.

    >>> pace_of({}), pace_of({"x-pace-ms": "0"}), pace_of({"x-pace-ms": "9999"}), pace_of({"x-pace-ms": "fast"})
    (0.012, 0.0, 0.2, 0.012)
    """
    try:
        milliseconds = float(headers.get(PACE_HEADER, PACE_MS))
    except ValueError:
        milliseconds = PACE_MS
    return min(max(milliseconds, 0.0), SLOWEST_PACE_MS) / 1000


def _understood(attempt: Attempt) -> list[Mapping[str, Any]]:
    body = attempt.body
    if attempt.operation != "chat":
        raise UpstreamUnfit("`extract` answers chat completions, and nothing else.", param="model")
    messages = body.get("messages")
    if not isinstance(messages, list) or not all(isinstance(message, dict) for message in messages):
        raise UpstreamRefused("`messages` must be a list of messages.", param="messages")
    if body.get("n") not in (None, 1):  # a tuple: whatever a client sends can be compared, but not hashed
        raise UpstreamUnfit("`extract` gives one choice.", param="n")
    wanted = body.get("response_format")
    if isinstance(wanted, dict) and wanted.get("type") not in (None, "text"):
        raise UpstreamUnfit("`extract` quotes documents as they are and cannot answer in JSON.", param="response_format")
    return messages
