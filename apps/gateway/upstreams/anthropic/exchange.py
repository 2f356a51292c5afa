"""One request in Anthropic's wire, and its answer in OpenAI's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from apps.gateway.errors import UpstreamUnfit
from apps.gateway.session import endpoint
from apps.gateway.upstreams.anthropic.decode import whole
from apps.gateway.upstreams.anthropic.encode import request_of
from apps.gateway.upstreams.anthropic.errors import error_of
from apps.gateway.upstreams.anthropic.stream import Stream
from apps.gateway.upstreams.exchange import Translation
from apps.gateway.upstreams.head import head_of

if TYPE_CHECKING:
    from apps.gateway.errors import UpstreamError
    from apps.gateway.session import Endpoint
    from apps.gateway.upstreams import Attempt

PATH = "/messages"
CREDENTIAL = ("x-api-key", "")
VERSION = "anthropic-version"
SPOKEN = ("anthropic-version: 2023-06-01",)
"""The version of the wire that is spoken here; a provider's header may name another."""


class Anthropic:
    """The adapter: it keeps nothing between two requests."""

    def open(self, attempt: Attempt) -> AnthropicExchange:
        """Send the request; raises UpstreamUnfit for anything but chat."""
        if attempt.operation != "chat":
            raise UpstreamUnfit("Claude answers chat completions, and nothing else.", param="model")
        return AnthropicExchange(attempt)


class AnthropicExchange(Translation):
    """One call of `POST /v1/messages`."""

    __slots__ = ("_by_tool",)

    def request(self) -> tuple[Endpoint, bytes, bytes]:
        """Translate the request."""
        attempt = self._attempt
        request = request_of(attempt)
        self._by_tool = request.answers_by_tool
        to = endpoint(attempt.target.base_url + PATH)
        return to, self.head(to, length=len(request.body), betas=request.betas), request.body

    def head(self, to: Endpoint, *, length: int, betas: str) -> bytes:
        """Give the head of a request in Anthropic's wire."""
        attempt = self._attempt
        named = any(name.strip().lower() == VERSION for name in attempt.target.headers)
        more = () if named else SPOKEN
        if betas:
            more = (*more, f"anthropic-beta: {betas}")
        return head_of(attempt, to, length=length, credential=CREDENTIAL, more=more)

    def refusal(self, body: bytes) -> UpstreamError:
        """Read Anthropic's error."""
        return error_of(self.status, self.headers, body, provider=self._attempt.target.provider)

    def whole(self, body: bytes) -> bytes:
        """Translate the answer."""
        return whole(body, by_tool=self._by_tool, provider=self._attempt.target.provider, created=int(time.time()))

    def interpreter(self) -> Stream:
        """Translate the stream."""
        target = self._attempt.target
        return Stream(by_tool=self._by_tool, provider=target.provider, model=target.upstream_model, created=int(time.time()))
