"""Guardrails: what calls may say, tried out, and what they have found."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from django.contrib import messages
from django.db.models import Count, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.console.guarding_forms import FORMS, KIND_WORDS, PERSONAL, TrialForm
from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.snippets import ApiCall
from apps.gateway.guardrails.trial import Tried, try_text
from apps.gateway.models import Guardrail, GuardrailEvent
from menhir.errors import MenhirError
from menhir.tenancy.http import TenantRequest, needs_role

EVENT_DAYS = 7
SHOWN_EVENTS = 20
COLUMNS = [
    Column("name", gettext_lazy("Name"), ("name",)),
    Column("position", gettext_lazy("Position"), ("position", "name"), is_number=True),
    Column("kind", gettext_lazy("Looks for"), ("kind", "name")),
    Column("action", gettext_lazy("Then"), ("action", "name")),
    Column("watches", gettext_lazy("Watches")),
    Column("found", gettext_lazy("Found, 7 days"), is_number=True),
    Column("status", gettext_lazy("Status"), ("enabled", "name")),
]
EXPORT: list[tuple[Any, Any]] = [
    ("name", lambda guardrail: guardrail.name),
    ("kind", lambda guardrail: guardrail.kind),
    ("stage", lambda guardrail: guardrail.stage),
    ("action", lambda guardrail: guardrail.action),
    ("position", lambda guardrail: guardrail.position),
    ("routes", lambda guardrail: " ".join(guardrail.routes)),
    ("fails_closed", lambda guardrail: guardrail.fails_closed),
    ("enabled", lambda guardrail: guardrail.enabled),
    ("created_at", lambda guardrail: guardrail.created_at),
]
OUTCOMES = {
    "blocked": gettext_lazy("blocked"),
    "redacted": gettext_lazy("redacted"),
    "flagged": gettext_lazy("noted"),
    "failed": gettext_lazy("could not be asked"),
}


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every guardrail in the order in which they are asked, a box to try a text, and what they found lately."""
    found = Guardrail.objects.within(request.tenant)
    if wants_csv(request):
        return export("guardrails", EXPORT, found.order_by("position", "name"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("name", "kind"), sort="position")
    counts = dict(_events(request).values_list("guardrail").annotate(number=Count("*")))
    words = {
        "listing": listing,
        "rows": [(guardrail, counts.get(guardrail.name, 0)) for guardrail in listing.rows],
        "has_any": bool(listing.rows) or bool(listing.query),
        "trial": TrialForm(),
        "events": told(_events(request)),
        "present": set(Guardrail.objects.within(request.tenant).values_list("name", flat=True)),
        "call": ApiCall("GET", "/api/v1/guardrails"),
    }
    return render(request, "console/guardrails/index.html", words)


@never_cache
@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Choose a kind, then fill in what it looks for. The secret of a webhook is shown in the answer to the form, once."""
    kind = request.GET.get("kind", "")
    if kind not in FORMS:
        kinds = [(value, words, KIND_WORDS[value]) for value, words in Guardrail.Kind.choices]
        return render(request, "console/guardrails/kinds.html", {"kinds": kinds})
    form = FORMS[kind](request.POST or None, tenant=request.tenant)
    if request.method == "POST" and form.is_valid():
        try:
            made, secret = Guardrail.create(request.tenant, kind=kind, by=request.principal, **form.said)
        except MenhirError as refusal:
            form.show(refusal)
        else:
            if secret:
                return _show_secret(request, made, secret)
            messages.success(request, gettext("“%(name)s” watches from the next call on.") % {"name": made.name})
            return redirect(to(request, "guardrail", guardrail=made.name))
    words = {"form": form, "kind": Guardrail.Kind(kind), "about": KIND_WORDS[kind], "call": ApiCall("POST", "/api/v1/guardrails", EXAMPLE)}
    return render(request, "console/guardrails/new.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def page(request: TenantRequest, guardrail: str) -> HttpResponse:
    """One guardrail: what it looks for and what it found. A POST changes it from the next call on."""
    found = _one(request, guardrail)
    form = FORMS[found.kind](request.POST or None, tenant=request.tenant, guardrail=found)
    if request.method == "POST" and form.is_valid():
        try:
            found.revise(by=request.principal, **form.said)
        except MenhirError as refusal:
            form.show(refusal)
            found = _one(request, guardrail)
        else:
            messages.success(request, gettext("“%(name)s” watches so from the next call on.") % {"name": found.name})
            return redirect(to(request, "guardrail", guardrail=found.name))
    body = {"action": found.action, "settings": found.settings, "enabled": found.enabled}
    words = {
        "guardrail": found,
        "form": form,
        "about": KIND_WORDS[found.kind],
        "trial": TrialForm(),
        "can_try": found.kind not in {"models", "moderation", "webhook"},
        "events": told(_events(request).filter(guardrail=found.name)),
        "call": ApiCall("PATCH", f"/api/v1/guardrails/{found.name}", body),
    }
    return render(request, "console/guardrails/page.html", words)


@require_POST
@needs_role("admin")
def check(request: TenantRequest) -> HttpResponse:
    """Say what guardrails (or one of them) would do with a text; nothing is called, and nothing is kept."""
    form = TrialForm(request.POST)
    name = request.POST.get("guardrail", "")
    only = _one(request, name) if name else None
    words: dict[str, Any] = {"trial": form, "guardrail": only}
    if form.is_valid():
        text, stage = form.cleaned_data["text"], form.cleaned_data["stage"]
        tried = try_text(request.tenant, text, stage=stage, only=only, by=request.principal)
        body = {"text": text, "stage": stage, **({"guardrail": only.name} if only is not None else {})}
        words |= {"tried": tried, "notes": _notes(tried), "is_changed": tried.text != text}
        words["call"] = ApiCall("POST", "/api/v1/guardrails/check", body)
    return render(request, "console/guardrails/check.html", words, status=200 if form.is_valid() else 422)


@never_cache
@require_POST
@needs_role("admin")
def renew_secret(request: TenantRequest, guardrail: str) -> HttpResponse:
    """Sign a webhook's calls with a new secret; the answer is the only page that ever shows it."""
    found = _one(request, guardrail)
    try:
        secret = found.renew_secret(by=request.principal)
    except MenhirError as refusal:
        messages.error(request, refusal.message)
        return redirect(to(request, "guardrail", guardrail=found.name))
    return _show_secret(request, found, secret)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, guardrail: str) -> HttpResponse:
    """Say what is no longer watched, then remove it."""
    found = _one(request, guardrail)
    if request.method == "POST":
        found.remove(by=request.principal)
        messages.success(request, gettext("“%(name)s” watches no more.") % {"name": found.name})
        return redirect(to(request, "guardrails"))
    return render(
        request, "console/guardrails/remove.html", {"guardrail": found, "found": _events(request).filter(guardrail=found.name).count()}
    )


EXAMPLE = {
    "name": "no-tokens",
    "kind": "regex",
    "stage": "before",
    "action": "block",
    "settings": {"patterns": [r"\btok_[a-z0-9]{20}\b"]},
}


def told(events: QuerySet[GuardrailEvent]) -> list[tuple[GuardrailEvent, Any, Sequence[tuple[Any, int]]]]:
    """The latest of them in words: each with what followed, and how often it found what."""
    return [
        (event, OUTCOMES.get(event.outcome, event.outcome), _counted(event.counts))
        for event in events.order_by("-at", "-id")[:SHOWN_EVENTS]
    ]


def _show_secret(request: TenantRequest, guardrail: Guardrail, secret: str) -> HttpResponse:
    return render(request, "console/guardrails/secret.html", {"guardrail": guardrail, "secret": secret})


def _events(request: TenantRequest) -> QuerySet[GuardrailEvent]:
    since = datetime.now(UTC) - timedelta(days=EVENT_DAYS)
    found: QuerySet[GuardrailEvent] = GuardrailEvent.objects.within(request.tenant).filter(at__gte=since)
    return found


def _counted(counts: dict[str, int]) -> list[tuple[Any, int]]:
    return [(PERSONAL.get(kind, kind), count) for kind, count in counts.items()]


def _notes(tried: Tried) -> list[tuple[str, Any, Sequence[tuple[Any, int]]]]:
    return [(note.guardrail, OUTCOMES.get(note.outcome, note.outcome), _counted(note.counts)) for note in tried.notes]


def _one(request: TenantRequest, name: str) -> Guardrail:
    found: Guardrail | None = Guardrail.objects.within(request.tenant).filter(name=name).first() if "\x00" not in name else None
    if found is None:
        raise Http404
    return found
