"""API keys: made once, shown once, revoked for good."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.snippets import ApiCall
from menhir import audit
from menhir.errors import MenhirError
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import ApiKey
from menhir.tenancy.principal import INFERENCE, SCOPES

EXPIRES_SOON = timedelta(days=14)
COLUMNS = [
    Column("name", gettext_lazy("Name"), ("name",)),
    Column("scopes", gettext_lazy("May")),
    Column("created", gettext_lazy("Created"), ("created_at",)),
    Column("expires", gettext_lazy("Expires"), ("expires_at",)),
    Column("status", gettext_lazy("Status")),
]
SCOPE_WORDS = {
    "inference": gettext_lazy("call models and assistants"),
    "knowledge:read": gettext_lazy("read and search collections"),
    "knowledge:write": gettext_lazy("upload and delete documents"),
    "prompts:read": gettext_lazy("read prompts"),
    "prompts:write": gettext_lazy("write and release prompts"),
    "gateway:read": gettext_lazy("read providers and routes"),
    "gateway:write": gettext_lazy("change providers and routes"),
    "usage:read": gettext_lazy("read usage and cost"),
    "limits:read": gettext_lazy("read limits and budgets"),
    "limits:write": gettext_lazy("set limits and budgets"),
    "keys:write": gettext_lazy("create and revoke keys"),
    "guardrails:write": gettext_lazy("set up guardrails"),
    "calls:read": gettext_lazy("read calls, and their captured texts"),
}
LIFETIMES = [
    ("", gettext_lazy("Never")),
    ("30", gettext_lazy("In 30 days")),
    ("90", gettext_lazy("In 90 days")),
    ("365", gettext_lazy("In a year")),
]


class KeyForm(forms.Form):
    """What a new key is for, what it may do and until when."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=80,
        help_text=gettext_lazy("What will use it: you will look for this name when you revoke it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("It may"),
        choices=[(scope, SCOPE_WORDS[scope]) for scope in SCOPES],
        initial=[INFERENCE],
        widget=forms.CheckboxSelectMultiple,
    )
    lifetime = forms.ChoiceField(label=gettext_lazy("It expires"), choices=LIFETIMES, required=False, initial="90")

    def expires_at(self, *, now: datetime) -> datetime | None:
        """When it stops working, if ever."""
        days = self.cleaned_data["lifetime"]
        return now + timedelta(days=int(days)) if days else None


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every key that works, or all that ever did."""
    found = ApiKey.objects.within(request.tenant).select_related("created_by")
    shows_all = request.GET.get("show") == "all"
    if not shows_all:
        found = found.filter(revoked_at=None)
    if wants_csv(request):
        return export("keys", EXPORT, found.order_by("-created_at"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("name", "last_four"), sort="-created")
    soon = timezone.now() + EXPIRES_SOON
    return render(request, "console/keys/index.html", {"listing": listing, "shows_all": shows_all, "soon": soon, "now": timezone.now()})


@never_cache
@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Make a key; the answer to the form is the only page that ever shows it."""
    form = KeyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            key, plaintext = ApiKey.issue(
                request.tenant,
                name=form.cleaned_data["name"],
                scopes=form.cleaned_data["scopes"],
                expires_at=form.expires_at(now=timezone.now()),
                by=request.principal,
            )
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            audit.record(request.principal, verb="key.created", noun="key", noun_id=key.id, detail={"name": key.name, "scopes": key.scopes})
            return render(request, "console/keys/created.html", {"key": key, "plaintext": plaintext, "call": _first_call(key)})
    return render(request, "console/keys/new.html", {"form": form})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def revoke(request: TenantRequest, key: UUID) -> HttpResponse:
    """Say what stops working, then do it."""
    found = get_object_or_404(ApiKey.objects.within(request.tenant), id=key)
    if request.method == "POST":
        if found.revoked_at is None:
            found.revoke()
            audit.record(request.principal, verb="key.revoked", noun="key", noun_id=found.id, detail={"name": found.name})
        messages.success(request, gettext("“%(name)s” is revoked. Calls with it are refused from now on.") % {"name": found.name})
        return redirect(to(request, "keys"))
    return render(request, "console/keys/revoke.html", {"key": found})


def _first_call(key: ApiKey) -> ApiCall:
    if INFERENCE in key.scopes:
        return ApiCall("GET", "/v1/models")
    reads = {"knowledge:read": "/api/v1/collections", "prompts:read": "/api/v1/prompts", "usage:read": "/api/v1/usage"}
    return ApiCall("GET", next((path for scope, path in reads.items() if scope in key.scopes), "/api/v1/health"))


def _status(key: ApiKey) -> str:
    if key.revoked_at is not None:
        return "revoked"
    return "live" if key.is_live else "expired"


EXPORT: list[tuple[Any, Any]] = [
    ("name", lambda key: key.name),
    ("last_four", lambda key: key.last_four),
    ("scopes", lambda key: " ".join(key.scopes)),
    ("status", _status),
    ("created_at", lambda key: key.created_at),
    ("created_by", lambda key: key.created_by.email if key.created_by else ""),
    ("expires_at", lambda key: key.expires_at),
    ("revoked_at", lambda key: key.revoked_at),
]
