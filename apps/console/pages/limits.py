"""Limits and budgets: what was set, how far it is used, and when it was reached."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import CharField, DecimalField, F, OuterRef, Subquery
from django.db.models.functions import Cast, Coalesce
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.text import format_lazy
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.measures import PERIOD_WORDS, SUBJECT_WORDS, TURNS, allowance, counted, exactly, meaning, named, names_of_keys, whose
from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.snippets import ApiCall
from apps.gateway import limiting
from apps.gateway.limiting import Use
from apps.gateway.models import Route
from menhir.errors import Conflict, MenhirError
from menhir.metering.limits.models import MOST_AMOUNT, NAME_CHARACTERS, PERIODS, Limit, LimitEvent, Meter
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import ApiKey, Tenant

RECENT_EVENTS = 10
WARNING_PERCENT, FULL_PERCENT = 80, 100
MONEY = DecimalField(max_digits=30, decimal_places=15)
COLUMNS = [
    Column("whose", gettext_lazy("For whom"), ("subject", "subject_id")),
    Column("allowed", gettext_lazy("May use"), ("metric", "amount")),
    Column("used", gettext_lazy("Used"), ("share",)),
    Column("turns", gettext_lazy("Begins anew")),
    Column("set", gettext_lazy("Set"), ("created_at",)),
]
METRIC_WORDS = {
    "requests": gettext_lazy("Requests"),
    "tokens": gettext_lazy("Tokens"),
    "parallel": gettext_lazy("Calls"),
    "money": gettext_lazy("US dollars"),
}
SUBJECTS = [
    ("tenant", gettext_lazy("The whole workspace together")),
    ("key", gettext_lazy("API keys")),
    ("user", gettext_lazy("Users")),
    ("route", gettext_lazy("Models")),
]
EXPORT: list[tuple[Any, Any]] = [
    ("subject", lambda limit: limit.subject),
    ("subject_id", lambda limit: limit.subject_id),
    ("metric", lambda limit: limit.metric),
    ("period", lambda limit: limit.period),
    ("amount", lambda limit: f"{limit.amount.normalize():f}"),
    ("most_used", lambda limit: f"{limit.most_used.normalize():f}"),
    ("created_at", lambda limit: limit.created_at),
]


@dataclass(frozen=True, slots=True)
class Gauge:
    """A bar: how much of a limit one subject has used."""

    name: str
    percent: int
    used: str
    amount: str
    level: str
    resets_at: datetime | None

    @classmethod
    def of(cls, limit: Limit, use: Use, names: dict[str, str]) -> Gauge:
        """Of calls at the same time those count that are under way, of everything else what was used."""
        used = use.held if limit.metric == Limit.Metric.PARALLEL else use.used
        percent = int(used * 100 / limit.amount)
        level = "bad" if percent >= FULL_PERCENT else "warn" if percent >= WARNING_PERCENT else "good"
        return cls(
            name=named(limit.subject, use.subject, names),
            percent=percent,
            used=exactly(used, limit.metric),
            amount=exactly(limit.amount, limit.metric),
            level=level,
            resets_at=use.resets_at,
        )

    @property
    def filled(self) -> int:
        """How far the bar is filled, at most to its end."""
        return min(self.percent, 100)


class AmountForm(forms.Form):
    """How much."""

    amount = forms.DecimalField(
        label=gettext_lazy("How much"),
        max_digits=30,
        decimal_places=15,
        max_value=MOST_AMOUNT,
        widget=forms.NumberInput(attrs={"step": "any", "min": "0", "inputmode": "decimal", "autocomplete": "off", "class": "short"}),
    )


class LimitForm(AmountForm):
    """How much of what, and for whom. What is limited and in how long are one choice, so that every choice makes sense."""

    what = forms.ChoiceField(
        label=gettext_lazy("Of what"),
        choices=[
            (f"{metric}:{period}", format_lazy("{} {}", METRIC_WORDS[metric], PERIOD_WORDS[period]))
            for metric, periods in PERIODS.items()
            for period in periods
        ],
    )
    subject = forms.ChoiceField(label=gettext_lazy("For whom"), choices=SUBJECTS, initial="key", widget=forms.RadioSelect)
    key = forms.ChoiceField(label=gettext_lazy("Which key"), required=False)
    user = forms.CharField(
        label=gettext_lazy("Which user"),
        required=False,
        max_length=NAME_CHARACTERS,
        help_text=gettext_lazy("As the calls name them; leave it empty and each user has so much of their own."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    route = forms.ChoiceField(label=gettext_lazy("Which model"), required=False)

    def __init__(self, data: Any, *, tenant: Tenant) -> None:
        super().__init__(data)
        keys = ApiKey.objects.within(tenant).filter(revoked_at=None).order_by("name").values_list("id", "name", "last_four")
        routes = Route.objects.within(tenant).order_by("name").values_list("name", flat=True)
        choosing: Any = self.fields
        choosing["key"].choices = [
            ("", gettext("Each key has so much of its own")),
            *((str(key_id), f"{name} (…{last_four})") for key_id, name, last_four in keys),
        ]
        choosing["route"].choices = [("", gettext("Each model has so much of its own")), *((name, name) for name in routes)]

    @property
    def said(self) -> dict[str, Any]:
        """What was chosen, as a limit says it; what was filled in about another subject does not count."""
        given = self.cleaned_data
        metric, _colon, period = given["what"].partition(":")
        subject_id = "" if given["subject"] == "tenant" else given[given["subject"]]
        return {"subject": given["subject"], "subject_id": subject_id, "metric": metric, "period": period, "amount": given["amount"]}


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every limit with whoever has come furthest with it: `?subject=key&sort=-used`."""
    now = datetime.now(UTC)
    found = _with_use(request.tenant, now)
    subject = request.GET.get("subject", "")
    if subject in Limit.Subject.values:
        found = found.filter(subject=subject)
    if wants_csv(request):
        return export("limits", EXPORT, found.order_by("created_at"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("subject_id", "key_name", "metric", "period"), sort="-used")
    furthest = _furthest(request.tenant, listing.rows, now)
    recent = list(LimitEvent.objects.within(request.tenant).select_related("limit")[:RECENT_EVENTS])
    names = _names(request.tenant, [*listing.rows, *(event.limit for event in recent)], [*furthest.values(), *recent])
    uses = {limit.id: Gauge.of(limit, limiting.use_of(limit, furthest[limit.id]), names) for limit in listing.rows if limit.id in furthest}
    words = {
        "listing": listing,
        "rows": [(limit, whose(limit, names), allowance(limit), meaning(limit, names), uses.get(limit.id)) for limit in listing.rows],
        "subjects": [("", gettext("All")), ("tenant", SUBJECT_WORDS["tenant"]), *SUBJECTS[1:]],
        "subject": subject if subject in Limit.Subject.values else "",
        "has_any": listing.total > 0 or Limit.objects.within(request.tenant).exists(),
        "events": [_told(event, event.limit, names) for event in recent],
        "call": ApiCall("GET", "/api/v1/limits"),
    }
    return render(request, "console/limits/index.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Set a limit."""
    form = LimitForm(request.POST or None, tenant=request.tenant)
    if request.method == "POST" and form.is_valid():
        try:
            limit = limiting.set_limit(request.tenant, **form.said, by=request.principal)
        except Conflict:
            form.add_error(None, gettext("There is such a limit already. Open it in the list and change its amount."))
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            messages.success(request, gettext("The limit holds from now on, for every call."))
            return redirect(to(request, "limit", limit=limit.id))
    body = {"subject": "key", "metric": "requests", "period": "minute", "amount": "60"}
    return render(request, "console/limits/new.html", {"form": form, "call": ApiCall("POST", "/api/v1/limits", body)})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def page(request: TenantRequest, limit: UUID) -> HttpResponse:
    """One limit: who has used how much of it. A POST changes its amount."""
    found = _one(request, limit)
    form = AmountForm(request.POST or None, initial={"amount": f"{found.amount.normalize():f}"})
    if request.method == "POST" and form.is_valid():
        try:
            limiting.change_limit(found, form.cleaned_data["amount"], by=request.principal)
        except MenhirError as refusal:
            found.refresh_from_db()
            show_refusal(form, refusal)
        else:
            messages.success(request, gettext("The new amount holds from now on; what was used stays used."))
            return redirect(to(request, "limit", limit=found.id))
    uses, events = limiting.uses_of(found, now=datetime.now(UTC)), limiting.events_of(found)
    names = _names(request.tenant, [found], [*uses, *events])
    words = {
        "limit": found,
        "form": form,
        "heading": f"{whose(found, names)}: {allowance(found)}",
        "meaning": meaning(found, names),
        "turns": TURNS.get(found.period, ""),
        "gauges": [Gauge.of(found, use, names) for use in uses],
        "is_cut": len(uses) == limiting.SHOWN_METERS,
        "events": [_told(event, found, names) for event in events],
        "call": ApiCall("PATCH", f"/api/v1/limits/{found.id}", {"amount": f"{found.amount.normalize():f}"}),
    }
    return render(request, "console/limits/page.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, limit: UUID) -> HttpResponse:
    """Say what is no longer limited, then do it."""
    found = _one(request, limit)
    names = _names(request.tenant, [found], [])
    if request.method == "POST":
        limiting.delete_limit(found, by=request.principal)
        messages.success(request, gettext("The limit is gone. Calls are no longer held to it."))
        return redirect(to(request, "limits"))
    words = {
        "limit": found,
        "heading": f"{whose(found, names)}: {allowance(found)}",
        "meaning": meaning(found, names),
        "counted": Meter.objects.within(request.tenant).filter(limit=found).count(),
        "events": LimitEvent.objects.within(request.tenant).filter(limit=found).count(),
        "general": _general(request.tenant, found),
    }
    return render(request, "console/limits/remove.html", words)


def _one(request: TenantRequest, limit_id: UUID) -> Limit:
    found: Limit | None = Limit.objects.within(request.tenant).select_related("tenant").filter(id=limit_id).first()
    if found is None:
        raise Http404
    return found


def _general(tenant: Tenant, limit: Limit) -> str:
    """What holds instead, once a limit that names its subject is gone; nothing when nothing does."""
    if not limit.subject_id:
        return ""
    same = Limit.objects.within(tenant).filter(subject=limit.subject, subject_id="", metric=limit.metric, period=limit.period).first()
    return meaning(same, {}) if same is not None else ""


def _with_use(tenant: Tenant, now: datetime) -> Any:
    """Limits with what whoever has used most of each has used, as a share of it, and the name of the key that it is about."""
    most = limiting.present_meters(tenant, now=now).filter(limit_id=OuterRef("id")).order_by("-spent").values("spent")[:1]
    keys = ApiKey.objects.within(tenant).annotate(written=Cast("id", CharField())).filter(written=OuterRef("subject_id"))
    found: Any = Limit.objects.within(tenant).annotate(
        most_used=Coalesce(Subquery(most, output_field=MONEY), Decimal(0), output_field=MONEY),
        share=F("most_used") / F("amount"),
        key_name=Subquery(keys.values("name")[:1]),
    )
    return found


def _furthest(tenant: Tenant, limits: Sequence[Limit], now: datetime) -> dict[UUID, Meter]:
    found = limiting.present_meters(tenant, now=now).filter(limit__in=limits)
    return {meter.limit_id: meter for meter in found.order_by("limit_id", "-spent", "-leased", "subject").distinct("limit_id")}


def _names(tenant: Tenant, limits: Sequence[Limit], told: Sequence[Use | Meter | LimitEvent]) -> dict[str, str]:
    about_keys = {limit.id for limit in limits if limit.subject == Limit.Subject.KEY}
    ids = {limit.subject_id for limit in limits if limit.id in about_keys}
    ids |= {one.subject for one in told if getattr(one, "limit_id", None) in about_keys or (isinstance(one, Use) and about_keys)}
    return names_of_keys(tenant, ids)


def _told(event: LimitEvent, limit: Limit, names: dict[str, str]) -> dict[str, Any]:
    return {
        "limit": limit,
        "percent": event.percent,
        "at": event.at,
        "name": named(limit.subject, event.subject, names),
        "allowance": f"{counted(event.amount, limit.metric)} {PERIOD_WORDS[limit.period]}",
        "used": exactly(event.spent, limit.metric),
    }
