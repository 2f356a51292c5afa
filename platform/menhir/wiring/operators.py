"""Under /staff/ an operator sees the directory of tenants, and the rows of the one he has chosen."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase

from menhir import audit
from menhir.tenancy.admin import chosen_tenant_id, deeds_of
from menhir.tenancy.principal import Principal
from menhir.tenancy.transaction import tenant_transaction

STAFF = "/staff/"


class OperatorMiddleware:
    """Runs the staff pages of an operator in one transaction that may see the directory, and the chosen tenant's rows."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponse]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        """Pass through; the work is done once the view is known."""
        return self.get_response(request)

    def process_view(self, request: Any, view: Any, args: list[Any], kwargs: dict[str, Any]) -> HttpResponseBase | None:
        """Open the transaction for operators; everybody else meets the admin's own door."""
        if not request.path.startswith(STAFF) or not (request.user.is_active and request.user.is_staff):
            return None
        with operating(chosen_tenant_id(request)):
            response: HttpResponseBase = view(request, *args, **kwargs)
            # A lazily rendered page would run its queries after the transaction.
            if hasattr(response, "render") and callable(response.render):
                response = response.render()
            for deed in deeds_of(request):
                audit.record(_acting(request), verb=deed.verb, noun=deed.noun, noun_id=deed.noun_id, detail={"name": deed.name})
            return response


def _acting(request: Any) -> Principal:
    """The operator as the tenant's trail shows him; no membership, and so no role."""
    tenant_id = chosen_tenant_id(request)
    if tenant_id is None:
        raise RuntimeError("An operator did something to a tenant's noun with no tenant chosen.")
    name = f"{request.user.display_name} (operator)"
    return Principal(tenant_id, "", "user", request.user.pk, name, None, frozenset())


@contextmanager
def operating(tenant_id: UUID | None) -> Iterator[None]:
    """Run a block as an operator, who sees every tenant's name and, of one tenant at a time, the rest."""
    with tenant_transaction(tenant_id) if tenant_id is not None else transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL app.operator = 'on'")
        yield
