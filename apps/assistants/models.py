"""Assistants and the collections they look into."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final, Self

import orjson
from django.db import IntegrityError, models, transaction
from django.utils import timezone

from apps.assistants.errors import AssistantExists, UnfitAssistant
from apps.knowledge.models import Collection
from apps.prompts.models import PRODUCTION, Prompt, check_word
from menhir import audit
from menhir.tenancy.models import HotModel, Tenant, TenantForeignKey, TenantQuerySet
from menhir.tenancy.principal import Principal

HOT_KIND: Final = "assistants"
NAME_LIMIT_CHARACTERS: Final = 200
DESCRIPTION_LIMIT_CHARACTERS: Final = 2_000
DEFAULT_PASSAGES: Final = 6
MOST_PASSAGES: Final = 50
MOST_COLLECTIONS: Final = 50


class Assistant(HotModel):
    """What answers under one name: a prompt's release, a route to a model, collections to look into."""

    hot_kind = HOT_KIND

    slug = models.CharField(max_length=63)
    name = models.CharField(max_length=NAME_LIMIT_CHARACTERS)
    description = models.CharField(max_length=DESCRIPTION_LIMIT_CHARACTERS, blank=True)
    prompt = TenantForeignKey(Prompt, on_delete=models.PROTECT, related_name="assistants")
    label = models.CharField(max_length=63, default=PRODUCTION)
    variables = models.JSONField(default=dict, blank=True)
    route_name = models.CharField(max_length=200)
    passages_limit = models.PositiveSmallIntegerField(default=DEFAULT_PASSAGES)
    created_at = models.DateTimeField(default=timezone.now)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["tenant", "slug"], name="assistants_assistant_slug"),
            models.CheckConstraint(
                condition=models.Q(passages_limit__gte=1, passages_limit__lte=MOST_PASSAGES),
                name="assistants_assistant_passages",
            ),
        ]

    def __str__(self) -> str:
        return self.slug

    @classmethod
    def create(
        cls,
        tenant: Tenant,
        *,
        slug: str,
        name: str = "",
        description: str = "",
        prompt: Prompt,
        label: str = PRODUCTION,
        variables: Mapping[str, Any] | None = None,
        route_name: str,
        passages_limit: int = DEFAULT_PASSAGES,
        collections: Iterable[Collection] = (),
        by: Principal,
    ) -> Self:
        """Make an assistant; raise `AssistantExists` when the slug is taken."""
        check_word(slug, param="slug")
        check_word(label, param="label")
        _check_variables(variables or {})
        assistant = cls(
            tenant=tenant,
            slug=slug,
            name=name or slug,
            description=description,
            prompt=prompt,
            label=label,
            variables=dict(variables or {}),
            route_name=route_name,
            passages_limit=passages_limit,
        )
        try:
            with transaction.atomic():
                assistant.save(force_insert=True)
        except IntegrityError as taken:
            raise AssistantExists(f"There is an assistant `{slug}` already.", param="slug") from taken
        assistant._link(collections)
        audit.record(by, verb="assistant.created", noun="assistant", noun_id=assistant.id, detail={"slug": slug})
        return assistant

    @property
    def collections(self) -> TenantQuerySet[Collection]:
        """The collections it looks into, in their order."""
        found: TenantQuerySet[Collection] = Collection.objects.within(self.tenant_id)
        return found.filter(assistant_links__assistant=self).order_by("assistant_links__position")

    def revise(self, *, by: Principal) -> None:
        """Keep the fields as they are now set; every process answers by them from the next call on."""
        check_word(self.label, param="label")
        _check_variables(self.variables)
        self.save()
        audit.record(by, verb="assistant.revised", noun="assistant", noun_id=self.id, detail={"slug": self.slug})

    def look_into(self, collections: Iterable[Collection], *, by: Principal) -> None:
        """Look into these collections, in this order, and no others."""
        AssistantCollection.objects.within(self.tenant_id).filter(assistant=self).delete()
        self._link(collections)
        detail = {"slug": self.slug, "collections": [collection.slug for collection in self.collections]}
        audit.record(by, verb="assistant.collections_set", noun="assistant", noun_id=self.id, detail=detail)

    def _link(self, collections: Iterable[Collection]) -> None:
        distinct = list({collection.id: collection for collection in collections}.values())
        if len(distinct) > MOST_COLLECTIONS:
            raise UnfitAssistant(f"An assistant looks into at most {MOST_COLLECTIONS} collections.", param="collections")
        for position, collection in enumerate(distinct):
            AssistantCollection(tenant_id=self.tenant_id, assistant=self, collection=collection, position=position).save(force_insert=True)


class AssistantCollection(HotModel):
    """One of the collections that an assistant looks into."""

    hot_kind = HOT_KIND

    assistant = TenantForeignKey(Assistant, on_delete=models.CASCADE, related_name="collection_links")
    collection = TenantForeignKey(Collection, on_delete=models.CASCADE, related_name="assistant_links")
    position = models.PositiveSmallIntegerField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["tenant", "assistant", "collection"], name="assistants_collection_once")]

    def __str__(self) -> str:
        return f"{self.assistant_id} {self.collection_id}"


def _check_variables(variables: Mapping[str, Any]) -> None:
    """Refuse what the database cannot keep: U+0000, halves of surrogate pairs, and nesting that no prompt has a use for."""
    try:
        written = orjson.dumps(variables)
    except orjson.JSONEncodeError as refused:
        raise UnfitAssistant(f"The variables are nothing that JSON knows: {refused}.", param="variables") from refused
    if b"\\u0000" in written.replace(rb"\\", b""):
        raise UnfitAssistant("A variable contains characters that are no text.", param="variables")
