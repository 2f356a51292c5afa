"""The one way to write an entry."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from menhir.tenancy.principal import Principal


def record(principal: Principal, *, verb: str, noun: str, noun_id: UUID, detail: Mapping[str, Any] | None = None) -> None:
    """Write that `principal` did `verb` (such as `prompt.released`) to a noun, inside the transaction that does it.

    `detail` holds what a reader needs to understand it later; never a secret, never a person's text.
    """
    from menhir.audit.models import Entry

    Entry.objects.create(
        tenant_id=principal.tenant_id,
        actor_kind=principal.kind,
        actor_id=principal.id,
        actor_name=principal.name[:120],
        verb=verb,
        noun=noun,
        noun_id=noun_id,
        detail=dict(detail or {}),
    )
