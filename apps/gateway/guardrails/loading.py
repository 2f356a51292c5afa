"""The guardrails of a route, read with it as the data plane's role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import orjson

from apps.gateway.errors import GuardrailUnavailable
from apps.gateway.guardrails.guard import Guard, guard_of
from apps.gateway.guardrails.guarding import RouteGuards
from menhir.errors import Invalid
from menhir.postgres import sql
from menhir.tenancy.sealing import unseal

if TYPE_CHECKING:
    from uuid import UUID

PURPOSE = "menhir.gateway.guardrail"
"""What a webhook's secret is sealed for."""
GUARDRAILS_OF_ROUTE = sql.load(__package__, "guardrails_of_route")


async def guards_of(connection: Any, tenant_id: UUID, route: str) -> RouteGuards | None:
    """Give what watches over a route's calls, in order; None when nothing does."""
    rows = await GUARDRAILS_OF_ROUTE.all(connection, tenant_id=tenant_id, route=route)
    if not rows:
        return None
    decided = [[row.name, row.kind, row.stage, row.action, row.settings, [str(key) for key in row.keys]] for row in rows]
    return RouteGuards(
        tuple(_guard(tenant_id, row) for row in rows), fingerprint=orjson.dumps(decided, option=orjson.OPT_SORT_KEYS).decode()
    )


def _guard(tenant_id: UUID, row: Any) -> Guard:
    secret = unseal(bytes(row.sealed), purpose=PURPOSE, tenant_id=tenant_id, row_id=row.id) if row.sealed is not None else ""
    try:
        return guard_of(row, secret=secret)
    except Invalid as e:  # it was checked when it was written: what it was checked by has changed
        raise GuardrailUnavailable(f"The guardrail `{row.name}` cannot be read any more: {e.message}", guardrail=row.name) from e
