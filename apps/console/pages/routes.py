"""Models: what clients may write into `model`, and where that leads."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from django.contrib import messages
from django.db import transaction
from django.db.models import Count, Prefetch
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from apps.assistants.models import Assistant
from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.routing_forms import RouteForm, branch_rows, target_rows
from apps.console.snippets import ApiCall
from apps.gateway import arranging
from apps.gateway.models import Branch, Provider, Route, Target
from apps.gateway.shapes import Policy, RouteOut
from menhir.errors import MenhirError
from menhir.metering import usage
from menhir.metering.usage import Used
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import Tenant

USAGE_DAYS = 7
COLUMNS = [
    Column("name", gettext_lazy("Model"), ("name",)),
    Column("strategy", gettext_lazy("Order"), ("strategy", "name")),
    Column("targets", gettext_lazy("Answered by")),
    Column("calls", gettext_lazy("Calls, 7 days"), is_number=True),
    Column("cost", gettext_lazy("Cost, 7 days"), is_number=True),
    Column("created", gettext_lazy("Created"), ("created_at",)),
]
EXPORT: list[tuple[Any, Any]] = [
    ("model", lambda route: route.name),
    ("strategy", lambda route: route.strategy),
    ("targets", lambda route: " > ".join(f"{target.provider.slug}:{target.upstream_model}" for target in route.targets.all())),
    ("branches", lambda route: " ".join(f"{branch.label}:{branch.leads_to.name}" for branch in route.branches.all())),
    ("created_at", lambda route: route.created_at),
]


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every route with its targets in order, and every provider."""
    targets = Target.objects.within(request.tenant).select_related("provider").order_by("position", "id")
    branches = Branch.objects.within(request.tenant).select_related("leads_to").order_by("position", "id")
    found = Route.objects.within(request.tenant).prefetch_related(
        Prefetch("targets", queryset=targets), Prefetch("branches", queryset=branches)
    )
    if wants_csv(request):
        return export("models", EXPORT, found.order_by("name"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("name",), sort="name")
    used = _used(request.tenant)
    providers = Provider.objects.within(request.tenant).annotate(leading=Count("targets__route", distinct=True)).order_by("slug")
    words = {
        "listing": listing,
        "rows": [(route, used.get(route.name, Used())) for route in listing.rows],
        "providers": providers,
        "call": ApiCall("GET", "/api/v1/routes"),
    }
    return render(request, "console/routes/index.html", words)


@require_GET
@needs_role("admin")
def page(request: TenantRequest, route: UUID) -> HttpResponse:
    """One route: who answers, how patiently, what it was used for, and who uses it."""
    found = _one(request, route)
    said = RouteOut.of(found).model_dump(include=set(Policy.model_fields), exclude_defaults=False)
    words = {
        "route": found,
        "targets": found.targets.select_related("provider"),
        "branches": found.branches.select_related("leads_to"),
        "assistants": Assistant.objects.within(request.tenant).filter(route_name=found.name).order_by("name"),
        "used": _used(request.tenant).get(found.name, Used()),
        "use_call": ApiCall("POST", "/v1/chat/completions", {"model": found.name, "messages": [{"role": "user", "content": "…"}]}),
        "call": ApiCall("PUT", f"/api/v1/routes/{found.name}", {name: value for name, value in said.items() if value not in (None, [])}),
    }
    return render(request, "console/routes/page.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Make a route."""
    return _edit(request, None)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def change(request: TenantRequest, route: UUID) -> HttpResponse:
    """Change a route, from the next call on."""
    return _edit(request, _one(request, route))


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, route: UUID) -> HttpResponse:
    """Say what stops working, then delete it."""
    found = _one(request, route)
    refusal = ""
    if request.method == "POST":
        try:
            arranging.delete_route(found, by=request.principal)
        except MenhirError as e:
            refusal = e.message
        else:
            messages.success(request, gettext("“%(name)s” is deleted. Calls that name it are refused.") % {"name": found.name})
            return redirect(to(request, "routes"))
    words = {
        "route": found,
        "refusal": refusal,
        "leading": Route.objects.within(request.tenant).filter(branches__leads_to=found).exclude(id=found.id).distinct().order_by("name"),
        "asking": found.classifies_for.exclude(id=found.id).order_by("name"),
        "assistants": Assistant.objects.within(request.tenant).filter(route_name=found.name).order_by("name"),
    }
    return render(request, "console/routes/remove.html", words, status=409 if refusal else 200)


def _edit(request: TenantRequest, route: Route | None) -> HttpResponse:
    """Show what a route says, and take in what it shall say."""
    data = request.POST or None
    form = RouteForm(data, tenant=request.tenant, route=route)
    targets = target_rows(data, tenant=request.tenant, route=route)
    branches = branch_rows(data, tenant=request.tenant, route=route)
    if request.method == "POST" and form.is_valid():
        rows = branches if form.is_classifier else targets
        if rows.is_valid():
            written = route or Route(tenant=request.tenant)
            try:
                _put(request, written, form, rows)
            except MenhirError as refusal:
                show_refusal(form, refusal)
            else:
                messages.success(request, gettext("“%(name)s” is answered so from the next call on.") % {"name": written.name})
                return redirect(to(request, "route", route=written.id))
    shown = _one(request, route.id) if route is not None else None
    words = {"form": form, "targets": targets, "branches": branches, "route": shown}
    return render(request, "console/routes/edit.html", words)


def _put(request: TenantRequest, route: Route, form: RouteForm, rows: Any) -> None:
    given = [row for row in rows if row.counts]
    with transaction.atomic():
        arranging.put_route(
            route,
            form.changes,
            targets=[] if form.is_classifier else [row.target(route, number) for number, row in enumerate(given)],
            branches=[row.branch(route, number) for number, row in enumerate(given)] if form.is_classifier else [],
            by=request.principal,
        )


def _used(tenant: Tenant) -> dict[str, Used]:
    """What each model was used for in the last days, by the name that was called."""
    today = datetime.now(UTC).date()
    found = usage.summary(tenant, first_day=today - timedelta(days=USAGE_DAYS - 1), last_day=today, group_by=["model"])
    return {group.model: group.used for group in found.groups if group.model is not None}


def _one(request: TenantRequest, route_id: UUID) -> Route:
    found: Route | None = Route.objects.within(request.tenant).filter(id=route_id).select_related("classifier").first()
    if found is None:
        raise Http404
    return found
