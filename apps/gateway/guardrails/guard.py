"""A guardrail as the data plane knows it: compiled once, when its route is loaded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Any
from uuid import UUID

from apps.gateway.guardrails import kinds
from apps.gateway.guardrails.pii import PersonalData
from apps.gateway.guardrails.sieve import Pattern
from apps.gateway.patterns import compiled

if TYPE_CHECKING:
    from apps.gateway.call import Call
    from apps.gateway.guardrails.sieve import Finder


@dataclass(frozen=True, slots=True)
class Guard:
    """One rule, ready to be asked."""

    id: UUID
    name: str
    kind: str
    action: str
    fails_closed: bool
    before: bool
    after: bool
    keys: frozenset[UUID]
    """Whose calls it watches; empty for everybody's."""
    settings: kinds.Settings
    finder: Finder | None = None
    """What finds spans of text, where it is text that is looked at here."""
    secret: str = field(default="", repr=False)
    """What a webhook's calls are signed with."""

    @property
    def is_remote(self) -> bool:
        """Whether somebody else must be asked."""
        return self.kind in {"moderation", "webhook"}

    @property
    def refuses_unread(self) -> bool:
        """Whether nothing may pass that is no text: as its settings say, else when it fails closed."""
        said = getattr(self.settings, "unread", None)
        return self.before and self.kind not in {"models", "size"} and (self.fails_closed if said is None else said == "refuse")

    def watches(self, call: Call) -> bool:
        """Whether it is about this call."""
        return not self.keys or call.principal.key_id in self.keys

    def refuses_model(self, call: Call) -> bool:
        """Whether this call names a model that is not allowed; for the kind `models`."""
        settings = self.settings
        if not isinstance(settings, kinds.Models):
            return False
        if settings.users and call.unit not in settings.users:
            return False
        return not any(fnmatchcase(call.model, allowed) for allowed in settings.allow)

    def excess(self, characters: int, messages: int = 0) -> Iterator[str]:
        """Which limits so much text exceeds; for the kind `size`."""
        settings = self.settings
        if isinstance(settings, kinds.Size):
            if settings.max_characters is not None and characters > settings.max_characters:
                yield "characters"
            if settings.max_messages is not None and messages > settings.max_messages:
                yield "messages"


def guard_of(row: Any, *, secret: str = "") -> Guard:
    """Compile a stored guardrail; raises Invalid for settings that no longer fit."""
    settings = kinds.settings_of(row.kind, row.settings)
    return Guard(
        id=row.id,
        name=row.name,
        kind=row.kind,
        action=row.action,
        fails_closed=row.fails_closed,
        before=row.stage in {"before", "both"},
        after=row.stage in {"after", "both"},
        keys=frozenset(row.keys),
        settings=settings,
        finder=finder_of(row.name, settings),
        secret=secret,
    )


def finder_of(name: str, settings: kinds.Settings) -> Finder | None:
    """What finds spans by these settings; None for kinds that look at no spans."""
    match settings:
        case kinds.Regex():
            return Pattern(compiled(kinds.together(settings), ignore_case=settings.ignore_case), window=settings.window, kind=name)
        case kinds.Pii():
            return PersonalData(settings.kinds, regions=settings.regions)
        case _:
            return None
