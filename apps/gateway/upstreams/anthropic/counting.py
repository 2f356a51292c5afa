"""How many tokens a message would take, as whoever reads it counts: `POST /v1/messages/count_tokens`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec
import orjson

from apps.gateway.errors import UpstreamDown
from apps.gateway.session import endpoint
from apps.gateway.upstreams.anthropic.encode import betas_of
from apps.gateway.upstreams.anthropic.exchange import PATH, AnthropicExchange

if TYPE_CHECKING:
    from apps.gateway.session import Endpoint
    from apps.gateway.upstreams import Attempt


class Count(msgspec.Struct):
    """What is answered."""

    input_tokens: int


_count = msgspec.json.Decoder(Count)


async def count(attempt: Attempt) -> int:
    """Ask for the count of an attempt whose body is in Anthropic's wire; raises UpstreamError."""
    async with Counting(attempt) as answer:
        body = b"".join([part async for part in answer.chunks()])
    try:
        return _count.decode(body).input_tokens
    except msgspec.DecodeError as e:
        raise UpstreamDown(f"The upstream `{attempt.target.provider}` answered with something that is no count.") from e


class Counting(AnthropicExchange):
    """One count."""

    __slots__ = ()

    def request(self) -> tuple[Endpoint, bytes, bytes]:
        """Send the client's own words."""
        attempt = self._attempt
        body = {**attempt.body, "model": attempt.target.upstream_model}
        betas = betas_of(body.pop("betas", None))
        to = endpoint(f"{attempt.target.base_url}{PATH}/count_tokens")
        return to, self.head(to, length=len(sent := orjson.dumps(body)), betas=betas), sent

    def whole(self, body: bytes) -> bytes:
        """Leave the answer as it is."""
        return body
