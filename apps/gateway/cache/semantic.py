"""Questions that mean the same: where a route allows it, the answer to a near enough question is the answer to this one.

Only the last user message may differ, and only in its words: the route, the prompt's version, everything said before, tools and
parameters are hashed into a context, and nothing outside of it is ever compared. The message is embedded by the tenant's local model,
through our own `/v1/embeddings`, and stands in the ledger as a call of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

import msgspec
import structlog

from apps.gateway.cache import exact
from apps.gateway.cache.key import key_of
from apps.gateway.provisioning import local_embedding_model
from menhir.errors import Unavailable
from menhir.postgres import pools, sql
from menhir.tenancy.principal import system

if TYPE_CHECKING:
    from apps.gateway.cache.recording import Kept
    from apps.gateway.call import Call, ResolvedRoute

FIND: Final = sql.load("apps.gateway", "find_similar_answer")
MOST_CHARACTERS: Final = 2_000
"""A longer message is more than a question; its meaning is not one vector's."""
PATIENCE_SECONDS: Final = 5.0

log = structlog.get_logger(__name__)


class Meaning(msgspec.Struct, frozen=True, gc=False):
    """A question's vector, as pgvector writes it, and the context that it was asked in."""

    context: bytes
    literal: str


def question_of(body: dict[str, Any]) -> str | None:
    """The last message, when it is a user's and nothing but text that is short enough.

    >>> question_of({"messages": [{"role": "user", "content": "How?"}]})
    'How?'
    >>> question_of({"messages": [{"role": "tool", "content": "7"}]}) is None
    True
    """
    messages = body.get("messages")
    last = messages[-1] if isinstance(messages, list) and messages else None
    if not isinstance(last, dict) or last.get("role") != "user":
        return None
    content = last.get("content")
    return content if isinstance(content, str) and len(content.strip()) > 0 and len(content) <= MOST_CHARACTERS else None


async def meaning_of(call: Call, route: ResolvedRoute) -> Meaning | None:
    """Embed the question; None when there is none, or nobody to do it."""
    question = question_of(call.body)
    if question is None:
        return None
    messages = call.body["messages"]
    around = {**call.body, "messages": [*messages[:-1], {**messages[-1], "content": ""}]}
    model = local_embedding_model()
    vector = await _embed(question, model, call)
    if vector is None:
        return None
    return Meaning(key_of(call, route, body=around, salt=b"meaning by " + model.encode()), f"[{','.join(f'{x:.7g}' for x in vector)}]")


async def find(call: Call, meaning: Meaning, *, threshold: float, seconds: float) -> Kept | None:
    """The kept answer to the nearest question, when it is near enough."""
    tenant_id = call.principal.tenant_id
    try:
        async with pools.gateway.connection() as connection:
            row = await FIND.one(
                connection, tenant_id=tenant_id, context=meaning.context, embedding=meaning.literal, seconds=float(seconds)
            )
    except Unavailable:
        return None
    if row is None or row.similarity is None or row.similarity < threshold:
        return None
    key: UUID = row.id
    return await exact.find(tenant_id, key.bytes, seconds=seconds)


async def _embed(text: str, model: str, call: Call) -> list[float] | None:
    import openai  # it is heavy: a process whose routes compare words alone need not hold it

    from apps.gateway.client import client_for

    client = client_for(system(call.principal.tenant_id, call.principal.tenant_slug)).with_options(timeout=PATIENCE_SECONDS)
    try:
        answer = await client.embeddings.create(model=model, input=text, encoding_format="float")
    except openai.OpenAIError as error:
        log.warning("cache.meaning_unknown", model=model, error=str(error)[:300])
        return None
    return answer.data[0].embedding if answer.data else None
