"""A foreign key between two rows of the same tenant."""

from __future__ import annotations

from typing import Any

from django.db import models
from django.db.models.lookups import Exact


class TenantForeignKey(models.ForeignKey):  # type: ignore[type-arg]
    """A ForeignKey that joins on `(tenant_id, id)` and whose constraint spans both columns.

    Django keeps one column (`prompt_id`) and its conveniences; the constraint and its index come from `TenantTables`.
    A plain foreign key would let a row point into another tenant: the database checks those without row-level security.
    """

    def __init__(self, to: Any, on_delete: Any = models.CASCADE, **kwargs: Any) -> None:
        kwargs["db_constraint"] = False
        kwargs["db_index"] = False
        super().__init__(to, on_delete, **kwargs)

    def deconstruct(self) -> tuple[str, str, Any, Any]:
        """As written in a migration: without what this class decides itself."""
        name, path, args, kwargs = super().deconstruct()
        kwargs.pop("db_constraint", None)
        kwargs.pop("db_index", None)
        return name, path, args, kwargs

    def get_extra_restriction(self, alias: str | None, related_alias: str | None) -> Any:
        """`AND remote.tenant_id = local.tenant_id`, in every join over this key."""
        if alias is None or related_alias is None:
            return None
        remote: Any = self.related_model._meta.get_field("tenant")
        local: Any = self.model._meta.get_field("tenant")
        return Exact(remote.get_col(alias), local.get_col(related_alias))

    def get_extra_descriptor_filter(self, instance: Any) -> dict[str, Any]:
        """The tenant as a parameter when `instance.prompt` is fetched."""
        return {"tenant_id": instance.tenant_id}
