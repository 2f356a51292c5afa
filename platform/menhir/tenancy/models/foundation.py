"""What every noun of a tenant is made of: an id, a tenant, the door `within`, and updates that never move a row to another tenant."""

from __future__ import annotations

from typing import Any, ClassVar, Self, TypeVar
from uuid import UUID

from django.db import models

from menhir.postgres.hot import notify_changed
from menhir.postgres.ids import uuid7
from menhir.tenancy.models.tenant import Tenant
from menhir.tenancy.transaction import id_of

M_co = TypeVar("M_co", bound="TenantModel", covariant=True)


class TenantQuerySet(models.QuerySet[M_co]):
    """Queries about one tenant's rows."""

    def within(self, tenant: Tenant | UUID) -> Self:
        """Only this tenant's, with the tenant as a parameter: partitions and shards prune by nothing else."""
        return self.filter(tenant_id=id_of(tenant))


class TenantManager(models.Manager[M_co]):
    """The door. Reached from another noun (`prompt.versions`), it is already within that noun's tenant."""

    _queryset_class: type[TenantQuerySet[Any]] = TenantQuerySet  # where `from_queryset` puts a richer one

    def within(self, tenant: Tenant | UUID) -> TenantQuerySet[M_co]:
        """Only this tenant's rows."""
        return self.get_queryset().within(tenant)

    def get_queryset(self) -> TenantQuerySet[M_co]:
        """All rows the transaction may see, narrowed to the tenant of the noun we were reached from."""
        found: TenantQuerySet[M_co] = self._queryset_class(model=self.model, using=self._db, hints=self._hints)  # type: ignore[attr-defined]
        instance = getattr(self, "instance", None)
        return found.within(instance.tenant_id) if isinstance(instance, TenantModel) else found


class TenantModel(models.Model):
    """A row that belongs to a tenant. In the database its primary key is `(tenant_id, id)`."""

    id = models.UUIDField(primary_key=True, default=uuid7, editable=False)
    tenant = models.ForeignKey(Tenant, on_delete=models.CASCADE, db_constraint=False, db_index=False, related_name="+", editable=False)

    objects: ClassVar[TenantManager[Any]] = TenantManager()

    class Meta:
        abstract = True

    def unique_error_message(self, model_class: Any, unique_check: Any) -> Any:
        """As a form says it: that it is about one tenant goes without saying."""
        return super().unique_error_message(model_class, tuple(name for name in unique_check if name != "tenant"))

    def _do_update(self, base_qs: Any, using: Any, pk_val: Any, values: Any, *others: Any) -> Any:  # Django's private
        # A distribution column cannot be SET, and a row never changes its tenant.
        kept = [value for value in values if value[0].name != "tenant"]
        within = base_qs.filter(tenant_id=self.tenant_id)
        return super()._do_update(within, using, pk_val, kept, *others)


class HotModel(TenantModel):
    """Configuration that the data plane caches: a change rings the bell of its kind at commit (see `menhir.postgres.hot`).

    Bulk updates ring nothing: write these one by one.
    """

    hot_kind: ClassVar[str]

    class Meta:
        abstract = True

    def save(self, *args: Any, **kwargs: Any) -> None:
        """Save, and ring."""
        super().save(*args, **kwargs)
        notify_changed(self.hot_kind, self.tenant_id)

    def delete(self, *args: Any, **kwargs: Any) -> tuple[int, dict[str, int]]:
        """Delete, and ring."""
        notify_changed(self.hot_kind, self.tenant_id)
        return super().delete(*args, **kwargs)
