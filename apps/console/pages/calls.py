"""Calls: the ledger's, newest first; one with everything that is known about it; its texts deleted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from apps.assistants.models import Assistant
from apps.console import conversations, ledgers
from apps.console.filtering import DEFAULT_PERIOD, Filter
from apps.console.listing import PAGE_ROWS, wants_csv
from apps.console.pages.guardrails import told
from apps.console.places import to
from apps.console.retention import Retention
from apps.console.snippets import ApiCall
from apps.gateway.capture.finding import OUTCOMES, call_of, events_of, parts_of, settlements
from apps.gateway.capture.models import Capture
from apps.gateway.cursor import Cursor
from apps.gateway.models import Guardrail, Provider, Route
from apps.prompts.models import Version
from menhir.metering.models import Call
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import ApiKey

MOST_PARTS = 50
OPERATIONS = {
    "chat": gettext_lazy("Chat"),
    "completions": gettext_lazy("Completion"),
    "embeddings": gettext_lazy("Embeddings"),
    "moderations": gettext_lazy("Moderation"),
    "rerank": gettext_lazy("Reranking"),
}


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponseBase:
    """The calls that the address bar asks for, a page at a time."""
    asked = Filter.of(request, now=datetime.now(UTC))
    if wants_csv(request):
        return ledgers.export(request.tenant.id, asked.wanted)
    found = asked.wanted.of(request.tenant)
    if asked.cursor is not None:
        found = found.filter(asked.cursor.after("opened_at"))
    page = list(found[: PAGE_ROWS + 1])
    calls = page[:PAGE_ROWS]
    older = asked.address(cursor=str(Cursor(calls[-1].opened_at, calls[-1].id))) if len(page) > PAGE_ROWS else ""
    words = {
        "asked": asked,
        "rows": ledgers.shown(request.tenant, calls),
        "older": older,
        "has_any": bool(calls) or _has_any(request),
        "keys": ApiKey.objects.within(request.tenant).order_by("name").values_list("id", "name", "last_four"),
        "models": _models(request),
        "outcomes": [(outcome, ledgers.ENDINGS[outcome].words) for outcome in OUTCOMES],
        "retention": Retention.of(request.tenant),
        "first": _first_call(request),
        "call": ApiCall("GET", f"/api/v1/calls{_query(asked)}"),
    }
    return render(request, "console/calls/index.html", words)


@require_GET
@needs_role("admin")
def page(request: TenantRequest, call: UUID) -> HttpResponse:
    """One call: how it was opened, how it ended, what belongs to it, what was found in it, and its texts where they are kept."""
    found = _call(request, call)
    tenant = request.tenant
    settlement = settlements(tenant, [found]).get(found.id)
    parent = call_of(tenant, found.parent_id) if found.parent_id is not None else None
    capture = Capture.of(found).first()
    version = Version.objects.within(tenant).filter(id=found.prompt_version_id).select_related("prompt").first()
    words = {
        "shown": ledgers.shown(tenant, [found])[0],
        "settlement": settlement,
        "operation": OPERATIONS.get(found.operation, found.operation),
        "parent": parent,
        "parts": ledgers.shown(tenant, list(parts_of(tenant, found, settlement)[:MOST_PARTS])),
        "assistant": Assistant.objects.within(tenant).filter(id=found.assistant_id).first(),
        "version": version,
        "route": Route.objects.within(tenant).filter(name=found.route).first(),
        "provider": Provider.objects.within(tenant).filter(slug=settlement.provider).first() if settlement is not None else None,
        "events": told(events_of(tenant, found)),
        "present": set(Guardrail.objects.within(tenant).values_list("name", flat=True)),
        "capture": capture,
        "said": _said(capture),
        "retention": Retention.of(tenant),
        "api": ApiCall("GET", f"/api/v1/calls/{found.id}"),
    }
    if capture is not None:
        words |= {"request_json": conversations.raw(capture.request), "answer_json": conversations.raw(capture.answer)}
    return render(request, "console/calls/page.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def forget(request: TenantRequest, call: UUID) -> HttpResponse:
    """Say which texts are destroyed, then delete them."""
    found = _call(request, call)
    if request.method == "POST":
        if Capture.forget(found, by=request.principal):
            messages.success(request, gettext("The texts of this call are deleted. The call itself stays in the records."))
        return redirect(to(request, "call", call=found.id))
    capture = Capture.of(found).first()
    if capture is None:
        return redirect(to(request, "call", call=found.id))
    words = {
        "shown": ledgers.shown(request.tenant, [found])[0],
        "capture": capture,
        "asked": len(conversations.asked(capture.request)),
        "answered": len(conversations.answered(capture.answer)),
        "call": ApiCall("DELETE", f"/api/v1/calls/{found.id}/capture"),
    }
    return render(request, "console/calls/forget.html", words)


def _call(request: TenantRequest, call_id: UUID) -> Call:
    found = call_of(request.tenant, call_id)
    if found is None:
        raise Http404
    return found


def _said(capture: Capture | None) -> list[tuple[str, list[conversations.Turn]]]:
    if capture is None:
        return []
    return [
        (gettext("Asked"), conversations.asked(capture.request)),
        (gettext("Answered"), conversations.answered(capture.answer)),
    ]


def _has_any(request: TenantRequest) -> bool:
    return bool(Call.objects.within(request.tenant).order_by("-opened_at", "-id")[:1])


def _models(request: TenantRequest) -> list[str]:
    routes = Route.objects.within(request.tenant).order_by("name").values_list("name", flat=True)
    slugs = Assistant.objects.within(request.tenant).order_by("slug").values_list("slug", flat=True)
    return [*routes, *(f"assistant:{slug}" for slug in slugs)]


def _query(asked: Filter) -> str:
    """What the API asks for the same; it knows `since`, and no periods."""
    params = asked.params.copy()
    for name in [name for name in params if name not in {"model", "key", "outcome", "unit"} or not params[name]]:
        del params[name]
    if asked.period != DEFAULT_PERIOD:
        params["since"] = asked.wanted.since.isoformat(timespec="seconds").replace("+00:00", "Z")
    return f"?{params.urlencode(safe=':')}" if params else ""


def _first_call(request: TenantRequest) -> ApiCall:
    models: list[Any] = _models(request)
    body = {"model": models[0] if models else "gpt-4o-mini", "messages": [{"role": "user", "content": "What is a menhir?"}]}
    return ApiCall("POST", "/v1/chat/completions", body)
