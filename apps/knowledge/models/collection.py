"""Documents that are searched together."""

from __future__ import annotations

import re
from typing import Any, ClassVar, Final, Self
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.db.models import Count, Q
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.knowledge.errors import CollectionExists, UnknownCollection
from menhir import audit
from menhir.errors import Invalid
from menhir.tenancy.models import Tenant, TenantManager, TenantModel, TenantQuerySet
from menhir.tenancy.principal import Principal

SLUG: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
NAME_LIMIT_CHARACTERS: Final = 200
DEFAULT_MODEL: Final = "local/all-MiniLM-L6-v2"
LANGUAGES: Final = (
    "simple", "arabic", "armenian", "basque", "catalan", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hindi",
    "hungarian", "indonesian", "irish", "italian", "lithuanian", "nepali", "norwegian", "portuguese", "romanian", "russian", "serbian",
    "spanish", "swedish", "tamil", "turkish", "yiddish",
)  # fmt: skip
"""Text-search configurations that every PostgreSQL from 16 on has; `simple` stems nothing."""


class CollectionQuerySet(TenantQuerySet["Collection"]):
    """Collections, and what is in them."""

    def with_document_counts(self) -> Self:
        """Each with `count_queued`, `count_processing`, `count_ready` and `count_failed` (see `document_counts`)."""
        counts = {f"count_{status}": Count("documents", filter=Q(documents__status=status)) for status in STATUSES}
        return self.annotate(**counts)

    def named(self, slug: str) -> Collection:
        """The collection of this slug; raises UnknownCollection."""
        found = self.filter(slug=slug).first()
        if found is None:
            raise UnknownCollection(f"There is no collection {slug!r}.", param="slug")
        return found


STATUSES: Final = ("queued", "processing", "ready", "failed")


class Collection(TenantModel):
    """Documents that are searched together, in one language and with one embedding model at a time."""

    slug = models.CharField(_("short name"), max_length=63)
    name = models.CharField(_("name"), max_length=NAME_LIMIT_CHARACTERS)
    language = models.CharField(_("language"), max_length=20, default="english", choices=[(name, name) for name in LANGUAGES])
    embedding_model = models.CharField(_("embedding model"), max_length=200, default=DEFAULT_MODEL)
    created_at = models.DateTimeField(_("created"), default=timezone.now, editable=False)

    objects: ClassVar = TenantManager.from_queryset(CollectionQuerySet)()

    class Meta:
        verbose_name = _("collection")
        verbose_name_plural = _("collections")
        constraints = [models.UniqueConstraint(fields=["tenant", "slug"], name="knowledge_collection_slug")]

    def __str__(self) -> str:
        return self.name

    @classmethod
    def create(
        cls,
        tenant: Tenant | UUID,
        *,
        slug: str,
        name: str = "",
        language: str = "english",
        embedding_model: str = DEFAULT_MODEL,
        by: Principal,
    ) -> Collection:
        """Begin an empty collection. Raises CollectionExists when the slug is taken, Invalid for a slug or language that cannot be."""
        if not SLUG.fullmatch(slug):
            raise Invalid("A slug has up to 63 lower-case letters, digits, dots, hyphens and underscores.", param="slug")
        if language not in LANGUAGES:
            raise Invalid(f"There is no text search for {language!r}. Known: {', '.join(LANGUAGES)}.", param="language")
        tenant_id = tenant if isinstance(tenant, UUID) else tenant.id
        made = cls(
            tenant_id=tenant_id,
            slug=slug,
            name=(name or slug)[:NAME_LIMIT_CHARACTERS],
            language=language,
            embedding_model=embedding_model or DEFAULT_MODEL,
        )
        try:
            with transaction.atomic():
                made.save(force_insert=True)
        except IntegrityError as e:
            raise CollectionExists(f"There is a collection {slug!r} already.", param="slug") from e
        audit.record(by, verb="collection.created", noun="collection", noun_id=made.id, detail={"slug": slug})
        return made

    @property
    def document_counts(self) -> dict[str, int]:
        """How many documents there are of each status: from `with_document_counts`, or counted now."""
        if hasattr(self, "count_queued"):
            return {status: getattr(self, f"count_{status}") for status in STATUSES}
        counted = dict(self.documents.values_list("status").annotate(Count("id")))
        return {status: counted.get(status, 0) for status in STATUSES}

    def remove(self, *, by: Principal) -> None:
        """Delete the collection with every document in it; what is being ingested stops by itself."""
        from apps.knowledge.models.document import Document
        from apps.knowledge.models.embedding import EmbeddingIndex

        removed = Document.objects.within(self.tenant_id).filter(collection=self).erase()
        wipe(EmbeddingIndex.objects.within(self.tenant_id).filter(collection=self))
        audit.record(by, verb="collection.deleted", noun="collection", noun_id=self.id, detail={"slug": self.slug, "documents": removed})
        # By Django's own way, which knows who points at a collection from rooms above.
        self.delete()


def wipe(rows: models.QuerySet[Any]) -> None:
    """Delete rows by one statement. What points at them must be gone already, or go by the database's own cascade (vectors)."""
    rows._raw_delete(using=rows.db)  # noqa: SLF001 - delete() would fetch them first, with every uploaded byte
