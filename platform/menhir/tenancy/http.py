"""Tenancy at the doors of HTTP: scopes for the JSON API, roles for pages."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from ninja.security import HttpBearer

from menhir.errors import Unauthenticated
from menhir.tenancy.authentication import principal_of_key_now
from menhir.tenancy.models import Tenant
from menhir.tenancy.principal import Principal, Role
from menhir.tenancy.transaction import tenant_transaction


class TenantRequest(HttpRequest):
    """A request that was admitted: who acts, and where."""

    principal: Principal
    tenant: Tenant


class needs(HttpBearer):  # noqa: N801  # it reads as a word: auth=needs("usage:read")
    """Admit a key that holds a scope; sets `request.principal` and `request.tenant`."""

    openapi_name = "ApiKey"

    def __init__(self, scope: str) -> None:
        super().__init__()
        self.scope = scope

    def __call__(self, request: HttpRequest) -> Any:
        """The principal. Raises Unauthenticated (401) or Forbidden (403)."""
        scheme, _space, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise Unauthenticated("Send an API key: Authorization: Bearer mh_live_…")
        return self.authenticate(request, token.strip())

    def authenticate(self, request: HttpRequest, token: str) -> Principal:
        """Admit one key."""
        principal = principal_of_key_now(token)
        principal.require(self.scope)
        request.principal = principal  # type: ignore[attr-defined]
        request.tenant = Tenant(id=principal.tenant_id, slug=principal.tenant_slug)  # type: ignore[attr-defined]
        return principal


def in_tenant(operation: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a sync operation of the JSON API in its tenant's transaction; stands under the route's decorator."""

    @wraps(operation)
    def wrapped(request: TenantRequest, *args: Any, **kwargs: Any) -> Any:
        with tenant_transaction(request.principal.tenant_id):
            return operation(request, *args, **kwargs)

    # Ninja resolves annotations in the globals of what it is given, which are this module's, not the operation's.
    wrapped.__signature__ = signature(operation, eval_str=True)  # type: ignore[attr-defined]
    return wrapped


def needs_role(least: str) -> Callable[[Callable[..., HttpResponseBase]], Callable[..., HttpResponseBase]]:
    """Let only people of this role (or one above it) see a page; others get 403."""

    def decorate(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
        @wraps(view)
        def wrapped(request: TenantRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
            role = request.principal.role
            if role is None or not role.covers(Role(least)):
                raise PermissionDenied
            return view(request, *args, **kwargs)

        return wrapped

    return decorate


def outside_transaction(view: Callable[..., Any]) -> Callable[..., Any]:
    """Mark a page view that opens its own tenant transactions, because it talks to a network or streams."""
    view.outside_transaction = True  # type: ignore[attr-defined]
    return view
