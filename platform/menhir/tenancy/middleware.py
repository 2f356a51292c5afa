"""Pages under `/t/<tenant>/…`: who is asking, and the transaction in which he may see that tenant's rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any
from uuid import UUID

from django.contrib.auth.views import redirect_to_login
from django.db import connection
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from menhir.tenancy.models import Tenant
from menhir.tenancy.principal import SCOPES_OF_ROLE, Principal, Role
from menhir.tenancy.transaction import tenant_transaction

TENANTS_OF = "SELECT tenant_id, slug, name, role FROM menhir.tenants_of(%s) ORDER BY name"


@dataclass(frozen=True, slots=True)
class Place:
    """A tenant a person belongs to, and as what."""

    tenant_id: UUID
    slug: str
    name: str
    role: Role


def places_of(user: Any) -> list[Place]:
    """Every tenant a signed-in person belongs to, by name."""
    if not getattr(user, "is_authenticated", False):
        return []
    with connection.cursor() as cursor:
        cursor.execute(TENANTS_OF, [user.pk])
        return [Place(tenant_id, slug, name, Role(role)) for tenant_id, slug, name, role in cursor.fetchall()]


def principal_of_user(user: Any, place: Place) -> Principal:
    """A person, acting in one of his tenants."""
    return Principal(place.tenant_id, place.slug, "user", user.pk, user.display_name, place.role, SCOPES_OF_ROLE[place.role], str(user.pk))


class TenancyMiddleware:
    """Takes `tenant` out of a page's arguments and admits the person to it.

    Signed out: to the sign-in page. No member: 404, the same as for a tenant that does not exist. A sync view runs inside the tenant's
    transaction unless it is marked `outside_transaction`.
    """

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass through; the work is done once the view is known. What it shows of a tenant is kept by nobody on the way."""
        response = self.get_response(request)
        if hasattr(request, "tenant") and not response.has_header("Cache-Control"):
            response["Cache-Control"] = "private, no-cache"
        return response

    def process_view(self, request: Any, view: Any, args: list[Any], kwargs: dict[str, Any]) -> HttpResponseBase | None:
        """Admit, then run the view in its transaction."""
        if "tenant" not in kwargs:
            return None
        slug = kwargs.pop("tenant")
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        request.places = places_of(request.user)
        place = next((place for place in request.places if place.slug == slug), None)
        if place is None:
            raise Http404
        request.tenant = Tenant(id=place.tenant_id, slug=place.slug, name=place.name)
        request.principal = principal_of_user(request.user, place)
        if iscoroutinefunction(view) or getattr(view, "outside_transaction", False):
            return None
        with tenant_transaction(place.tenant_id):
            response: HttpResponseBase = view(request, *args, **kwargs)
            # A lazily rendered page would run its queries after the transaction.
            if hasattr(response, "render") and callable(response.render):
                response = response.render()
            return response


def context(request: Any) -> dict[str, Any]:
    """What every template knows: the tenant, who acts, and where else he may go."""
    places = getattr(request, "places", None)
    if places is None:
        places = request.places = places_of(getattr(request, "user", None))
    return {"tenant": getattr(request, "tenant", None), "principal": getattr(request, "principal", None), "tenants": places}
