"""From the name in `model` to the places that can answer, out of memory.

Read as the data plane's role, kept by `HotCache` and forgotten when the tenant's configuration changes. Credentials are
unsealed when a route is loaded, once, and live in this process's memory only.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any, NamedTuple

import orjson

from apps.gateway.call import ResolvedBranch, ResolvedRoute, ResolvedTarget
from apps.gateway.capture.loading import policy_of
from apps.gateway.guardrails import loading
from apps.gateway.health import health_of
from apps.gateway.patterns import branching
from menhir.metering.tariffs import Tariff
from menhir.postgres import pools, sql
from menhir.postgres.hot import HotCache
from menhir.tenancy.sealing import unseal

if TYPE_CHECKING:
    from datetime import datetime
    from uuid import UUID

    from apps.gateway.capture.recording import Policy
    from apps.gateway.guardrails.guarding import RouteGuards

KIND = "route"
PURPOSE = "menhir.gateway.credential"
"""What a provider's credential is sealed for."""
RESOLVE_ROUTE = sql.load(__package__, "resolve_route")
ROUTE_NAMES = sql.load(__package__, "route_names")

_routes: HotCache[ResolvedRoute] = HotCache(KIND)


class Named(NamedTuple):
    """A name that may stand in `model`, and since when."""

    name: str
    created_at: datetime


_names: HotCache[tuple[Named, ...]] = HotCache(KIND)


async def resolve(tenant_id: UUID, name: str) -> ResolvedRoute | None:
    """Give a tenant's route of this name, with its targets in order; None when there is none that leads anywhere."""
    if (known := _routes.known(tenant_id, name)) is not None:
        return known[1]

    async def load() -> ResolvedRoute | None:
        async with pools.gateway.connection() as connection:
            rows = await RESOLVE_ROUTE.all(connection, tenant_id=tenant_id, name=name)
            guards = await loading.guards_of(connection, tenant_id, name) if rows else None
            capture = await policy_of(connection, tenant_id, name, guards) if rows else None
        if not rows:
            return None
        return _route(tenant_id, name, rows, guards, capture)

    return await _routes.get(tenant_id, name, load)


async def names(tenant_id: UUID) -> tuple[Named, ...]:
    """Give every name a tenant's clients may write into `model`."""

    async def load() -> tuple[Named, ...]:
        async with pools.gateway.connection() as connection:
            return tuple(Named(row.name, row.created_at) for row in await ROUTE_NAMES.all(connection, tenant_id=tenant_id))

    return await _names.get(tenant_id, "", load) or ()


def _route(tenant_id: UUID, name: str, rows: list[Any], guards: RouteGuards | None, capture: Policy | None) -> ResolvedRoute | None:
    first = rows[0]
    targets = tuple(_target(tenant_id, row) for row in rows if row.target_id is not None)
    branches = tuple(_branch(said) for said in first.branches or ())
    if not targets and not branches:
        return None
    return ResolvedRoute(
        name=name,
        id=first.route_id,
        targets=tuple(target for target in targets if target.role == "answer"),
        shadows=tuple(target for target in targets if target.role == "shadow"),
        branches=branches,
        classifier=first.classifier,
        strategy=first.strategy,
        retries=first.retries,
        total_timeout_seconds=first.total_timeout_seconds,
        hedge_seconds=first.hedge_seconds,
        max_output_tokens=first.max_output_tokens,
        cache_seconds=first.cache_seconds,
        stale_seconds=first.stale_seconds,
        semantic_threshold=first.semantic_threshold,
        fingerprint=_fingerprint(first, [target for target in targets if target.role == "answer"], guards),
        guards=guards,
        capture=capture,
    )


def _fingerprint(route: Any, targets: list[ResolvedTarget], guards: RouteGuards | None) -> bytes:
    """A hash of what decides how a question is answered. Patience, prices and credentials are none of it."""
    places = [[str(t.provider_id), t.kind, t.base_url, dict(t.headers), t.upstream_model, t.position, t.weight] for t in targets]
    decided = [str(route.route_id), route.strategy, route.max_output_tokens, places, guards.fingerprint if guards is not None else ""]
    return hashlib.blake2b(orjson.dumps(decided, option=orjson.OPT_SORT_KEYS), digest_size=16).digest()


def _branch(said: dict[str, Any]) -> ResolvedBranch:
    return ResolvedBranch(
        label=said["label"],
        description=said["description"],
        route=said["route"],
        pattern=branching(said["matches"]) if said["matches"] else None,
        longer_than=said["longer_than"],
        has_tools=said["has_tools"],
        has_images=said["has_images"],
    )


def _target(tenant_id: UUID, row: Any) -> ResolvedTarget:
    place = (row.target_id, row.base_url, hash(row.sealed))
    return ResolvedTarget(
        health=health_of(place, tenant_id=tenant_id, provider=row.provider, upstream_model=row.upstream_model),
        id=row.target_id,
        kind=row.kind,
        provider=row.provider,
        provider_id=row.provider_id,
        base_url=row.base_url.rstrip("/"),
        credential=unseal(bytes(row.sealed), purpose=PURPOSE, tenant_id=tenant_id, row_id=row.provider_id)
        if row.sealed is not None
        else "",
        headers=row.headers,
        upstream_model=row.upstream_model,
        tariff=row.tariff,
        price=Tariff(input=row.input_price, cached_input=row.cached_input_price, output=row.output_price)
        if row.input_price is not None
        else None,
        position=row.position,
        weight=row.weight,
        role=row.role,
        guarded=row.guarded,
        first_byte_timeout_seconds=row.first_byte_timeout_seconds,
        idle_timeout_seconds=row.idle_timeout_seconds,
        answer_timeout_seconds=row.answer_timeout_seconds,
    )
