"""Prompts: the list, and the page on which one is written and tried."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import Max, Prefetch, QuerySet
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.assistants.models import Assistant
from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.snippets import ApiCall, with_variables_marked
from apps.prompts import rendering
from apps.prompts.errors import PromptRefused
from apps.prompts.models import NAME_LIMIT_CHARACTERS, NOTE_LIMIT_CHARACTERS, PRODUCTION, Prompt, Release, Version
from menhir.errors import MenhirError
from menhir.tenancy.http import TenantRequest, needs_role

VARIABLE_PREFIX = "var."
HISTORY_SHOWN = 100
COLUMNS = [
    Column("slug", gettext_lazy("Prompt"), ("slug",)),
    Column("latest", gettext_lazy("Newest version"), ("latest",), is_number=True),
    Column("production", gettext_lazy("In production")),
    Column("assistants", gettext_lazy("Used by")),
    Column("changed", gettext_lazy("Changed"), ("changed",)),
]
EXPORT: list[tuple[Any, Any]] = [
    ("slug", lambda prompt: prompt.slug),
    ("name", lambda prompt: prompt.name),
    ("newest_version", lambda prompt: prompt.latest),
    ("production_version", lambda prompt: prompt.in_production[0].version.number if prompt.in_production else ""),
    ("changed_at", lambda prompt: prompt.changed),
]


def _area(rows: int) -> forms.Textarea:
    return forms.Textarea(attrs={"class": "mono", "rows": rows, "spellcheck": "false"})


class PromptForm(forms.Form):
    """A new prompt."""

    slug = forms.CharField(
        label=gettext_lazy("Short name"), max_length=63, help_text=gettext_lazy("What calls write: small letters, digits, dots, dashes.")
    )
    name = forms.CharField(label=gettext_lazy("Title"), max_length=NAME_LIMIT_CHARACTERS, required=False)
    text = forms.CharField(
        label=gettext_lazy("Text"),
        strip=False,
        widget=_area(12),
        help_text=gettext_lazy("Write {{ name }} where a variable goes."),
    )


class VersionForm(forms.Form):
    """The text being worked on."""

    text = forms.CharField(label=gettext_lazy("Text"), strip=False, widget=_area(20))
    note = forms.CharField(label=gettext_lazy("What changed, and why"), max_length=NOTE_LIMIT_CHARACTERS, required=False)

    def clean_text(self) -> str:
        """Browsers send line ends as CRLF; a text pasted from elsewhere must not differ by them alone."""
        return str(self.cleaned_data["text"]).replace("\r\n", "\n")


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every prompt."""
    archived = request.GET.get("show") == "archived"
    in_production = Release.objects.within(request.tenant).filter(label=PRODUCTION).select_related("version")
    prompts: Any = Prompt.objects.within(request.tenant)  # mypy does not see a TenantForeignKey's way back
    found = (
        prompts.filter(archived_at__isnull=not archived)
        .annotate(latest=Max("versions__number"), changed=Max("versions__created_at"))
        .prefetch_related(Prefetch("releases", queryset=in_production, to_attr="in_production"))
        .prefetch_related(Prefetch("assistants", queryset=Assistant.objects.within(request.tenant).order_by("name")))
    )
    if wants_csv(request):
        return export("prompts", EXPORT, found.order_by("slug"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("slug", "name"), sort="slug")
    return render(request, "console/prompts/index.html", {"listing": listing, "archived": archived})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Begin a prompt with its first text."""
    form = PromptForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        text = given["text"].replace("\r\n", "\n")
        try:
            rendering.variables_of(text)  # before the prompt is made, which would stay without a text
            prompt = Prompt.create(request.tenant, slug=given["slug"], name=given["name"], by=request.principal)
            prompt.add_version(text, by=request.principal)
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            return redirect(to(request, "prompt", prompt=prompt.slug))
    return render(request, "console/prompts/new.html", {"form": form})


@require_GET
@needs_role("admin")
def page(request: TenantRequest, prompt: str) -> HttpResponse:
    """One prompt: its newest text, or that of `?version=3`, to be worked on."""
    found = one(request, prompt)
    version = chosen(found, request.GET.get("version"))
    form = VersionForm(initial={"text": version.text if version else ""})
    return _show(request, found, form, version)


@require_POST
@needs_role("admin")
def save(request: TenantRequest, prompt: str) -> HttpResponse:
    """Keep the text as the next version."""
    found = one(request, prompt)
    form = VersionForm(request.POST)
    if form.is_valid():
        try:
            version = found.add_version(form.cleaned_data["text"], note=form.cleaned_data["note"], by=request.principal)
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            words = gettext("Version %(n)d is kept. Nothing is served by it until you release it.")
            messages.success(request, words % {"n": version.number})
            return redirect(to(request, "prompt", prompt=found.slug))
    return _show(request, found, form, chosen(found, None), status=422)


@require_POST
@needs_role("admin")
def preview(request: TenantRequest, prompt: str) -> HttpResponse:
    """The text as a model would read it, kept or not; only that part of the page when htmx asks."""
    found = one(request, prompt)
    form = VersionForm(request.POST)
    form.is_valid()
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "console/prompts/preview.html", {"preview": previewed(form, request), "prompt": found})
    return _show(request, found, form, chosen(found, None))


def one(request: TenantRequest, slug: str) -> Prompt:
    """The prompt of this slug in the tenant; 404 when there is none."""
    found: Prompt | None = Prompt.objects.within(request.tenant).filter(slug=slug).first() if "\x00" not in slug else None
    if found is None:
        raise Http404
    return found


def chosen(prompt: Prompt, number: str | None) -> Version | None:
    """The version of this number, or the newest; 404 when the number leads nowhere."""
    if number is None:
        return prompt.versions.order_by("-number").first()
    found = prompt.versions.filter(number=int(number)).first() if number.isascii() and number.isdigit() and len(number) < 10 else None  # noqa: PLR2004
    if found is None:
        raise Http404
    return found


def previewed(form: VersionForm, request: TenantRequest) -> dict[str, Any]:
    """What the preview shows: the variables with their sample values, and the rendered text or why there is none."""
    text = form.cleaned_data.get("text", "") if form.is_bound else form.initial["text"]
    shown: dict[str, Any] = {"marked": with_variables_marked(text), "variables": [], "rendered": None, "error": ""}
    try:
        names = rendering.variables_of(text)
    except PromptRefused as refusal:
        return {**shown, "error": refusal.message}
    given = {name: request.POST.get(f"{VARIABLE_PREFIX}{name}", "").replace("\x00", "") for name in names}
    shown["variables"] = list(given.items())
    if form.is_bound and (not names or any(given.values())):
        try:
            shown["rendered"] = rendering.render(text, {name: value or f"{{{{ {name} }}}}" for name, value in given.items()})
        except MenhirError as refusal:
            shown["error"] = refusal.message
    return shown


def _show(request: TenantRequest, prompt: Prompt, form: VersionForm, version: Version | None, *, status: int = 200) -> HttpResponse:
    releases = list(prompt.releases.select_related("version").order_by("label"))
    production = next((release for release in releases if release.label == PRODUCTION), None)
    versions = list(prompt.versions.order_by("-number")[:HISTORY_SHOWN])
    newest = versions[0] if versions else None
    words = {
        "prompt": prompt,
        "form": form,
        "version": version,
        "newest": newest,
        "versions": versions,
        "production": production,
        "labels": {release.version_id: release.label for release in releases},
        "events": prompt.release_events.select_related("version").order_by("-at")[:20],
        "assistants": assistants_of(prompt),
        "preview": previewed(form, request),
        "save_call": ApiCall("POST", f"/api/v1/prompts/{prompt.slug}/versions", {"text": newest.text if newest else "", "note": ""}),
        "use_call": _use(prompt, newest),
    }
    return render(request, "console/prompts/page.html", words, status=status)


def assistants_of(prompt: Prompt, label: str = PRODUCTION) -> QuerySet[Assistant]:
    """The assistants that answer with what this label of a prompt points at."""
    found: QuerySet[Assistant] = Assistant.objects.within(prompt.tenant_id).filter(prompt=prompt, label=label).order_by("name")
    return found


def _use(prompt: Prompt, newest: Version | None) -> ApiCall:
    variables = dict.fromkeys(newest.variables, "…") if newest else {}
    reference = {"id": prompt.slug, **({"variables": variables} if variables else {})}
    return ApiCall(
        "POST", "/v1/chat/completions", {"model": "extract", "messages": [{"role": "user", "content": "…"}], "prompt": reference}
    )
