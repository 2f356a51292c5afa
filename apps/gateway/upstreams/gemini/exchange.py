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
    from collections.abc import AsyncIterator

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
    """As many calls of `batchEmbedContents` as the texts need, one after another: the first is the one that is opened."""

    __slots__ = ("_bodies",)

    def __init__(self, attempt: Attempt, bodies: list[bytes] | None = None) -> None:
        super().__init__(attempt)
        self._bodies = bodies

    def request(self) -> tuple[Endpoint, bytes, bytes]:
        """Translate the request."""
        if self._bodies is None:
            self._bodies = embeddings.bodies_of(self._attempt.body, self._attempt.target.upstream_model)
        return self._to("batchEmbedContents", self._bodies[0])

    async def chunks(self) -> AsyncIterator[bytes]:
        """Ask for the other batches, too, and give all vectors as one answer."""
        attempt, said = self._attempt, [await self._read()]
        for body in (self._bodies or ())[1:]:
            async with EmbeddingsExchange(attempt, [body]) as batch:
                said.append(await batch._read())
        wanted, target = attempt.body.get("encoding_format"), attempt.target
        yield embeddings.whole(said, encoding=wanted, provider=target.provider, model=target.upstream_model)
