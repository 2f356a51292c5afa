"""Forms of the staff pages, whose noun is the chosen tenant's from the start.

What must be unique is so within a tenant. A form does not ask for the tenant, and Django leaves out every constraint with a field that
was not asked for: without these, the database would be the first to say no.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from unfold.forms import PaginationInlineFormSet


def of_tenant(form: Any, tenant_id: UUID | None) -> Any:
    """The same form, for a noun of this tenant."""

    class OfTenant(form):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **options)
            self.instance.tenant_id = tenant_id or self.instance.tenant_id

        def _get_validation_exclusions(self) -> set[str]:  # Django's private
            return super()._get_validation_exclusions() - {"tenant"}  # type: ignore[no-any-return]

    return OfTenant


class Lines(PaginationInlineFormSet):  # type: ignore[misc]
    """Lines below a tenant's noun."""

    def get_unique_error_message(self, unique_check: Sequence[str]) -> str:
        """What two lines may not share; that they share the tenant goes without saying."""
        return super().get_unique_error_message([name for name in unique_check if name != "tenant"])  # type: ignore[no-any-return]
