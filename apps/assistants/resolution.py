"""What a tenant's assistant is made of, asked by every call to it: cached until one of the tenant's assistants changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

from apps.assistants.errors import UnknownCollection
from apps.assistants.models import HOT_KIND
from apps.prompts.models import SLUG
from menhir.postgres import pools, sql
from menhir.postgres.hot import HotCache

RESOLVE_ASSISTANT: Final = sql.load(__package__, "resolve_assistant")
LIST_ASSISTANTS: Final = sql.load(__package__, "list_assistants")
FIND_ASSISTANT_FOR: Final = sql.load(__package__, "find_assistant_for")
FIND_COLLECTIONS: Final = sql.load(__package__, "find_collections")


@dataclass(frozen=True, slots=True)
class ResolvedAssistant:
    """An assistant as the data plane knows it."""

    id: UUID
    slug: str
    prompt: str
    label: str
    variables: Mapping[str, object]
    route_name: str
    passages_limit: int
    collections: tuple[UUID, ...]


@dataclass(frozen=True, slots=True)
class ListedAssistant:
    """An assistant as `/v1/models` shows it."""

    slug: str
    created_at: datetime


ASSISTANTS: Final = HotCache[ResolvedAssistant](HOT_KIND)
LISTS: Final = HotCache[tuple[ListedAssistant, ...]](HOT_KIND)


async def resolve(tenant_id: UUID, slug: str) -> ResolvedAssistant | None:
    """Give the tenant's assistant of this slug, or None."""
    if SLUG.fullmatch(slug) is None:
        return None
    return await ASSISTANTS.get(tenant_id, slug, lambda: _load(tenant_id, slug))


async def every(tenant_id: UUID) -> tuple[ListedAssistant, ...]:
    """Give all of the tenant's assistants, by slug."""
    return await LISTS.get(tenant_id, None, lambda: _list(tenant_id)) or ()


async def answering_for(tenant_id: UUID, collection_id: UUID | None) -> str | None:
    """Give the slug of the assistant that answers about this collection, or about anything; None when there is none."""
    async with pools.gateway.connection() as conn:
        row = await FIND_ASSISTANT_FOR.one(conn, tenant_id=tenant_id, collection_id=collection_id)
    return row.slug if row is not None else None


async def collections_named(tenant_id: UUID, slugs: Sequence[str], *, param: str) -> tuple[UUID, ...]:
    """Give the ids of the tenant's collections, in the order of the slugs; raise `UnknownCollection` for the first that is not there."""
    known: dict[str, UUID] = {}
    if storable := [slug for slug in slugs if "\x00" not in slug]:
        async with pools.app.tenant(tenant_id) as conn:
            rows = await FIND_COLLECTIONS.all(conn, tenant_id=tenant_id, slugs=storable)
        known = {row.slug: row.collection_id for row in rows}
    for slug in slugs:
        if slug not in known:
            raise UnknownCollection(f"There is no collection `{slug}`.", param=param)
    return tuple(known[slug] for slug in slugs)


async def _load(tenant_id: UUID, slug: str) -> ResolvedAssistant | None:
    async with pools.gateway.connection() as conn:
        row = await RESOLVE_ASSISTANT.one(conn, tenant_id=tenant_id, slug=slug)
    if row is None:
        return None
    return ResolvedAssistant(
        id=row.assistant_id,
        slug=slug,
        prompt=row.prompt,
        label=row.label,
        variables=row.variables,
        route_name=row.route_name,
        passages_limit=row.passages_limit,
        collections=tuple(row.collections),
    )


async def _list(tenant_id: UUID) -> tuple[ListedAssistant, ...]:
    async with pools.gateway.connection() as conn:
        rows = await LIST_ASSISTANTS.all(conn, tenant_id=tenant_id)
    return tuple(ListedAssistant(row.slug, row.created_at) for row in rows)
