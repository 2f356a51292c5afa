"""The list of conversations: search, rename, delete, take it back."""

from __future__ import annotations

from uuid import UUID

from django.core.paginator import Paginator
from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect, render
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_POST, require_safe

from apps.chat.errors import NoSuchConversation
from apps.chat.history import PAGE_LENGTH, by_day, excerpt, matching, recent
from apps.chat.jobs import KEPT_AFTER_DELETION, purge_conversation
from apps.chat.models import Conversation
from apps.chat.notices import tell_title
from apps.chat.pages.refusals import refusing, to
from menhir.tenancy.http import TenantRequest


@never_cache
@require_safe
@refusing
def search(request: TenantRequest) -> HttpResponse:
    """All of one's conversations, or those in which some words are."""
    query = request.GET.get("q", "").replace("\x00", "").strip()[:200]
    page = Paginator(matching(request.principal, query), PAGE_LENGTH).get_page(request.GET.get("page"))
    found = [(conversation, excerpt(conversation, query) if query else None) for conversation in page]
    days = by_day(recent(request.principal), now=timezone.now())
    return render(request, "chat/search.html", {"query": query, "page": page, "found": found, "days": days})


@require_POST
@refusing
def rename(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """Give a conversation another title."""
    found = Conversation.objects.open(request.principal, conversation, to_write=True)
    found.rename(request.POST.get("title", ""))
    tell_title(found)
    return redirect(to(request, "conversation", conversation=conversation))


@require_POST
@refusing
def delete(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """Hide a conversation; it can be taken back until it is purged."""
    found = Conversation.objects.open(request.principal, conversation, to_write=True)
    found.delete_for_now()
    purge_conversation.configure(schedule_in={"seconds": int(KEPT_AFTER_DELETION.total_seconds()) + 60}).defer(
        tenant_id=str(found.tenant_id), conversation_id=str(found.id)
    )
    return redirect(f"{to(request, 'new')}?deleted={conversation}")


@require_POST
@refusing
def restore(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """Take a deletion back."""
    mine = Conversation.objects.within(request.tenant).filter(owner_id=request.principal.user_id, id=conversation)
    found = mine.first()
    if found is None:
        raise NoSuchConversation
    found.restore()
    return redirect(to(request, "conversation", conversation=conversation))
