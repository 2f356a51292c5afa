"""Vectors of texts, asked of our own `/v1/embeddings`: metered, limited and recorded like anybody's call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from apps.gateway.client import client_for
from apps.knowledge.errors import EmbeddingBusy, EmbeddingRefused
from menhir.tenancy.principal import Principal

if TYPE_CHECKING:
    from openai import APIStatusError

TIMEOUT_SECONDS = 120.0
QUOTA = "insufficient_quota"

Vector = Sequence[float]


async def embed(texts: Sequence[str], *, model: str, principal: Principal) -> list[Vector]:
    """A vector for each text, in order. Raises EmbeddingBusy when another try may help, EmbeddingRefused when none will."""
    import openai  # it is heavy: a process that embeds nothing need not hold it

    client = client_for(principal).with_options(timeout=TIMEOUT_SECONDS, max_retries=1)
    try:
        answer = await client.embeddings.create(model=model, input=list(texts), encoding_format="float")
    except (openai.RateLimitError, openai.InternalServerError) as e:
        if e.code == QUOTA:
            raise EmbeddingRefused(f"The budget does not allow for embedding it with {model!r}: {said(e)}") from e
        raise EmbeddingBusy(f"The embedding model {model!r} is busy or away: {said(e)}") from e
    except openai.APIConnectionError as e:
        raise EmbeddingBusy(f"The embedding model {model!r} cannot be reached.") from e
    except openai.APIStatusError as e:
        raise EmbeddingRefused(f"The embedding model {model!r} refused: {said(e)}") from e
    vectors: list[Vector] = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
    if len(vectors) != len(texts):
        raise EmbeddingBusy(f"The embedding model {model!r} answered {len(vectors)} of {len(texts)} texts.")
    return vectors


def said(error: APIStatusError) -> str:
    """What the other side gave as its reason."""
    body = error.body
    message = body.get("message") if isinstance(body, dict) else None
    return str(message or error.message)[:300]


def as_literals(vectors: Sequence[Vector]) -> list[str]:
    """Vectors as pgvector writes them; half precision keeps three digits and a bit, so six are enough.

    >>> as_literals([[1.0, -0.25]])
    ['[1,-0.25]']
    """
    return [f"[{','.join(f'{number:.6g}' for number in vector)}]" for vector in vectors]
