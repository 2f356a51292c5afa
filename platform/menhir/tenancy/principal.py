"""Who is acting: what a key, a person or the platform itself has become once admitted."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal
from uuid import UUID

from menhir.errors import Forbidden

INFERENCE, KNOWLEDGE_READ = "inference", "knowledge:read"
SCOPES: tuple[str, ...] = (
    INFERENCE,
    KNOWLEDGE_READ,
    "knowledge:write",
    "prompts:read",
    "prompts:write",
    "gateway:read",
    "gateway:write",
    "usage:read",
    "limits:read",
    "limits:write",
    "keys:write",
    "guardrails:write",
    "calls:read",
)


class Role(StrEnum):
    """What a person may do in a tenant; each may do what the next may."""

    OWNER = "owner"
    ADMIN = "admin"
    MEMBER = "member"

    def covers(self, other: Role) -> bool:
        """Whether this role may do whatever `other` may.

        >>> Role.OWNER.covers(Role.ADMIN), Role.MEMBER.covers(Role.ADMIN)
        (True, False)
        """
        ranks = list(Role)
        return ranks.index(self) <= ranks.index(other)


SCOPES_OF_ROLE: dict[Role, frozenset[str]] = {
    Role.OWNER: frozenset(SCOPES),
    Role.ADMIN: frozenset(SCOPES),
    Role.MEMBER: frozenset({INFERENCE, KNOWLEDGE_READ}),
}


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who acts within one tenant."""

    tenant_id: UUID
    tenant_slug: str
    kind: Literal["key", "user", "end_user", "system"]
    id: UUID | None
    name: str
    role: Role | None
    scopes: frozenset[str]
    unit: str | None = None
    """The person behind the calls, where somebody vouches for him: whose own limits apply, who is assigned to an arm."""
    models: frozenset[str] | None = None
    """What he may name in `model`; None for everything there is."""

    @property
    def key_id(self) -> UUID | None:
        """The API key, when it is one."""
        return self.id if self.kind == "key" else None

    @property
    def user_id(self) -> UUID | None:
        """The person, when it is one."""
        return self.id if self.kind == "user" else None

    def may_use(self, model: str) -> bool:
        """Whether he may name this model."""
        return self.models is None or model in self.models

    def require(self, scope: str) -> None:
        """Raise Forbidden, naming the scope, unless it is held."""
        if scope not in self.scopes:
            raise Forbidden(f"This needs the scope {scope!r}, which {self.name!r} does not have.")


def system(tenant_id: UUID, tenant_slug: str, name: str = "Menhir") -> Principal:
    """The platform itself, acting for a tenant: ingestion, titles, judges."""
    return Principal(tenant_id, tenant_slug, "system", None, name, None, frozenset(SCOPES))
