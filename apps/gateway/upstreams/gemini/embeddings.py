"""Embeddings: Gemini's `batchEmbedContents`, asked and answered."""

from __future__ import annotations

import base64
import sys
from array import array
from typing import TYPE_CHECKING, Any

import msgspec
import orjson

from apps.gateway.errors import UpstreamDown
from apps.gateway.upstreams.openai.request import refuse

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

MOST_TEXTS = 100
"""Google: "at most 100 requests can be in one batch". OpenAI's clients send up to 2,048 texts."""
OWN = ("taskType", "title")
"""What a client may say in Gemini's words."""


class Embedding(msgspec.Struct):
    """The vector of one text."""

    values: list[float]


class Embeddings(msgspec.Struct, rename="camel"):
    """The vectors in the order of the texts; Gemini need not say what it read."""

    embeddings: list[Embedding]
    usage_metadata: dict[str, Any] | None = None


_embeddings = msgspec.json.Decoder(Embeddings)


def bodies_of(body: Mapping[str, Any], model: str) -> list[bytes]:
    """Give the requests, one for each batch; raises UpstreamRefused for what is no text."""
    texts = body.get("input")
    texts = [texts] if isinstance(texts, str) else texts
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        refuse("Gemini embeds texts: `input` is one, or a list of them.", param="input")
    said: dict[str, Any] = {"model": model if "/" in model else f"models/{model}", **{name: body[name] for name in OWN if name in body}}
    if body.get("dimensions") is not None:
        said["outputDimensionality"] = body["dimensions"]
    requests = [{**said, "content": {"parts": [{"text": text}]}} for text in texts]
    return [orjson.dumps({"requests": requests[at : at + MOST_TEXTS]}) for at in range(0, len(requests) or 1, MOST_TEXTS)]


def whole(said: Sequence[bytes], *, encoding: Any, provider: str, model: str) -> bytes:
    """Give OpenAI's list of what the batches were answered with, in their order; raises UpstreamDown for what is none.

    Where Gemini does not count, nobody pretends that it did.
    """
    try:
        answers = [_embeddings.decode(batch) for batch in said]
    except (msgspec.DecodeError, UnicodeDecodeError) as e:
        raise UpstreamDown(f"The upstream `{provider}` answered with something that is not embeddings.") from e
    if any(len(answer.embeddings) != MOST_TEXTS for answer in answers[:-1]):
        raise UpstreamDown(f"The upstream `{provider}` embedded some of the texts, and did not say which.")
    data = [
        {"object": "embedding", "index": index, "embedding": encoded(item.values) if encoding == "base64" else item.values}
        for index, item in enumerate(item for answer in answers for item in answer.embeddings)
    ]
    listed: dict[str, Any] = {"object": "list", "data": data, "model": model}
    counts = [(answer.usage_metadata or {}).get("promptTokenCount") for answer in answers]
    if all(isinstance(count, int) for count in counts):
        listed["usage"] = {"prompt_tokens": sum(counts), "total_tokens": sum(counts)}
    return orjson.dumps(listed)


def encoded(vector: list[float]) -> str:
    """Give a vector as base64 of little-endian 32-bit floats.

    >>> encoded([1.0])
    'AACAPw=='
    """
    floats = array("f", vector)
    if sys.byteorder == "big":
        floats.byteswap()
    return base64.b64encode(floats.tobytes()).decode()
