"""Addresses inside the console of the tenant one is in."""

from __future__ import annotations

from typing import Any

from django.urls import reverse

from menhir.tenancy.http import TenantRequest


def to(request: TenantRequest, name: str, **arguments: Any) -> str:
    """The address of a console page in the request's tenant."""
    return reverse(f"console:{name}", kwargs={"tenant": request.tenant.slug, **arguments})
