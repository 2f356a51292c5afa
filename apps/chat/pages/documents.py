"""The document that a citation points at."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from apps.chat.history import by_day, recent
from apps.chat.pages.refusals import refusing
from apps.chat.reading import read
from menhir.errors import NotFound
from menhir.tenancy.http import TenantRequest


@never_cache
@require_safe
@refusing
def show(request: TenantRequest, document: UUID) -> HttpResponse:
    """A document with the cited passage marked. A script takes `#document` out of this page and puts it beside the chat."""
    try:
        chunk = UUID(request.GET["chunk"]) if "chunk" in request.GET else None
        offset = int(request.GET.get("from", "0"))
    except ValueError as error:
        raise NotFound from error
    reading = read(request.principal, document, chunk_id=chunk, offset=offset)
    days = by_day(recent(request.principal), now=timezone.now())
    return render(request, "chat/document.html", {"reading": reading, "days": days})
