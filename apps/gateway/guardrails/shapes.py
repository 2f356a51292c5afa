"""What goes into `/api/v1/guardrails` and what comes out of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal, Self
from uuid import UUID

from ninja import Field, Schema
from pydantic import AfterValidator

from apps.gateway.guardrails.kinds import MOST_STORED_CHARACTERS
from apps.gateway.guardrails.models import MOST_POSITION, Guardrail, GuardrailEvent
from menhir.tenancy.fields import Strict, Text

Kind = Literal["regex", "pii", "size", "models", "moderation", "webhook"]
Stage = Literal["before", "after", "both"]
Action = Literal["block", "redact", "flag"]


def storable_settings(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what the database cannot keep, however deep it is: U+0000, halves of surrogate pairs, and more than anybody writes by hand.

    >>> storable_settings({"patterns": ["a"]})
    {'patterns': ['a']}
    """
    written = repr(value)
    if "\\x00" in written or "\\ud8" in written or "\\udc" in written or len(written) > MOST_STORED_CHARACTERS:
        raise ValueError("contains characters that are no text, or too many")
    return value


Word = Annotated[Text, Field(max_length=MOST_STORED_CHARACTERS)]
Settings = Annotated[dict[str, Any], AfterValidator(storable_settings)]
Routes = Annotated[list[Word], Field(max_length=200)]
Keys = Annotated[list[UUID], Field(max_length=200)]
Position = Annotated[int, Field(ge=0, le=MOST_POSITION, strict=True)]


class GuardrailIn(Strict):
    """A new guardrail. `routes` and `keys` are whose calls it watches; empty for all."""

    name: Word
    kind: Kind
    stage: Stage = "before"
    action: Action = "block"
    fails_closed: bool = False
    settings: Settings = {}
    routes: Routes = []
    keys: Keys = []
    position: Position = 0
    enabled: bool = True


class GuardrailChange(Strict):
    """What shall be different about a guardrail; what is left out stays."""

    stage: Stage | None = None
    action: Action | None = None
    fails_closed: bool | None = None
    settings: Settings | None = None
    routes: Routes | None = None
    keys: Keys | None = None
    position: Position | None = None
    enabled: bool | None = None


class GuardrailOut(Schema):
    """A guardrail."""

    id: UUID
    name: str
    kind: str
    stage: str
    action: str
    fails_closed: bool
    settings: dict[str, Any]
    routes: list[str]
    keys: list[UUID]
    position: int
    enabled: bool
    created_at: datetime
    secret: str | None = None
    """What a webhook's calls are signed with; shown once, when it is made."""

    @classmethod
    def of(cls, guardrail: Guardrail, *, secret: str | None = None) -> Self:
        """Show a guardrail."""
        shown = {name: getattr(guardrail, name) for name in cls.model_fields if name != "secret"}
        return cls(**shown, secret=secret or None)


class GuardrailPage(Schema):
    """Every guardrail of the tenant, in the order in which they are asked."""

    guardrails: list[GuardrailOut]


class CheckIn(Strict):
    """A text to be tried on the guardrails, as a request or as an answer."""

    text: Annotated[str, Field(max_length=MOST_STORED_CHARACTERS)]
    stage: Literal["before", "after"] = "before"
    guardrail: Word | None = None


class CheckedOut(Schema):
    """What one guardrail found."""

    guardrail: str
    outcome: str
    counts: dict[str, int]


class CheckOut(Schema):
    """Whether a call with this text would go on, and with which text. Moderation and webhooks are not asked: they are in `skipped`."""

    verdict: Literal["allow", "block"]
    blocked_by: str | None
    text: str
    found: list[CheckedOut]
    skipped: list[str]


class EventOut(Schema):
    """A guardrail found something in a call."""

    id: UUID
    at: datetime
    call_id: UUID
    guardrail_id: UUID
    guardrail: str
    stage: str
    outcome: str
    counts: dict[str, int]
    model: str
    api_key_id: UUID | None
    user_id: UUID | None
    unit: str | None

    @classmethod
    def of(cls, event: GuardrailEvent) -> Self:
        """Show an event."""
        return cls(**{name: getattr(event, name) for name in cls.model_fields})


class EventPage(Schema):
    """Events, newest first; `next` is the cursor of the page after this one."""

    events: list[EventOut]
    next: str | None
