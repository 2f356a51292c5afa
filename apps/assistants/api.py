"""`/api/v1/assistants`, `/api/v1/query`, and (in `issuers`) `/api/v1/token-issuers`."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Final, Self
from uuid import UUID

from ninja import Field, Router, Schema, Status
from pydantic import AfterValidator, StringConstraints

from apps.assistants import issuers, query
from apps.assistants.errors import UnfitAssistant, UnknownAssistant, UnknownCollection
from apps.assistants.models import (
    DEFAULT_PASSAGES,
    DESCRIPTION_LIMIT_CHARACTERS,
    MOST_COLLECTIONS,
    MOST_PASSAGES,
    NAME_LIMIT_CHARACTERS,
    Assistant,
)
from apps.knowledge.models import Collection
from apps.prompts.models import PRODUCTION, Prompt
from menhir.tenancy.fields import Strict, Text, storable
from menhir.tenancy.http import TenantRequest, in_tenant, needs
from menhir.tenancy.principal import INFERENCE

READ: Final = needs("prompts:read")
WRITE: Final = needs("prompts:write")
QUESTION_LEAST_CHARACTERS: Final = 3
QUESTION_MOST_CHARACTERS: Final = 8_000
MOST_DOCUMENTS: Final = 100

assistants = Router(tags=["assistants"])
assistants.add_decorator(in_tenant, mode="operation")
router = Router(tags=["assistants"])
router.add_router("", assistants)
router.add_router("", issuers.router)

Name = Annotated[Text, Field(max_length=NAME_LIMIT_CHARACTERS)]
Description = Annotated[Text, Field(max_length=DESCRIPTION_LIMIT_CHARACTERS)]
Passages = Annotated[int, Field(ge=1, le=MOST_PASSAGES, strict=True)]
Collections = Annotated[list[Text], Field(max_length=MOST_COLLECTIONS)]
Question = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=QUESTION_LEAST_CHARACTERS, max_length=QUESTION_MOST_CHARACTERS),
    AfterValidator(storable),
]


class AssistantIn(Schema):
    """A new assistant: the prompt it speaks by, the model it asks, the collections it looks into."""

    slug: Text
    name: Name = ""
    description: Description = ""
    prompt: Text
    label: Text = PRODUCTION
    variables: dict[str, Any] = {}
    route: Name
    passages: Passages = DEFAULT_PASSAGES
    collections: Collections = []


class AssistantChange(Schema):
    """What shall be different about an assistant; what is left out stays."""

    name: Name | None = None
    description: Description | None = None
    prompt: Text | None = None
    label: Text | None = None
    variables: dict[str, Any] | None = None
    route: Name | None = None
    passages: Passages | None = None
    collections: Collections | None = None


class AssistantOut(Schema):
    """An assistant, and what to write into `model` to ask it."""

    id: UUID
    slug: str
    model: str
    name: str
    description: str
    prompt: str
    label: str
    variables: dict[str, Any]
    route: str
    passages: int
    collections: list[str]
    created_at: datetime

    @classmethod
    def of(cls, assistant: Assistant) -> Self:
        """Show an assistant."""
        return cls(
            id=assistant.id,
            slug=assistant.slug,
            model=f"assistant:{assistant.slug}",
            name=assistant.name,
            description=assistant.description,
            prompt=assistant.prompt.slug,
            label=assistant.label,
            variables=assistant.variables,
            route=assistant.route_name,
            passages=assistant.passages_limit,
            collections=[collection.slug for collection in assistant.collections],
            created_at=assistant.created_at,
        )


class AssistantList(Schema):
    """Every assistant of the tenant, by slug."""

    assistants: list[AssistantOut]


class QueryIn(Strict):
    """A question, and what to answer it from: `documents`, else `collection`, else what the default assistant looks into."""

    question: Question
    session_id: UUID | None = None
    max_results: Annotated[int, Field(ge=1, le=50, strict=True)] = 5
    collection: Text | None = None
    documents: Annotated[list[Text], Field(max_length=MOST_DOCUMENTS)] | None = None


class Source(Schema):
    """A passage that was found; the answer cites the first as `[1]`, the second as `[2]`, and so on."""

    document: str
    external_id: str
    title: str
    chunk: str
    text: str
    score: float
    start: int
    end: int


class QueryOut(Schema):
    """An answer with its sources; `confidence` (0 to 1) is how far the cited ones support it, 0 when none does."""

    answer: str
    sources: list[Source]
    confidence: float
    latency_ms: int


@assistants.get("/assistants", response=AssistantList, auth=READ)
def list_assistants(request: TenantRequest) -> AssistantList:
    """List the assistants."""
    assistants = Assistant.objects.within(request.tenant).select_related("prompt").order_by("slug")
    return AssistantList(assistants=[AssistantOut.of(assistant) for assistant in assistants])


@assistants.post("/assistants", response={201: AssistantOut}, auth=WRITE)
def create_assistant(request: TenantRequest, body: AssistantIn) -> Status[AssistantOut]:
    """Make an assistant; it answers from the next call on."""
    assistant = Assistant.create(
        request.tenant,
        slug=body.slug,
        name=body.name,
        description=body.description,
        prompt=_prompt(request, body.prompt),
        label=body.label,
        variables=body.variables,
        route_name=body.route,
        passages_limit=body.passages,
        collections=_collections(request, body.collections),
        by=request.principal,
    )
    return Status(201, AssistantOut.of(assistant))


@assistants.get("/assistants/{slug}", response=AssistantOut, auth=READ)
def get_assistant(request: TenantRequest, slug: str) -> AssistantOut:
    """Show one assistant."""
    return AssistantOut.of(_assistant(request, slug))


@assistants.patch("/assistants/{slug}", response=AssistantOut, auth=WRITE)
def change_assistant(request: TenantRequest, slug: str, body: AssistantChange) -> AssistantOut:
    """Change an assistant; it answers by the change from the next call on."""
    assistant = _assistant(request, slug)
    if body.prompt is not None:
        assistant.prompt = _prompt(request, body.prompt)
    assistant.name = body.name if body.name is not None else assistant.name
    assistant.description = body.description if body.description is not None else assistant.description
    assistant.label = body.label if body.label is not None else assistant.label
    assistant.variables = body.variables if body.variables is not None else assistant.variables
    assistant.route_name = body.route if body.route is not None else assistant.route_name
    assistant.passages_limit = body.passages if body.passages is not None else assistant.passages_limit
    assistant.revise(by=request.principal)
    if body.collections is not None:
        assistant.look_into(_collections(request, body.collections), by=request.principal)
    return AssistantOut.of(assistant)


@router.post("/query", response=QueryOut, auth=needs(INFERENCE))
async def ask(request: TenantRequest, body: QueryIn) -> QueryOut:
    """Answer a question from documents, and show them."""
    answer = await query.ask(
        body.question,
        by=request.principal,
        session_id=body.session_id,
        most=body.max_results,
        collection=body.collection,
        documents=body.documents or (),
    )
    return QueryOut(
        answer=answer.text,
        sources=[Source.model_validate(passage) for passage in answer.passages],
        confidence=answer.confidence,
        latency_ms=answer.latency_ms,
    )


def _assistant(request: TenantRequest, slug: str) -> Assistant:
    found = Assistant.objects.within(request.tenant).select_related("prompt")
    assistant: Assistant | None = found.filter(slug=slug).first() if "\x00" not in slug else None
    if assistant is None:
        raise UnknownAssistant(f"There is no assistant `{slug}`.", param="slug")
    return assistant


def _prompt(request: TenantRequest, slug: str) -> Prompt:
    prompt: Prompt | None = Prompt.objects.within(request.tenant).filter(slug=slug).first()
    if prompt is None:
        raise UnfitAssistant(f"There is no prompt `{slug}`.", param="prompt")
    return prompt


def _collections(request: TenantRequest, slugs: list[str]) -> list[Collection]:
    found = {found.slug: found for found in Collection.objects.within(request.tenant).filter(slug__in=slugs)}
    for slug in slugs:
        if slug not in found:
            raise UnknownCollection(f"There is no collection `{slug}`.", param="collections")
    return [found[slug] for slug in slugs]
