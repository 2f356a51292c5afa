"""`/v1/models`: what this principal may use, routes and assistants alike."""

from __future__ import annotations

from typing import Any, Final

from apps.assistants import resolution
from apps.assistants.front.resolve import ASSISTANT_PREFIX
from apps.gateway import routing
from apps.gateway.errors import UnknownModel
from menhir.tenancy.principal import Principal

CREATED_UNKNOWN: Final = 0
"""Clients want a number here; a route is configuration and has no age that means anything."""


async def every(who: Principal) -> dict[str, Any]:
    """List everything that may stand in `model`."""
    return {"object": "list", "data": await _described(who)}


async def one(who: Principal, name: str) -> dict[str, Any]:
    """Describe one of them; raise `UnknownModel` when there is none of this name."""
    found = next((model for model in await _described(who) if model["id"] == name), None)
    if found is None:
        raise UnknownModel(f"There is no model `{name}`.", param="model")
    return found


async def _described(who: Principal) -> list[dict[str, Any]]:
    routes = await routing.names(who.tenant_id)
    assistants = await resolution.every(who.tenant_id)
    owner = who.tenant_slug
    return [
        *(_model(ASSISTANT_PREFIX + assistant.slug, int(assistant.created_at.timestamp()), owner) for assistant in assistants),
        *(_model(name, CREATED_UNKNOWN, owner) for name in routes),
    ]


def _model(name: str, created: int, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": created, "owned_by": owner}
