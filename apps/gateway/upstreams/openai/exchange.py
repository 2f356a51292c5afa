"""One request and its answer, both as they are."""

from __future__ import annotations

from typing import TYPE_CHECKING

from apps.gateway.session import endpoint
from apps.gateway.upstreams.exchange import Exchange
from apps.gateway.upstreams.head import head_of
from apps.gateway.upstreams.openai.encode import body_of
from apps.gateway.upstreams.openai.errors import error_of

if TYPE_CHECKING:
    from apps.gateway.errors import UpstreamError
    from apps.gateway.session import Endpoint
    from apps.gateway.upstreams import Attempt

CREDENTIAL = ("Authorization", "Bearer ")


class OpenAI:
    """The adapter: it keeps nothing between two requests."""

    def open(self, attempt: Attempt) -> OpenAIExchange:
        """Send the request; what is raised and promised stands in `apps.gateway.upstreams`."""
        return OpenAIExchange(attempt)


class OpenAIExchange(Exchange):
    """An exchange in the wire that the client speaks."""

    __slots__ = ()

    def request(self) -> tuple[Endpoint, bytes, bytes]:
        """Give the client's own bytes, where nothing has to change."""
        attempt = self._attempt
        to = endpoint(attempt.target.base_url + attempt.path)
        body = body_of(attempt)
        return to, head_of(attempt, to, length=len(body), credential=CREDENTIAL), body

    def refusal(self, body: bytes) -> UpstreamError:
        """Read OpenAI's error."""
        return error_of(self.status, self.headers, body, provider=self._attempt.target.provider)
