"""What goes into `/api/v1/prompts` and what comes out of it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Self
from uuid import UUID

from ninja import Field, Schema

from apps.prompts.models import NAME_LIMIT_CHARACTERS, NOTE_LIMIT_CHARACTERS, PRODUCTION, Prompt, Release, ReleaseEvent, Version
from menhir.tenancy.fields import Text


class PromptIn(Schema):
    """A new prompt, with its first version when `text` is given."""

    slug: Text
    name: Annotated[Text, Field(max_length=NAME_LIMIT_CHARACTERS)] = ""
    text: Text | None = None
    note: Annotated[Text, Field(max_length=NOTE_LIMIT_CHARACTERS)] = ""


class VersionIn(Schema):
    """A new text of a prompt."""

    text: Text
    note: Annotated[Text, Field(max_length=NOTE_LIMIT_CHARACTERS)] = ""


class ReleaseIn(Schema):
    """The version that a label shall point at."""

    version: Annotated[int, Field(ge=1, le=2**31 - 1)]


class RenderIn(Schema):
    """What to preview: a version, or what a label points at, or a text that is not kept yet."""

    text: Text | None = None
    version: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    label: Text = PRODUCTION
    variables: dict[str, object] = {}


class Listing(Schema):
    """Which prompts to list."""

    q: Annotated[Text, Field(max_length=NAME_LIMIT_CHARACTERS)] = ""
    archived: bool = False
    after: Text = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 100


class VersionOut(Schema):
    """A version of a prompt."""

    id: UUID
    number: int
    text: str
    variables: list[str]
    note: str
    created_by: str
    created_at: datetime

    @classmethod
    def of(cls, version: Version) -> Self:
        """Show a version."""
        return cls(
            id=version.id,
            number=version.number,
            text=version.text,
            variables=list(version.variables),
            note=version.note,
            created_by=version.created_by,
            created_at=version.created_at,
        )


class ReleaseOut(Schema):
    """A label and what it points at."""

    label: str
    version: int
    released_by: str
    released_at: datetime

    @classmethod
    def of(cls, release: Release) -> Self:
        """Show a release."""
        return cls(
            label=release.label,
            version=release.version.number,
            released_by=release.released_by,
            released_at=release.released_at,
        )


class ReleaseEventOut(Schema):
    """One move of a label; `version` is null when it was withdrawn."""

    label: str
    version: int | None
    by: str
    at: datetime

    @classmethod
    def of(cls, event: ReleaseEvent) -> Self:
        """Show a move."""
        return cls(
            label=event.label,
            version=event.version.number if event.version is not None else None,
            by=event.by,
            at=event.at,
        )


class PromptOut(Schema):
    """A prompt, its newest version's number and what is released."""

    id: UUID
    slug: str
    name: str
    created_by: str
    created_at: datetime
    archived_at: datetime | None
    latest_version: int | None
    releases: list[ReleaseOut]

    @classmethod
    def of(cls, prompt: Prompt, *, latest: int | None, releases: list[Release]) -> Self:
        """Show a prompt."""
        return cls(
            id=prompt.id,
            slug=prompt.slug,
            name=prompt.name,
            created_by=prompt.created_by,
            created_at=prompt.created_at,
            archived_at=prompt.archived_at,
            latest_version=latest,
            releases=[ReleaseOut.of(release) for release in releases],
        )


class PromptPage(Schema):
    """Prompts by slug; `next` is what to send as `after` for those that follow, null at the end."""

    prompts: list[PromptOut]
    next: str | None


class VersionPage(Schema):
    """Every version of a prompt, newest first."""

    versions: list[VersionOut]


class ReleasePage(Schema):
    """What every label of a prompt points at, and how it came to."""

    releases: list[ReleaseOut]
    history: list[ReleaseEventOut]


class RenderOut(Schema):
    """The words that a model would read."""

    text: str
    version: int | None
