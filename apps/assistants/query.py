"""One question, answered with its sources: what `/api/v1/query` does.

It is a caller of our own `/v1` like any other, inside the process: the assistant grounds the question, the call is
metered, limited and recorded, and the sources are the passages that the answer itself carries.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

from apps.assistants import resolution
from apps.assistants.confidence import confidence
from apps.assistants.errors import NothingToAnswerWith, UnknownCollection
from apps.assistants.front.resolve import ASSISTANT_PREFIX
from apps.gateway import routing
from apps.gateway.client import client_for
from menhir.errors import Conflict, Forbidden, Invalid, LimitReached, MenhirError, TooLarge, Unavailable
from menhir.tenancy.principal import KNOWLEDGE_READ, Principal

if TYPE_CHECKING:
    from openai import APIStatusError

PLAIN_ROUTE: Final = "extract"
REFUSALS: Final[Mapping[int, type[MenhirError]]] = {
    400: Invalid,
    403: Forbidden,
    404: Conflict,  # the caller named nothing that is missing: the assistant is not in order
    413: TooLarge,
    422: Invalid,
    429: LimitReached,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a question."""

    text: str
    passages: Sequence[Mapping[str, Any]]
    confidence: float
    latency_ms: int


async def ask(
    question: str,
    *,
    by: Principal,
    session_id: UUID | None,
    most: int,
    collection: str | None,
    documents: Sequence[str],
) -> Answer:
    """Answer from these texts, else from this collection, else from what the tenant's default assistant looks into.

    The default assistant is the oldest that looks into the collection, or the tenant's oldest. Raises `UnknownCollection`,
    `NothingToAnswerWith`, or what the call itself came to.
    """
    began = time.perf_counter()
    collection_id: UUID | None = None
    options: dict[str, Any] = {"passages": most}
    if documents:
        options["documents"] = list(documents)
    elif collection is not None:
        options["collections"] = [collection]
    if collection is not None:
        try:
            (collection_id,) = await resolution.collections_named(by.tenant_id, [collection], param="collection")
        except UnknownCollection:
            by.require(KNOWLEDGE_READ)  # without it nobody learns which there are
            raise
    body: dict[str, Any] = {"menhir": options}
    from openai import APIConnectionError, APIStatusError  # held only by a process that asks

    if session_id is not None:
        body["metadata"] = {"session_id": str(session_id)}
    try:
        completion = await client_for(by).chat.completions.create(
            model=await _model(by.tenant_id, collection_id),
            messages=[{"role": "user", "content": question}],
            extra_body=body,
        )
    except APIStatusError as refused:
        raise _ours(refused) from refused
    except APIConnectionError as away:
        raise Unavailable from away
    text = completion.choices[0].message.content or ""
    passages: Sequence[Mapping[str, Any]] = (completion.model_extra or {}).get("menhir", {}).get("passages", [])
    return Answer(
        text=text,
        passages=passages,
        confidence=confidence(question, text, [passage["text"] for passage in passages]),
        latency_ms=round((time.perf_counter() - began) * 1000),
    )


async def _model(tenant_id: UUID, collection_id: UUID | None) -> str:
    assistant = await resolution.answering_for(tenant_id, collection_id)
    if assistant is not None:
        return ASSISTANT_PREFIX + assistant
    if await routing.resolve(tenant_id, PLAIN_ROUTE) is None:
        raise NothingToAnswerWith
    return PLAIN_ROUTE


def _ours(refused: APIStatusError) -> MenhirError:
    said = refused.body if isinstance(refused.body, dict) else {}
    message = said.get("message")
    return REFUSALS.get(refused.status_code, Unavailable)(message if isinstance(message, str) else None)
