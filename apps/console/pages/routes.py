"""Models: what clients may write into `model`, and where that leads. Credentials are never shown."""

from __future__ import annotations

from django.db.models import Prefetch
from django.http import HttpResponse
from django.shortcuts import render
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.snippets import ApiCall
from apps.gateway.models import Provider, Route, Target
from menhir.tenancy.http import TenantRequest, needs_role

COLUMNS = [
    Column("name", gettext_lazy("Model"), ("name",)),
    Column("targets", gettext_lazy("Answered by")),
    Column("created", gettext_lazy("Created"), ("created_at",)),
]


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every route with its targets in order, and every provider."""
    targets = Target.objects.within(request.tenant).select_related("provider").order_by("position")
    found = Route.objects.within(request.tenant).prefetch_related(Prefetch("targets", queryset=targets))
    if wants_csv(request):
        columns = [
            ("model", lambda route: route.name),
            ("targets", lambda route: " > ".join(f"{target.provider.slug}:{target.upstream_model}" for target in route.targets.all())),
            ("created_at", lambda route: route.created_at),
        ]
        return export("models", columns, found.order_by("name"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("name",), sort="name")
    providers = Provider.objects.within(request.tenant).order_by("slug")
    return render(request, "console/routes/index.html", {"listing": listing, "providers": providers, "call": ApiCall("GET", "/v1/models")})
