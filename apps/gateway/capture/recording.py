"""What goes to the client, noted as it goes by, and handed over when the call is over."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self

import orjson

from apps.gateway.aside import ROW_BYTES
from apps.gateway.capture import writing

if TYPE_CHECKING:
    from types import TracebackType

    from apps.gateway.call import Call, Respond
    from apps.gateway.guardrails.sieve import Finder

MOST_BYTES = 256 * 1024
"""Of a request or an answer; of what is longer nothing (a request) or the beginning (an answer) is kept."""


@dataclass(frozen=True, slots=True)
class Policy:
    """How a route's calls are kept."""

    keep_days: int
    finder: Finder | None
    """What is taken out of them."""


class Recorder:
    """Stands before the client, and keeps what it passes on."""

    def __init__(self, call: Call, policy: Policy, respond: Respond) -> None:
        self._call = call
        self._policy = policy
        self._respond = respond
        self._parts: list[bytes] = []
        self._left = MOST_BYTES
        self._truncated = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        call = self._call
        request = call.raw if call.raw is not None else orjson.dumps(call.body, default=str)
        if len(request) > MOST_BYTES:
            request, self._truncated = b"null", True
        taken = writing.Taken(
            tenant_id=call.principal.tenant_id,
            call_id=call.id,
            opened_at=call.opened_at,
            keep_until=call.opened_at + timedelta(days=self._policy.keep_days),
            request=request,
            answer=b"".join(self._parts),
            stream=call.stream,
            truncated=self._truncated,
            finder=self._policy.finder,
        )
        writing.writer.offer(taken, size=len(taken.request) + len(taken.answer) + ROW_BYTES)

    async def start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        """Pass it on."""
        await self._respond.start(status, headers)

    async def send(self, data: bytes, more: bool) -> None:  # noqa: FBT001 - ASGI's own word order
        """Keep it, and pass it on."""
        if len(data) <= self._left:
            self._parts.append(data)
            self._left -= len(data)
        else:
            self._left, self._truncated = 0, True
        await self._respond.send(data, more)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._respond, name)
