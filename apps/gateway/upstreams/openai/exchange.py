"""One request and its answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Self

from apps.gateway.connection import Unanswered
from apps.gateway.errors import UpstreamBusy, UpstreamCut, UpstreamDown
from apps.gateway.session import endpoint
from apps.gateway.upstreams.openai.encode import body_of, head_of
from apps.gateway.upstreams.openai.errors import error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from apps.gateway.connection import Connection
    from apps.gateway.upstreams import Attempt

MAX_ERROR_BYTES = 64 * 1024


class OpenAI:
    """The adapter: it keeps nothing between two requests."""

    def open(self, attempt: Attempt) -> Exchange:
        """Send the request; what is raised and promised stands in `apps.gateway.upstreams`."""
        return Exchange(attempt)


class Exchange:
    """The context in which an answer is read, and the answer itself: one object for each request instead of three."""

    __slots__ = ("_attempt", "_connection", "_origin", "status")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._connection: Connection | None = None
        self.status = 0

    async def __aenter__(self) -> Self:
        attempt = self._attempt
        provider = attempt.target.provider
        try:
            to = endpoint(attempt.target.base_url + attempt.path)
            body = body_of(attempt)
            head = head_of(attempt, to, length=len(body))
            self._origin = to.origin
            self._connection = connection = await attempt.session.take(to.origin)
            await connection.ask(head, body)
        except Unanswered as e:
            self._leave()
            # A fresh connection may do.
            raise UpstreamBusy(f"The upstream `{provider}` closed the connection before it answered.") from e
        except (OSError, ValueError) as e:
            self._leave()
            raise UpstreamDown(f"The upstream `{provider}` cannot be reached.") from e
        except BaseException:
            self._leave()
            raise
        self.status = connection.status
        if self.status // 100 != 2:  # noqa: PLR2004 - the class of the status
            headers = self.headers
            raise error_of(self.status, headers, await self._refusal(connection), provider=provider)
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    @property
    def headers(self) -> Mapping[str, str]:
        """The answer's headers, by their names in lower case."""
        headers = self._connection.headers if self._connection is not None else ()
        return {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in headers}

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as the socket gave it; raises UpstreamCut when it ends early."""
        if self._connection is None:
            return
        read = self._connection.read
        try:
            while data := await read():
                yield data
        except OSError as e:
            raise UpstreamCut(f"The upstream `{self._attempt.target.provider}` broke off in the middle of its answer.") from e

    async def _refusal(self, connection: Connection) -> bytes:
        said = b""
        try:
            while len(said) < MAX_ERROR_BYTES and (data := await connection.read()):
                said += data
        except OSError:
            pass
        finally:
            self._leave()
        return said

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._attempt.session.release(self._origin, connection)
