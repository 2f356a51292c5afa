"""How a route's calls are captured, read with it as the data plane's role."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from apps.gateway.capture.recording import Policy
from apps.gateway.guardrails.pii import PersonalData
from menhir.postgres import sql

if TYPE_CHECKING:
    from uuid import UUID

    from apps.gateway.guardrails.guarding import RouteGuards

CAPTURE_OF_ROUTE = sql.load(__package__, "capture_of_route")


async def policy_of(connection: Any, tenant_id: UUID, route: str, guards: RouteGuards | None) -> Policy | None:
    """Give the policy; None when nothing is kept. What is personal is what the tenant's own guardrail takes for it, if he has one."""
    row = await CAPTURE_OF_ROUTE.one(connection, tenant_id=tenant_id, route=route)
    if row is None or not row.enabled:
        return None
    finder = None
    if row.redact:
        own = [guard.finder for guard in (guards.guards if guards is not None else ()) if guard.kind == "pii"]
        finder = own[0] if own else PersonalData()
    return Policy(keep_days=row.keep_days, finder=finder)
