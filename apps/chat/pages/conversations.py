"""A new conversation, and one that is there."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.http import HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.template.loader import render_to_string
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_POST, require_safe

from apps.assistants.models import Assistant
from apps.chat import asking, turns
from apps.chat.history import by_day, recent
from apps.chat.models import Conversation
from apps.chat.pages.refusals import refusing_async, to, uuid_in
from apps.chat.readback import read_running
from apps.chat.rows import in_tenant
from apps.chat.transcript import Transcript, transcript
from menhir.errors import NotFound
from menhir.postgres.ids import uuid7
from menhir.tenancy.http import TenantRequest


@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
@refusing_async
async def new(request: TenantRequest) -> HttpResponseBase:
    """An empty chat; its first question begins the conversation."""
    if request.method != "POST":
        return HttpResponse(await in_tenant(request.tenant.id, lambda: _new_page(request)))
    text, model = request.POST.get("text", ""), request.POST.get("model", "")
    begun = await in_tenant(request.tenant.id, lambda: turns.begin(request.principal, model=model, text=text))
    await asking.ask(request.principal, begun.id, text=text, below=None, question_id=uuid7())
    return redirect(to(request, "conversation", conversation=begun.id))


@never_cache
@require_safe
@refusing_async
async def show(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """The last messages of a conversation, with the text so far of an answer that is being written."""
    before = _uuid_or_none(request.GET.get("before", ""))
    tenant_slug = request.tenant.slug

    def opened() -> tuple[Conversation, Transcript]:
        found = Conversation.objects.open(request.principal, conversation)
        return found, transcript(found, tenant_slug=tenant_slug, before=before)

    found, shown = await in_tenant(request.tenant.id, opened)
    if (running := shown.running) is not None and not await read_running(running):
        found, shown = await in_tenant(request.tenant.id, opened)
    return HttpResponse(await in_tenant(request.tenant.id, lambda: _conversation_page(request, found, shown)))


@require_POST
@refusing_async
async def ask(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """A question from a form, without scripts."""
    text, below = request.POST.get("text", ""), uuid_in(request, "below")
    question_id = uuid_in(request, "id") or uuid7()
    await asking.ask(request.principal, conversation, text=text, below=below, question_id=question_id)
    return redirect(to(request, "conversation", conversation=conversation) + "#end")


def _new_page(request: TenantRequest) -> str:
    assistants = list(Assistant.objects.within(request.tenant).order_by("created_at"))
    last = Conversation.objects.of(request.principal).order_by("-updated_at").values_list("model", flat=True).first()
    chosen = request.GET.get("assistant") or (last or "").removeprefix("assistant:")
    context = {"assistants": assistants, "chosen": chosen, "deleted": _deleted(request)}
    return _page(request, "chat/new.html", context)


def _conversation_page(request: TenantRequest, conversation: Conversation, shown: Transcript) -> str:
    slug = conversation.model.removeprefix("assistant:")
    name = Assistant.objects.within(request.tenant).filter(slug=slug).values_list("name", flat=True).first()
    context = {"conversation": conversation, "transcript": shown, "assistant_name": name or slug}
    return _page(request, "chat/conversation.html", context)


def _deleted(request: TenantRequest) -> Conversation | None:
    """The conversation that was just deleted, to be taken back."""
    deleted = _uuid_or_none(request.GET.get("deleted", ""))
    if deleted is None:
        return None
    mine = Conversation.objects.within(request.tenant).filter(owner_id=request.principal.user_id, id=deleted)
    return mine.exclude(deleted_at=None).first()


def _page(request: TenantRequest, template: str, context: dict[str, Any]) -> str:
    days = by_day(recent(request.principal), now=timezone.now())
    return render_to_string(template, {**context, "days": days, "question_limit": turns.QUESTION_LIMIT_CHARACTERS}, request)


def _uuid_or_none(given: str) -> UUID | None:
    try:
        return UUID(given) if given else None
    except ValueError as error:
        raise NotFound from error
