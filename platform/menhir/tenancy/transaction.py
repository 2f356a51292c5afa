"""The transaction in which one tenant's rows exist."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING
from uuid import UUID

from django.db import connection, transaction

if TYPE_CHECKING:
    from menhir.tenancy.models import Tenant


def id_of(tenant: Tenant | UUID) -> UUID:
    """The id of a tenant, given as itself or by its id."""
    return tenant if isinstance(tenant, UUID) else tenant.id


@contextmanager
def tenant_transaction(tenant: Tenant | UUID) -> Iterator[None]:
    """Run a block as one transaction that sees `tenant`'s rows and no others.

    It nests for the same tenant. Another tenant inside raises RuntimeError: the rows of two tenants never share a transaction.
    """
    tenant_id = id_of(tenant)
    present = getattr(connection, "menhir_tenant", None) if connection.in_atomic_block else None
    if present is not None:
        if present != tenant_id:
            raise RuntimeError("A transaction of one tenant was asked to serve another.")
        with transaction.atomic():
            yield
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute("SELECT menhir.set_tenant(%s)", [tenant_id])
        connection.menhir_tenant = tenant_id  # type: ignore[attr-defined]
        try:
            yield
            if connection.savepoint_ids:
                # Inside somebody's wider transaction: do not leave the door open behind us.
                with connection.cursor() as cursor:
                    cursor.execute("SELECT menhir.set_tenant(NULL)")
        finally:
            connection.menhir_tenant = None  # type: ignore[attr-defined]
