"""`/v1/models`: what this principal may use, routes and assistants alike."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from apps.assistants import resolution
from apps.assistants.front.resolve import ASSISTANT_PREFIX
from apps.gateway import routing
from apps.gateway.errors import UnknownModel
from menhir.tenancy.principal import Principal

PATH: Final = "/v1/models"


async def every(who: Principal) -> dict[str, Any]:
    """List everything that may stand in `model`."""
    return {"object": "list", "data": [_model(name, since, who.tenant_slug) for name, since in await names(who)]}


async def one(who: Principal, name: str) -> dict[str, Any]:
    """Describe one of them; raise `UnknownModel` when there is none of this name."""
    return _model(name, await since(who, name), who.tenant_slug)


async def names(who: Principal) -> list[tuple[str, datetime]]:
    """Give every name, and since when it is there."""
    routes = await routing.names(who.tenant_id)
    assistants = await resolution.every(who.tenant_id)
    known = [*((ASSISTANT_PREFIX + assistant.slug, assistant.created_at) for assistant in assistants), *routes]
    return [one for one in known if who.may_use(one[0])]


async def since(who: Principal, name: str) -> datetime:
    """Give since when there is a model of this name; raise `UnknownModel` when there is none."""
    found = next((since for known, since in await names(who) if known == name), None)
    if found is None:
        raise UnknownModel(f"There is no model `{name}`.", param="model")
    return found


def _model(name: str, created_at: datetime, owner: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": int(created_at.timestamp()), "owned_by": owner}
