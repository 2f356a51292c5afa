"""Which text is served, asked by every call: by label or by number, cached until something of the tenant's prompts changes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final
from uuid import UUID

from apps.prompts import rendering
from apps.prompts.models import HOT_KIND, PRODUCTION, SLUG
from menhir.postgres import pools, sql
from menhir.postgres.hot import HotCache

RESOLVE_RELEASE: Final = sql.load(__package__, "resolve_release")
RESOLVE_VERSION: Final = sql.load(__package__, "resolve_version")
LARGEST_NUMBER: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ResolvedVersion:
    """A version as the data plane knows it."""

    id: UUID
    prompt_slug: str
    number: int
    text: str
    variables: tuple[str, ...]


CACHE: Final = HotCache[ResolvedVersion](HOT_KIND)


async def resolve(tenant_id: UUID, slug: str, version: int | None = None, *, label: str = PRODUCTION) -> ResolvedVersion | None:
    """Give the numbered version, or without a number what the label points at; None when there is none, or it is archived.

    `slug` may also be the prompt's id, as the JSON API shows it.
    """
    if SLUG.fullmatch(slug) is None or SLUG.fullmatch(label) is None:
        return None
    if version is not None and not 0 < version <= LARGEST_NUMBER:
        return None
    wanted = (slug, label if version is None else version)
    return await CACHE.get(tenant_id, wanted, lambda: _load(tenant_id, slug, version, label))


async def _load(tenant_id: UUID, slug: str, version: int | None, label: str) -> ResolvedVersion | None:
    async with pools.gateway.connection() as conn:
        if version is None:
            row = await RESOLVE_RELEASE.one(conn, tenant_id=tenant_id, prompt=slug, label=label)
        else:
            row = await RESOLVE_VERSION.one(conn, tenant_id=tenant_id, prompt=slug, number=version)
    if row is None:
        return None
    return ResolvedVersion(row.version_id, row.slug, row.number, row.text, rendering.variables_of(row.text))
