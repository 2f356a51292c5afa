"""One request and its answer over aiohttp."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Self

import aiohttp
from yarl import URL

from apps.gateway.errors import UpstreamBusy, UpstreamCut, UpstreamDown
from apps.gateway.upstreams.openai.encode import body_of, headers_of
from apps.gateway.upstreams.openai.errors import error_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from types import TracebackType

    from apps.gateway.upstreams import Attempt

MAX_ERROR_BYTES = 64 * 1024


class OpenAI:
    """The adapter: it keeps nothing between two requests."""

    def open(self, attempt: Attempt) -> Exchange:
        """Send the request; what is raised and promised stands in `apps.gateway.upstreams`."""
        return Exchange(attempt)


class Exchange:
    """The context in which an answer is read, and the answer itself: one object for each request instead of three."""

    __slots__ = ("_attempt", "_response", "headers", "status")

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._response: aiohttp.ClientResponse | None = None
        self.status = 0
        self.headers: Mapping[str, str] = {}

    async def __aenter__(self) -> Self:
        attempt = self._attempt
        provider = attempt.target.provider
        try:
            response = await attempt.session.post(
                _url(attempt.target.base_url + attempt.path),
                data=body_of(attempt),
                headers=headers_of(attempt),
                # A redirect would carry the credential to wherever it points.
                allow_redirects=False,
            )
        except aiohttp.ServerDisconnectedError as e:
            # Most often a kept connection that the other side closed as we took it up: a fresh one may do.
            raise UpstreamBusy(f"The upstream `{provider}` closed the connection before it answered.") from e
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as e:
            raise UpstreamDown(f"The upstream `{provider}` cannot be reached.") from e
        self._response = response
        if response.status // 100 != 2:  # noqa: PLR2004 - the class of the status
            try:
                body = await response.content.read(MAX_ERROR_BYTES)
            except (aiohttp.ClientError, OSError):
                body = b""
            finally:
                self._leave()
            raise error_of(response.status, response.headers, body, provider=provider)
        self.status = response.status
        self.headers = response.headers
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._leave()

    async def chunks(self) -> AsyncIterator[bytes]:
        """Give the body as the socket gave it; raises UpstreamCut when it ends early."""
        if self._response is None:
            return
        provider = self._attempt.target.provider
        content = self._response.content
        try:
            while data := await content.readany():
                yield data
        except (aiohttp.ClientError, OSError) as e:
            raise UpstreamCut(f"The upstream `{provider}` broke off in the middle of its answer.") from e

    def _leave(self) -> None:
        response, self._response = self._response, None
        if response is None:
            return
        if response.content.is_eof():
            response.release()
        else:
            # Closing is the one way to tell the other side to stop generating.
            response.close()


@lru_cache(maxsize=1024)
def _url(url: str) -> URL:
    return URL(url)
