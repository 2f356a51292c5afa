"""`/api/v1/providers` and `/api/v1/routes`: who runs models for a tenant, and what his clients call them."""

from __future__ import annotations

from typing import Any, Final

from django.http import HttpResponse
from ninja import Query, Router, Status

from apps.gateway import arranging
from apps.gateway.arranging import provider_named, route_named
from apps.gateway.models import Branch, Provider, Route, Target
from apps.gateway.shapes import (
    BranchIn,
    Listing,
    Policy,
    ProviderChange,
    ProviderIn,
    ProviderList,
    ProviderOut,
    RouteIn,
    RouteOut,
    RoutePage,
    TargetIn,
)
from menhir.tenancy.http import TenantRequest, in_tenant, needs

READ: Final = needs("gateway:read")
WRITE: Final = needs("gateway:write")
NESTED: Final = frozenset({"name", "targets", "branches", "classifier_model"})

router = Router(tags=["gateway"])
router.add_decorator(in_tenant, mode="operation")


@router.get("/providers", response=ProviderList, auth=READ)
def list_providers(request: TenantRequest) -> ProviderList:
    """List the providers by slug."""
    providers = Provider.objects.within(request.tenant).order_by("slug")
    return ProviderList(providers=[ProviderOut.of(provider) for provider in providers])


@router.post("/providers", response={201: ProviderOut}, auth=WRITE)
def create_provider(request: TenantRequest, body: ProviderIn) -> Status[ProviderOut]:
    """Name somebody who runs models; his address must be on the open internet."""
    provider = Provider(tenant=request.tenant)
    arranging.put_provider(provider, body.model_dump(exclude={"credential"}), credential=body.credential, by=request.principal)
    return Status(201, ProviderOut.of(provider))


@router.get("/providers/{slug}", response=ProviderOut, auth=READ)
def get_provider(request: TenantRequest, slug: str) -> ProviderOut:
    """Show one provider, without its credential."""
    return ProviderOut.of(provider_named(request.tenant, slug))


@router.patch("/providers/{slug}", response=ProviderOut, auth=WRITE)
def change_provider(request: TenantRequest, slug: str, body: ProviderChange) -> ProviderOut:
    """Change a provider, or give it a new credential; calls go by it within a second."""
    provider = provider_named(request.tenant, slug)
    changes = body.model_dump(exclude={"credential"}, exclude_none=True)
    arranging.put_provider(provider, changes, credential=body.credential, by=request.principal)
    return ProviderOut.of(provider)


@router.delete("/providers/{slug}", response={204: None}, auth=WRITE)
def delete_provider(request: TenantRequest, slug: str) -> HttpResponse:
    """Take a provider away that no route leads to."""
    arranging.delete_provider(provider_named(request.tenant, slug), by=request.principal)
    return HttpResponse(status=204)


@router.get("/routes", response=RoutePage, auth=READ)
def list_routes(request: TenantRequest, listing: Query[Listing]) -> RoutePage:
    """List the routes by name."""
    found = Route.objects.within(request.tenant).filter(name__gt=listing.after).select_related("classifier")
    page = list(found.order_by("name")[: listing.limit + 1])
    shown = page[: listing.limit]
    return RoutePage(routes=[RouteOut.of(route) for route in shown], next=shown[-1].name if len(page) > len(shown) else None)


@router.post("/routes", response={201: RouteOut}, auth=WRITE)
def create_route(request: TenantRequest, body: RouteIn) -> Status[RouteOut]:
    """Make a route; clients may write its name into `model` from the next call on."""
    route = Route(tenant=request.tenant, name=body.name)
    return Status(201, _put(request, route, body, whole=True))


# A route's name may hold slashes.
@router.get("/routes/{path:name}", response=RouteOut, auth=READ)
def get_route(request: TenantRequest, name: str) -> RouteOut:
    """Show one route."""
    return RouteOut.of(route_named(request.tenant, name))


@router.put("/routes/{path:name}", response=RouteOut, auth=WRITE)
def put_route(request: TenantRequest, name: str, body: Policy) -> RouteOut:
    """Replace a route as a whole: what is left out is as in a new one."""
    return _put(request, route_named(request.tenant, name), body, whole=True)


@router.patch("/routes/{path:name}", response=RouteOut, auth=WRITE)
def change_route(request: TenantRequest, name: str, body: Policy) -> RouteOut:
    """Change a route: what is left out stays; a list that is given replaces the one before."""
    return _put(request, route_named(request.tenant, name), body, whole=False)


@router.delete("/routes/{path:name}", response={204: None}, auth=WRITE)
def delete_route(request: TenantRequest, name: str) -> HttpResponse:
    """Take a route away; calls that name it get 404 within a second."""
    arranging.delete_route(route_named(request.tenant, name), by=request.principal)
    return HttpResponse(status=204)


def _put(request: TenantRequest, route: Route, body: Policy, *, whole: bool) -> RouteOut:
    given = set(type(body).model_fields) if whole else body.model_fields_set
    changes: dict[str, Any] = {name: getattr(body, name) for name in given - NESTED}
    if "classifier_model" in given:
        wanted = body.classifier_model
        changes["classifier"] = route_named(request.tenant, wanted, param="classifier_model") if wanted is not None else None
    arranging.put_route(
        route,
        changes,
        targets=[_target(request, route, number, target) for number, target in enumerate(body.targets)] if "targets" in given else None,
        branches=[_branch(request, route, number, branch) for number, branch in enumerate(body.branches)] if "branches" in given else None,
        by=request.principal,
    )
    return RouteOut.of(route)


def _target(request: TenantRequest, route: Route, number: int, said: TargetIn) -> Target:
    return Target(
        tenant=request.tenant,
        route=route,
        provider=provider_named(request.tenant, said.provider, param=f"targets.{number}.provider"),
        upstream_model=said.model,
        position=number if said.position is None else said.position,
        weight=said.weight,
        role=said.role,
        **(said.price.fields() if said.price is not None else {}),
    )


def _branch(request: TenantRequest, route: Route, number: int, said: BranchIn) -> Branch:
    return Branch(
        tenant=request.tenant,
        route=route,
        leads_to=route if said.route == route.name else route_named(request.tenant, said.route, param=f"branches.{number}.route"),
        position=number,
        **said.model_dump(exclude={"route"}),
    )
