"""Assistants: a prompt, a model and collections under one name."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from apps.assistants.models import DESCRIPTION_LIMIT_CHARACTERS, MOST_PASSAGES, NAME_LIMIT_CHARACTERS, Assistant
from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.snippets import ApiCall
from apps.gateway.models import Route
from apps.knowledge.models import Collection
from apps.prompts.models import Prompt
from menhir.errors import MenhirError
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import Tenant

COLUMNS = [
    Column("name", gettext_lazy("Assistant"), ("name",)),
    Column("prompt", gettext_lazy("Prompt"), ("prompt__name",)),
    Column("model", gettext_lazy("Model"), ("route_name",)),
    Column("created", gettext_lazy("Created"), ("created_at",)),
]
EXPORT: list[tuple[Any, Any]] = [
    ("slug", lambda assistant: assistant.slug),
    ("name", lambda assistant: assistant.name),
    ("prompt", lambda assistant: assistant.prompt.slug),
    ("model", lambda assistant: assistant.route_name),
    ("collections", lambda assistant: " ".join(collection.slug for collection in assistant.collections)),
    ("created_at", lambda assistant: assistant.created_at),
]


class AssistantForm(forms.Form):
    """What an assistant is made of."""

    name = forms.CharField(label=gettext_lazy("Title"), max_length=NAME_LIMIT_CHARACTERS)
    slug = forms.CharField(
        label=gettext_lazy("Short name"), max_length=63, help_text=gettext_lazy("Programs call it as assistant:short-name.")
    )
    description = forms.CharField(
        label=gettext_lazy("What it is for"),
        max_length=DESCRIPTION_LIMIT_CHARACTERS,
        required=False,
        widget=forms.Textarea(attrs={"rows": 2}),
    )
    prompt = forms.ModelChoiceField(label=gettext_lazy("Prompt"), queryset=Prompt.objects.none(), empty_label=None)
    variables = forms.JSONField(
        label=gettext_lazy("Values of the prompt's variables"),
        required=False,
        initial=dict,
        widget=forms.Textarea(attrs={"class": "mono", "rows": 3, "spellcheck": "false"}),
        help_text=gettext_lazy('As JSON, such as {"product": "Menhir"}.'),
    )
    route_name = forms.ChoiceField(label=gettext_lazy("Model"))
    collections = forms.ModelMultipleChoiceField(
        label=gettext_lazy("Looks into"), queryset=Collection.objects.none(), required=False, widget=forms.CheckboxSelectMultiple
    )
    passages_limit = forms.IntegerField(label=gettext_lazy("Passages per answer, at most"), min_value=1, max_value=MOST_PASSAGES, initial=6)

    def __init__(self, data: Any, *, tenant: Tenant, assistant: Assistant | None = None) -> None:
        super().__init__(data, initial=_present(assistant) if assistant else None)
        routes = {route.name: route.name for route in Route.objects.within(tenant).order_by("name")}
        if assistant is not None:
            del self.fields["slug"]
            routes.setdefault(assistant.route_name, assistant.route_name)
        choosing: Any = self.fields
        choosing["prompt"].queryset = Prompt.objects.within(tenant).filter(archived_at=None).order_by("name")
        choosing["prompt"].label_from_instance = lambda prompt: prompt.name
        choosing["collections"].queryset = Collection.objects.within(tenant).order_by("name")
        choosing["route_name"].choices = list(routes.items())

    def clean_variables(self) -> dict[str, Any]:
        """An object, or nothing."""
        given = self.cleaned_data["variables"] or {}
        if not isinstance(given, dict):
            raise forms.ValidationError(gettext("This must be an object: names and their values."))
        return given


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every assistant."""
    found = Assistant.objects.within(request.tenant).select_related("prompt")
    if wants_csv(request):
        return export("assistants", EXPORT, found.order_by("slug"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("name", "slug"), sort="name")
    return render(request, "console/assistants/index.html", {"listing": listing})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Make an assistant."""
    form = AssistantForm(request.POST or None, tenant=request.tenant)
    if request.method == "POST" and form.is_valid():
        try:
            made = Assistant.create(request.tenant, **form.cleaned_data, by=request.principal)
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            messages.success(request, gettext("“%(name)s” can be asked now.") % {"name": made.name})
            return redirect(to(request, "assistant", assistant=made.slug))
    return render(request, "console/assistants/new.html", {"form": form})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def page(request: TenantRequest, assistant: str) -> HttpResponse:
    """One assistant; a POST changes it from the next question on."""
    found = _one(request, assistant)
    form = AssistantForm(request.POST or None, tenant=request.tenant, assistant=found)
    if request.method == "POST" and form.is_valid():
        given = dict(form.cleaned_data)
        collections = given.pop("collections")
        for name, value in given.items():
            setattr(found, name, value)
        try:
            found.revise(by=request.principal)
            found.look_into(collections, by=request.principal)
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            messages.success(request, gettext("“%(name)s” answers so from the next question on.") % {"name": found.name})
            return redirect(to(request, "assistant", assistant=found.slug))
    call = ApiCall(
        "POST",
        "/v1/chat/completions",
        {"model": f"assistant:{found.slug}", "messages": [{"role": "user", "content": "…"}]},
    )
    served = found.prompt.releases.filter(label=found.label).select_related("version").first()
    return render(request, "console/assistants/page.html", {"assistant": found, "form": form, "call": call, "served": served})


def _one(request: TenantRequest, slug: str) -> Assistant:
    found: Assistant | None = None
    if "\x00" not in slug:
        found = Assistant.objects.within(request.tenant).filter(slug=slug).select_related("prompt").first()
    if found is None:
        raise Http404
    return found


def _present(assistant: Assistant) -> dict[str, Any]:
    fields = ("name", "description", "prompt", "variables", "route_name", "passages_limit")
    return {**{field: getattr(assistant, field) for field in fields}, "collections": assistant.collections}
