"""One request in Gemini's wire, and its answer in OpenAI's."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from apps.gateway.session import endpoint
from apps.gateway.upstreams.exchange import Translation
from apps.gateway.upstreams.gemini import decode, embeddings, encode
from apps.gateway.upstreams.gemini.errors import error_of
from apps.gateway.upstreams.gemini.stream import Stream
from apps.gateway.upstreams.head import head_of

if TYPE_CHECKING:
    from apps.gateway.errors import UpstreamError
    from apps.gateway.session import Endpoint
    from apps.gateway.upstreams import Attempt

CREDENTIAL = ("x-goog-api-key", "")


class Gemini:
    """The adapter: it keeps nothing between two requests."""

    def open(self, attempt: Attempt) -> GeminiExchange | EmbeddingsExchange:
        """Send the request."""
        return EmbeddingsExchange(attempt) if attempt.operation == "embeddings" else GeminiExchange(attempt)


class GeminiExchange(Translation):
    """One call of `generateContent`, or of `streamGenerateContent`."""

    __slots__ = ()

    def request(self) -> tuple[Endpoint, bytes, bytes]:
        """Translate the request."""
        verb = "streamGenerateContent" if self._attempt.stream else "generateContent"
        return self._to(verb, encode.body_of(self._attempt))

    def refusal(self, body: bytes) -> UpstreamError:
        """Read Google's error."""
        return error_of(self.status, self.headers, body, provider=self._attempt.target.provider)

    def whole(self, body: bytes) -> bytes:
        """Translate the answer."""
        target = self._attempt.target
        return decode.whole(
            body, provider=target.provider, model=target.upstream_model, request_id=self._attempt.request_id, created=int(time.time())
        )

    def interpreter(self) -> Stream:
        """Translate the stream."""
        target = self._attempt.target
        return Stream(provider=target.provider, model=target.upstream_model, request_id=self._attempt.request_id, created=int(time.time()))

    def _to(self, verb: str, body: bytes) -> tuple[Endpoint, bytes, bytes]:
        attempt = self._attempt
        path = encode.path_of(attempt.target.upstream_model, verb, stream=attempt.stream)
        to = endpoint(attempt.target.base_url + path)
        return to, head_of(attempt, to, length=len(body), credential=CREDENTIAL), body


class EmbeddingsExchange(GeminiExchange):
    """One call of `batchEmbedContents`."""

    __slots__ = ()

    def request(self) -> tuple[Endpoint, bytes, bytes]:
        """Translate the request."""
        return self._to("batchEmbedContents", embeddings.body_of(self._attempt.body, self._attempt.target.upstream_model))

    def whole(self, body: bytes) -> bytes:
        """Translate the vectors."""
        attempt = self._attempt
        wanted, target = attempt.body.get("encoding_format"), attempt.target
        return embeddings.whole(body, encoding=wanted, provider=target.provider, model=target.upstream_model)
