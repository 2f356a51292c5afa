"""One document: what was read from it, how it was cut, and what can be done when it failed."""

from __future__ import annotations

from uuid import UUID

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.console.listing import Column, Listing
from apps.console.places import to
from apps.console.snippets import ApiCall
from apps.knowledge.models import Chunk, Document
from menhir.errors import MenhirError
from menhir.tenancy.http import TenantRequest, needs_role

TEXT_SHOWN_CHARACTERS = 200_000
COLUMNS = [Column("ordinal", gettext_lazy("Passage"), ("ordinal",))]


@require_GET
@needs_role("admin")
def page(request: TenantRequest, document: UUID) -> HttpResponse:
    """Its state, its passages, or with `?show=text` the text that was read from it."""
    found = _one(request, document)
    shows_text = request.GET.get("show") == "text"
    chunks = Chunk.objects.within(request.tenant).filter(document=found, edition_id=found.live_edition)
    words = {
        "document": found,
        "shows_text": shows_text,
        "text": found.text[:TEXT_SHOWN_CHARACTERS] if shows_text else "",
        "is_cut": shows_text and len(found.text) > TEXT_SHOWN_CHARACTERS,
        "listing": Listing.of(request, chunks, columns=COLUMNS, search=("text",), sort="ordinal"),
        "call": ApiCall("GET", f"/api/v1/collections/{found.collection.slug}/documents/{found.external_id}"),
    }
    template = "progress.html" if request.htmx else "page.html"  # type: ignore[attr-defined]
    return render(request, f"console/documents/{template}", words)


@require_POST
@needs_role("admin")
def retry(request: TenantRequest, document: UUID) -> HttpResponse:
    """Read the same bytes once more."""
    found = _one(request, document)
    try:
        Document.upload(
            found.collection,
            external_id=found.external_id,
            content=found.original,
            filename=found.filename,
            media_type=found.media_type,
            title=found.title if found.title_given else "",
            metadata=found.metadata,
            by=request.principal,
        )
    except MenhirError as refusal:
        messages.error(request, refusal.message)
    else:
        messages.success(request, gettext("“%(title)s” is being read again.") % {"title": found.title})
    if request.POST.get("from") == "collection":
        return redirect(to(request, "collection", collection=found.collection.slug))
    return redirect(to(request, "document", document=found.id))


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, document: UUID) -> HttpResponse:
    """Say what is destroyed, then destroy it."""
    found = _one(request, document)
    if request.method == "POST":
        found.remove(by=request.principal)
        messages.success(request, gettext("“%(title)s” is deleted.") % {"title": found.title})
        return redirect(to(request, "collection", collection=found.collection.slug))
    return render(request, "console/documents/remove.html", {"document": found})


def _one(request: TenantRequest, document: UUID) -> Document:
    found: Document = get_object_or_404(Document.objects.within(request.tenant).select_related("collection"), id=document)
    return found
