"""Providers: who runs models for a tenant. A credential can be set, and never read."""

from __future__ import annotations

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods

from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.routing_forms import ProviderForm
from apps.console.snippets import ApiCall
from apps.gateway import arranging
from apps.gateway.models import Provider, Route
from menhir.errors import MenhirError, NotFound
from menhir.tenancy.http import TenantRequest, needs_role

EXAMPLE = {"slug": "openai", "kind": "openai", "base_url": "https://api.openai.com/v1", "credential": "sk-…", "tariff": "openai"}


@sensitive_post_parameters("credential", "headers")
@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Name somebody who runs models; his address must be on the open internet."""
    form = ProviderForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        made = Provider(tenant=request.tenant)
        if _put(request, made, form):
            messages.success(request, gettext("“%(name)s” can be a target of models now.") % {"name": made.slug})
            return redirect(to(request, "provider", provider=made.slug))
    return render(request, "console/providers/new.html", {"form": form, "call": ApiCall("POST", "/api/v1/providers", EXAMPLE)})


@sensitive_post_parameters("credential", "headers")
@require_http_methods(["GET", "POST"])
@needs_role("admin")
def page(request: TenantRequest, provider: str) -> HttpResponse:
    """One provider and the routes that lead there; a POST changes it from the next call on."""
    found = _one(request, provider)
    form = ProviderForm(request.POST or None, provider=found)
    if request.method == "POST" and form.is_valid():
        if _put(request, found, form):
            messages.success(request, gettext("Calls to “%(name)s” go so from now on.") % {"name": found.slug})
            return redirect(to(request, "provider", provider=found.slug))
        found = _one(request, provider)
    body = {"base_url": found.base_url, "credential": "…"} if found.base_url else {"tariff": found.tariff}
    words = {
        "provider": found,
        "form": form,
        "routes": _leading(request, found),
        "call": ApiCall("PATCH", f"/api/v1/providers/{found.slug}", body),
    }
    return render(request, "console/providers/page.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, provider: str) -> HttpResponse:
    """Delete a provider that no route leads to; else say which do."""
    found = _one(request, provider)
    refusal = ""
    if request.method == "POST":
        try:
            arranging.delete_provider(found, by=request.principal)
        except MenhirError as e:
            refusal = e.message
        else:
            messages.success(request, gettext("“%(name)s” and its credential are deleted.") % {"name": found.slug})
            return redirect(to(request, "routes"))
    words = {"provider": found, "routes": _leading(request, found), "refusal": refusal}
    return render(request, "console/providers/remove.html", words, status=409 if refusal else 200)


def _put(request: TenantRequest, provider: Provider, form: ProviderForm) -> bool:
    try:
        with transaction.atomic():
            arranging.put_provider(
                provider, form.changes, credential=form.credential, unseen_headers=form.unseen_headers, by=request.principal
            )
    except MenhirError as refusal:
        if refusal.param == "name":
            refusal.param = "slug"
        show_refusal(form, refusal)
        return False
    return True


def _leading(request: TenantRequest, provider: Provider) -> list[Route]:
    return list(Route.objects.within(request.tenant).filter(targets__provider=provider).distinct().order_by("name"))


def _one(request: TenantRequest, slug: str) -> Provider:
    try:
        return arranging.provider_named(request.tenant, slug)
    except NotFound as e:
        raise Http404 from e
