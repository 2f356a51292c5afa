"""Collections: what can be searched, and the way documents come in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.contrib import messages
from django.core.files.uploadedfile import UploadedFile
from django.db import transaction
from django.db.models import Count
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy, ngettext
from django.views.decorators.http import require_GET, require_http_methods

from apps.assistants.models import Assistant
from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.snippets import ApiCall
from apps.knowledge.models import Collection, Document
from apps.knowledge.models.collection import LANGUAGES, STATUSES
from menhir.errors import MenhirError, status_of
from menhir.tenancy.http import TenantRequest, needs_role

COLUMNS = [
    Column("name", gettext_lazy("Collection"), ("name",)),
    Column("documents", gettext_lazy("Documents")),
    Column("language", gettext_lazy("Language"), ("language",)),
    Column("created", gettext_lazy("Created"), ("created_at",)),
]
DOCUMENT_COLUMNS = [
    Column("title", gettext_lazy("Document"), ("title",)),
    Column("status", gettext_lazy("Status"), ("status", "updated_at")),
    Column("size", gettext_lazy("Size"), ("size",), is_number=True),
    Column("changed", gettext_lazy("Changed"), ("updated_at",)),
]
EXPORT: list[tuple[Any, Any]] = [
    ("slug", lambda collection: collection.slug),
    ("name", lambda collection: collection.name),
    ("language", lambda collection: collection.language),
    ("embedding_model", lambda collection: collection.embedding_model),
    *(
        (status, lambda collection, status=status: collection.document_counts[status])
        for status in ("ready", "processing", "queued", "failed")
    ),
    ("created_at", lambda collection: collection.created_at),
]
DOCUMENT_EXPORT: list[tuple[Any, Any]] = [
    ("external_id", lambda document: document.external_id),
    ("title", lambda document: document.title),
    ("status", lambda document: document.status),
    ("failure", lambda document: document.failure),
    ("bytes", lambda document: document.size),
    ("passages", lambda document: document.live_chunks),
    ("created_at", lambda document: document.created_at),
    ("changed_at", lambda document: document.updated_at),
]


class CollectionForm(forms.Form):
    """A new collection."""

    name = forms.CharField(label=gettext_lazy("Title"), max_length=200)
    slug = forms.CharField(
        label=gettext_lazy("Short name"), max_length=63, help_text=gettext_lazy("What programs write: small letters, digits, dots, dashes.")
    )
    language = forms.ChoiceField(
        label=gettext_lazy("Language of the documents"),
        choices=[(language, language.capitalize()) for language in LANGUAGES],
        initial="english",
        help_text=gettext_lazy("Word search knows the endings of this language; “Simple” compares words as they are."),
    )


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every collection and how its documents stand."""
    found = Collection.objects.within(request.tenant)
    if wants_csv(request):
        return export("collections", EXPORT, found.with_document_counts().order_by("slug"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("name", "slug"), sort="name")
    count_documents(listing.rows)
    return render(request, "console/collections/index.html", {"listing": listing})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Begin an empty collection."""
    form = CollectionForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            made = Collection.create(request.tenant, **form.cleaned_data, by=request.principal)
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            return redirect(to(request, "collection", collection=made.slug))
    return render(request, "console/collections/new.html", {"form": form})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def page(request: TenantRequest, collection: str) -> HttpResponse:
    """One collection with its documents; only the documents when htmx asks how far they are. A POST brings files."""
    found = one(request, collection)
    return _take_in(request, found) if request.method == "POST" else _show(request, found)


def _take_in(request: TenantRequest, found: Collection) -> HttpResponse:
    """Keep files under their names; what is refused is said by name, what is not is kept."""
    files = [file for file in request.FILES.getlist("files") if isinstance(file, UploadedFile)]
    if not files:
        return _show(request, found, refusals=[("", gettext("Choose at least one file."))], status=422)
    refused: list[tuple[str, MenhirError]] = []
    for file in files:
        name = (file.name or "").replace("\x00", "")
        try:
            with transaction.atomic():
                Document.upload(
                    found,
                    external_id=name,
                    filename=name,
                    content=file.read(),
                    media_type=(file.content_type or "").replace("\x00", ""),
                    by=request.principal,
                )
        except MenhirError as refusal:
            refused.append((name, refusal))
    taken = len(files) - len(refused)
    if taken:
        words = ngettext("%(n)d file is kept and being read.", "%(n)d files are kept and being read.", taken)
        messages.success(request, words % {"n": taken})
    if refused:
        return _show(request, found, refusals=[(name, refusal.message) for name, refusal in refused], status=status_of(refused[0][1]))
    return redirect(to(request, "collection", collection=found.slug))


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, collection: str) -> HttpResponse:
    """Say what is destroyed, then destroy it."""
    found = one(request, collection)
    if request.method == "POST":
        found.remove(by=request.principal)
        messages.success(request, gettext("“%(name)s” and its documents are deleted.") % {"name": found.name})
        return redirect(to(request, "collections"))
    words = {"collection": found, "total": sum(found.document_counts.values()), "assistants": assistants_of(found)}
    return render(request, "console/collections/remove.html", words)


def one(request: TenantRequest, slug: str) -> Collection:
    """The collection of this slug in the tenant; 404 when there is none."""
    found: Collection | None = Collection.objects.within(request.tenant).filter(slug=slug).first() if "\x00" not in slug else None
    if found is None:
        raise Http404
    return found


def count_documents(collections: Sequence[Collection]) -> None:
    """Let each know how its documents stand, by one question to an index that holds the answer."""
    found = Document.objects.filter(tenant_id__in={one.tenant_id for one in collections}, collection__in=collections)
    counted = {(of, status): count for of, status, count in found.values_list("collection_id", "status").annotate(number=Count("*"))}
    for collection in collections:
        for status in STATUSES:
            setattr(collection, f"count_{status}", counted.get((collection.id, status), 0))


def assistants_of(collection: Collection) -> Any:
    """The assistants that look into a collection."""
    return Assistant.objects.within(collection.tenant_id).filter(collection_links__collection=collection).order_by("name")


def _show(request: TenantRequest, collection: Collection, *, refusals: Any = (), status: int = 200) -> HttpResponse:
    documents = Document.objects.within(request.tenant).without_text().filter(collection=collection)
    count_documents([collection])
    counts = collection.document_counts
    asked = request.GET.get("status", "")
    if asked in counts:
        documents = documents.filter(status=asked)
    if wants_csv(request):
        return export(f"{collection.slug}-documents", DOCUMENT_EXPORT, documents.order_by("external_id"))
    listing = Listing.of(
        request,
        documents,
        columns=DOCUMENT_COLUMNS,
        search=("title", "external_id"),
        sort="-changed",
        total=counts.get(asked, sum(counts.values())),
    )
    words = {
        "collection": collection,
        "listing": listing,
        "counts": counts,
        "total": sum(counts.values()),
        "status": asked,
        "underway": counts["queued"] + counts["processing"],
        "assistants": assistants_of(collection),
        "refusals": refusals,
        "search_call": ApiCall("POST", f"/api/v1/collections/{collection.slug}/search", {"query": "…", "limit": 10}),
        "put_call": ApiCall(
            "PUT", f"/api/v1/collections/{collection.slug}/documents/handbook", {"title": "Handbook", "text": "…", "metadata": {}}
        ),
    }
    template = "documents.html" if request.htmx else "page.html"  # type: ignore[attr-defined]
    return render(request, f"console/collections/{template}", words, status=status)
