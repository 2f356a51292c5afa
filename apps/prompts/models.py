"""Prompts, versions, releases: the nouns and what can be done with them.

Every verb runs inside the caller's tenant transaction and takes the row of the prompt for itself first, so that two
people who work on one prompt come one after the other.
"""

from __future__ import annotations

import re
from typing import Final, Self

from django.db import IntegrityError, models, transaction
from django.utils import timezone

from apps.prompts import rendering
from apps.prompts.errors import (
    ForeignVersion,
    NotReleased,
    PromptArchived,
    PromptExists,
    UnknownVersion,
)
from menhir import audit
from menhir.errors import Invalid
from menhir.tenancy.models import HotModel, Tenant, TenantForeignKey, TenantModel
from menhir.tenancy.principal import Principal

HOT_KIND: Final = "prompts"
PRODUCTION: Final = "production"
SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
NOTE_LIMIT_CHARACTERS: Final = 1_000
NAME_LIMIT_CHARACTERS: Final = 200


class Prompt(HotModel):
    """A text that is worked on over time, under a slug that callers write."""

    hot_kind = HOT_KIND

    slug = models.CharField(max_length=63)
    name = models.CharField(max_length=NAME_LIMIT_CHARACTERS)
    created_by = models.CharField(max_length=NAME_LIMIT_CHARACTERS)
    created_at = models.DateTimeField(default=timezone.now)
    archived_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="prompts_prompt_slug")]

    def __str__(self) -> str:
        return self.slug

    @classmethod
    def create(cls, tenant: Tenant, *, slug: str, name: str = "", by: Principal) -> Self:
        """Begin a prompt, without a text yet; raise `PromptExists` when the slug is taken."""
        check_word(slug, param="slug")
        prompt = cls(tenant=tenant, slug=slug, name=(name or slug)[:NAME_LIMIT_CHARACTERS], created_by=author(by))
        try:
            with transaction.atomic():
                prompt.save(force_insert=True)
        except IntegrityError as taken:
            raise PromptExists(f"There is a prompt `{slug}` already.", param="slug") from taken
        audit.record(by, verb="prompt.created", noun="prompt", noun_id=prompt.id, detail={"slug": slug})
        return prompt

    def add_version(self, text: str, *, note: str = "", by: Principal) -> Version:
        """Keep a text as the next version; nothing is served by it until it is released.

        The text of the newest version once more gives that version, not another one. Raises `PromptRefused` when the
        text does not parse or asks for too much.
        """
        self._take()
        rendering.variables_of(text)
        newest = self.versions.order_by("-number").first()
        if newest is not None and newest.text == text:
            return newest
        version = Version(
            tenant_id=self.tenant_id,
            prompt=self,
            number=newest.number + 1 if newest is not None else 1,
            text=text,
            note=note[:NOTE_LIMIT_CHARACTERS],
            created_by=author(by),
        )
        version.save(force_insert=True)
        audit.record(
            by,
            verb="prompt.version_added",
            noun="prompt",
            noun_id=self.id,
            detail={"slug": self.slug, "version": version.number},
        )
        return version

    def release(self, version: int | Version, label: str = PRODUCTION, *, by: Principal) -> Release:
        """Serve this version under the label, from the next call on; raise for another prompt's version."""
        check_word(label, param="label")
        self._take()
        chosen = self._own(version)
        release = self.releases.filter(label=label).first()
        if release is not None and release.version_id == chosen.id:
            return release
        before = release.version.number if release is not None else None
        if release is None:
            release = Release(tenant_id=self.tenant_id, prompt=self, label=label)
        release.version = chosen
        release.released_by = author(by)
        release.released_at = timezone.now()
        release.save()
        self._remember(label, chosen, verb="prompt.released", before=before, by=by)
        return release

    def withdraw(self, label: str, *, by: Principal) -> None:
        """Serve nothing under the label any more, from the next call on."""
        check_word(label, param="label")
        self._take()
        release = self.releases.filter(label=label).first()
        if release is None:
            raise NotReleased(f"Nothing of `{self.slug}` is released as `{label}`.", param="label")
        before = release.version.number
        release.delete()
        self._remember(label, None, verb="prompt.withdrawn", before=before, by=by)

    def archive(self, *, by: Principal) -> None:
        """Take the prompt out of service with all its releases kept; no call is answered with it until it is restored."""
        self._set_archived(archived=True, by=by)

    def restore(self, *, by: Principal) -> None:
        """Take the prompt back into service as it was."""
        self._set_archived(archived=False, by=by)

    def version(self, number: int) -> Version:
        """Give one version by its number."""
        found = self.versions.filter(number=number).first()
        if found is None:
            raise UnknownVersion(f"The prompt `{self.slug}` has no version {number}.", param="version")
        return found

    def _set_archived(self, *, archived: bool, by: Principal) -> None:
        held = Prompt.objects.within(self.tenant_id).select_for_update().get(pk=self.pk)
        self.archived_at = held.archived_at
        if archived == (held.archived_at is not None):
            return
        self.archived_at = timezone.now() if archived else None
        self.save(update_fields=["archived_at"])
        verb = "prompt.archived" if archived else "prompt.restored"
        audit.record(by, verb=verb, noun="prompt", noun_id=self.id, detail={"slug": self.slug})

    def _take(self) -> None:
        held = Prompt.objects.within(self.tenant_id).select_for_update().get(pk=self.pk)
        if held.archived_at is not None:
            raise PromptArchived(f"The prompt `{self.slug}` is archived; restore it first.")

    def _own(self, version: int | Version) -> Version:
        if isinstance(version, int):
            return self.version(version)
        if version.prompt_id != self.id:
            raise ForeignVersion(f"Version {version.number} is not one of `{self.slug}`.", param="version")
        return version

    def _remember(self, label: str, version: Version | None, *, verb: str, before: int | None, by: Principal) -> None:
        event = ReleaseEvent(tenant_id=self.tenant_id, prompt=self, label=label, version=version, by=author(by))
        event.save(force_insert=True)
        now = version.number if version is not None else None
        detail = {"slug": self.slug, "label": label, "version": now, "before": before}
        audit.record(by, verb=verb, noun="prompt", noun_id=self.id, detail=detail)


class Version(HotModel):
    """A prompt's text at one time. It is never changed: the database grants nobody the right to."""

    hot_kind = HOT_KIND

    prompt = TenantForeignKey(Prompt, on_delete=models.PROTECT, related_name="versions")
    number = models.PositiveIntegerField()
    text = models.TextField()
    note = models.CharField(max_length=NOTE_LIMIT_CHARACTERS, blank=True)
    created_by = models.CharField(max_length=NAME_LIMIT_CHARACTERS)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "prompt", "number"], name="prompts_version_number"),
            models.UniqueConstraint(fields=["tenant", "prompt", "id"], name="prompts_version_of_prompt"),
        ]

    def __str__(self) -> str:
        return f"version {self.number}"

    @property
    def variables(self) -> tuple[str, ...]:
        """The names that rendering this text needs."""
        return rendering.variables_of(self.text)


class Release(HotModel):
    """A label of a prompt, such as `production`, pointing at what is served under it."""

    hot_kind = HOT_KIND

    prompt = TenantForeignKey(Prompt, on_delete=models.PROTECT, related_name="releases")
    label = models.CharField(max_length=63)
    version = TenantForeignKey(Version, on_delete=models.PROTECT, related_name="releases")
    released_by = models.CharField(max_length=NAME_LIMIT_CHARACTERS)
    released_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "prompt", "label"], name="prompts_release_label")]

    def __str__(self) -> str:
        return self.label


class ReleaseEvent(TenantModel):
    """One move of a label: who pointed it where, and when. Without a version, it was withdrawn."""

    prompt = TenantForeignKey(Prompt, on_delete=models.PROTECT, related_name="release_events")
    label = models.CharField(max_length=63)
    version = TenantForeignKey(Version, on_delete=models.PROTECT, related_name="+", null=True)
    by = models.CharField(max_length=NAME_LIMIT_CHARACTERS)
    at = models.DateTimeField(default=timezone.now)

    class Meta:
        indexes = [models.Index(fields=["tenant", "prompt", "-at"], name="prompts_release_history")]

    def __str__(self) -> str:
        return f"{self.label} at {self.at:%Y-%m-%d %H:%M}"


def check_word(word: str, *, param: str) -> None:
    """Raise `Invalid` unless the word may be a slug or a label."""
    if SLUG.fullmatch(word) is None:
        raise Invalid(
            f"`{param}` consists of 1 to 63 small letters, digits, dots, dashes and underscores, beginning with a letter or digit.",
            param=param,
        )


def author(principal: Principal) -> str:
    """Give the name under which a principal signs; the audit trail has his id."""
    return principal.name[:NAME_LIMIT_CHARACTERS]
