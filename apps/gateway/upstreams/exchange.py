"""One request over one connection, and its answer: what every adapter has in common that speaks HTTP.

An adapter says what is sent (`request`) and what a refusal means (`refusal`). One whose other side does not speak OpenAI's wire is
a `Translation` and says besides how its answers read.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol, Self

import orjson

from apps.gateway.addresses import PrivateAddress
from apps.gateway.connection import Unanswered
from apps.gateway.errors import UpstreamBusy, UpstreamCut, UpstreamDown, UpstreamError, UpstreamRefused
from apps.gateway.session import Unaddressable
from apps.gateway.sse import EventSplitter, data_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from apps.gateway.connection import Connection
    from apps.gateway.session import Endpoint
    from apps.gateway.upstreams import Attempt

MAX_ERROR_BYTES = 64 * 1024
MAX_ANSWER_BYTES = 64 * 1024 * 1024
CROSSING_SECONDS = 2.0
"""How long a request may be on its way to somebody who is just closing the connection."""


class Exchange:
    """The context in which an answer is read, and the answer itself: one object for each request instead of three."""

    __slots__ = ("_attempt", "_connection", "_origin", "status")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._connection: Connection | None = None
        self.status = 0

    def request(self) -> tuple[Endpoint, bytes, bytes]:
        """Give where the request goes, its head and its body.

        Raises Unaddressable for a provider that is described wrongly, UpstreamRefused for what the other side's wire cannot say.
        """
        raise NotImplementedError

    def refusal(self, body: bytes) -> UpstreamError:
        """Give the error for an answer that is not 2xx."""
        raise NotImplementedError

    async def __aenter__(self) -> Self:
        attempt = self._attempt
        provider = attempt.target.provider
        to, head, body = self._written()
        self._origin = to.origin._replace(guarded=True) if attempt.target.guarded else to.origin
        try:
            connection = await self._ask(head, body)
        except Unanswered as e:
            self._leave()
            raise UpstreamBusy(f"The upstream `{provider}` closed the connection before it answered.") from e
        except PrivateAddress as e:
            self._leave()
            raise UpstreamDown(f"The upstream `{provider}` leads into a network that is closed to it.") from e
        except (OSError, ValueError) as e:  # the resolver raises both
            self._leave()
            raise UpstreamDown(f"The upstream `{provider}` cannot be reached.") from e
        except BaseException:
            self._leave()
            raise
        self.status = connection.status
        if self.status // 100 != 2:  # noqa: PLR2004 - the class of the status
            try:
                raise self.refusal(await self._said(connection))
            finally:
                self._leave()
        return self

    def _written(self) -> tuple[Endpoint, bytes, bytes]:
        """Write the request before anybody is connected to: what a client wrote wrongly says nothing of the other side."""
        try:
            return self.request()
        except Unaddressable as e:
            raise UpstreamDown(f"The upstream `{self._attempt.target.provider}` cannot be reached: {e}") from e
        except (ValueError, orjson.JSONEncodeError, RecursionError) as e:
            raise UpstreamRefused("The request holds something that cannot be sent.") from e

    async def _ask(self, head: bytes, body: bytes) -> Connection:
        """Send the request, and come back with the head of its answer.

        A kept connection that the other side closes just as the request is on its way is no failure of the other side's: its time was
        up. HTTP lets nobody repeat a POST on the mere suspicion that it was not acted on (RFC 9110 §9.2.2), but here it is more than
        that: the connection had been idle, no byte of an answer came, and the end came at once, as it does when the two cross on the
        wire. So it is sent once more, on a connection of its own. Whoever closes a fresh one, or thinks about it first, has failed.
        """
        session = self._attempt.session
        self._connection = connection = await session.take(self._origin)
        if not connection.used:
            await connection.ask(head, body)
            return connection
        began = time.monotonic()
        try:
            await connection.ask(head, body)
        except Unanswered:
            if time.monotonic() - began > CROSSING_SECONDS:
                raise
        else:
            return connection
        self._leave()
        self._connection = connection = await session.take(self._origin, fresh=True)
        await connection.ask(head, body)
        return connection

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, by their names in lower case."""
        headers = self._connection.headers if self._connection is not None else ()
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}

    def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as the socket gave it; raises UpstreamCut when it ends early."""
        return self

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        """Give what has come of the body. No generator: the loop would keep a list of them, and each call would come and go in it."""
        if self._connection is None:
            raise StopAsyncIteration
        try:
            data = await self._connection.read()
        except OSError as e:
            raise UpstreamCut(f"The upstream `{self._attempt.target.provider}` broke off in the middle of its answer.") from e
        if not data:
            raise StopAsyncIteration
        return data

    async def _said(self, connection: Connection) -> bytes:
        said = b""
        try:
            while len(said) < MAX_ERROR_BYTES and (data := await connection.read()):
                said += data
        except OSError:
            pass
        return said

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._attempt.session.release(self._origin, connection)


class Interpreter(Protocol):
    """Who reads the stream of another wire, event by event, and says the same in OpenAI's."""

    def take(self, said: bytes | None) -> bytes:
        """Give what an event comes to, perhaps nothing; None is an event without data.

        Raises UpstreamCut for what cannot be read, and any other UpstreamError for one that the event tells.
        """

    def end(self) -> bytes:
        """Give what is left to say when the other side has closed the stream; raises UpstreamCut when it had not finished."""


class Translation(Exchange):
    """An exchange in another wire than OpenAI's."""

    __slots__ = ()

    def whole(self, body: bytes) -> bytes:
        """Give a whole answer in OpenAI's wire; raises UpstreamDown for one that is none."""
        raise NotImplementedError

    def interpreter(self) -> Interpreter:
        """Give who reads the stream."""
        raise NotImplementedError

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body in OpenAI's wire, each part of a stream as soon as it is understood."""
        if not self._attempt.stream:
            yield self.whole(await self._read())
            return
        splitter, interpreter = EventSplitter(), self.interpreter()
        async for data in self:
            said, failure = _heard(splitter.feed(data), interpreter)
            if said:
                yield said
            if failure is not None:
                raise failure
        if splitter.rest and (said := interpreter.take(data_of(splitter.rest))):
            yield said
        if said := interpreter.end():
            yield said

    async def _read(self) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for data in self:
            parts.append(data)
            size += len(data)
            if size > MAX_ANSWER_BYTES:
                raise UpstreamDown(f"The upstream `{self._attempt.target.provider}` answered with more than {MAX_ANSWER_BYTES} bytes.")
        return b"".join(parts)


def _heard(events: list[bytes], interpreter: Interpreter) -> tuple[bytes, UpstreamError | None]:
    """Give what these events come to, and the error that ends them: what came before it in the same read was said, and is billed."""
    said: list[bytes] = []
    try:
        for event in events:
            said.append(interpreter.take(data_of(event)))  # noqa: PERF401 - what was heard before an error counts
    except UpstreamError as e:
        return b"".join(said), e
    return b"".join(said), None
