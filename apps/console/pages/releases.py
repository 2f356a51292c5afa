"""Which version of a prompt is served: comparing, releasing, taking out of service."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.console.diffing import difference
from apps.console.pages.prompts import assistants_of, chosen, one
from apps.console.places import to
from apps.console.snippets import ApiCall
from apps.prompts.models import PRODUCTION, Prompt, Version
from menhir.errors import MenhirError
from menhir.tenancy.http import TenantRequest, needs_role


@require_GET
@needs_role("admin")
def compare(request: TenantRequest, prompt: str) -> HttpResponse:
    """What differs between two versions: `?from=2&to=3`, by default from what is served to the newest."""
    found = one(request, prompt)
    served = _served(found)
    new = chosen(found, request.GET.get("to"))
    old = chosen(found, request.GET["from"]) if "from" in request.GET else served or new
    words = {
        "prompt": found,
        "old": old,
        "new": new,
        "served": served,
        "difference": difference(old.text if old else "", new.text if new else ""),
        "numbers": list(found.versions.order_by("-number").values_list("number", flat=True)),
        "assistants": assistants_of(found),
        "call": ApiCall("PUT", f"/api/v1/prompts/{found.slug}/releases/{PRODUCTION}", {"version": new.number}) if new else None,
    }
    return render(request, "console/prompts/compare.html", words)


@require_POST
@needs_role("admin")
def release(request: TenantRequest, prompt: str, number: int) -> HttpResponse:
    """Serve a version from the next call on."""
    found = one(request, prompt)
    before = _served(found)
    try:
        found.release(number, PRODUCTION, by=request.principal)
    except MenhirError as refusal:
        messages.error(request, refusal.message)
    else:
        if before is None or before.number == number:
            words = gettext("Version %(n)d is in production: the next call uses it.")
        else:
            words = gettext("Version %(n)d is in production: the next call uses it. To go back, release version %(before)d again.")
        messages.success(request, words % {"n": number, "before": before.number if before else 0})
    return redirect(to(request, "prompt", prompt=found.slug))


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def archive(request: TenantRequest, prompt: str) -> HttpResponse:
    """Say who loses the prompt, then take it out of service; or take it back."""
    found = one(request, prompt)
    if request.method == "POST":
        if found.archived_at is None:
            found.archive(by=request.principal)
            messages.success(request, gettext("“%(name)s” is archived. Its versions are kept.") % {"name": found.name})
            return redirect(to(request, "prompts"))
        found.restore(by=request.principal)
        messages.success(request, gettext("“%(name)s” is back in service.") % {"name": found.name})
        return redirect(to(request, "prompt", prompt=found.slug))
    return render(request, "console/prompts/archive.html", {"prompt": found, "assistants": found.assistants.order_by("name")})


def _served(prompt: Prompt) -> Version | None:
    release = prompt.releases.filter(label=PRODUCTION).select_related("version").first()
    return release.version if release else None
