"""End users: whose tokens let a tenant's own users call models."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db import transaction
from django.forms.models import fields_for_model
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_GET, require_http_methods

from apps.assistants import admitting
from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.refusals import show_refusal
from apps.console.snippets import ApiCall
from menhir.errors import MenhirError
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import Tenant, TokenIssuer
from menhir.tenancy.models.issuer import ALGORITHMS, MOST_KEY_CHARACTERS, MOST_SECRET_CHARACTERS, audience_of

PLAIN = ("name", "issuer", "audience")
READING = ("user_claim", "user_prefix", "scope_claim", "scope_value", "models_claim", "leeway_seconds", "longest_lifetime_seconds")
SAID = (*PLAIN, "algorithms", "keys_url", "keys", *READING)
COLUMNS = [
    Column("name", gettext_lazy("Name"), ("name",)),
    Column("issuer", gettext_lazy("Issuer"), ("issuer",)),
    Column("audience", gettext_lazy("Audience"), ("audience",)),
    Column("keys", gettext_lazy("Checked by")),
    Column("created", gettext_lazy("Created"), ("created_at",)),
]
EXPORT: list[tuple[Any, Any]] = [
    ("name", lambda issuer: issuer.name),
    ("issuer", lambda issuer: issuer.issuer),
    ("audience", lambda issuer: issuer.audience),
    ("algorithms", lambda issuer: " ".join(issuer.algorithms)),
    ("keys_url", lambda issuer: issuer.keys_url),
    ("created_at", lambda issuer: issuer.created_at),
]
EXAMPLE = {
    "name": "Sign-in",
    "issuer": "https://login.example.com/",
    "algorithms": ["RS256"],
    "keys_url": "https://login.example.com/.well-known/jwks.json",
}


class IssuerForm(forms.Form):
    """Whose tokens, how they are checked, and how they are read."""

    def __init__(self, data: Any, *, tenant: Tenant, issuer: TokenIssuer | None = None) -> None:
        super().__init__(data, initial={name: getattr(issuer, name) for name in SAID} if issuer is not None else None)
        self._is_new = issuer is None
        fields: Any = fields_for_model(TokenIssuer, fields=[*PLAIN, "keys_url", "keys", *READING])
        fields["audience"].widget.attrs["placeholder"] = audience_of(tenant)
        fields["keys"].max_length = MOST_KEY_CHARACTERS
        fields["keys"].widget = forms.Textarea(attrs={"rows": 4, "class": "mono", "spellcheck": "false"})
        for name in ("leeway_seconds", "longest_lifetime_seconds"):
            of_model: Any = TokenIssuer._meta.get_field(name)  # noqa: SLF001 - Django's documented door to a model's fields
            fields[name].validators += of_model.validators
        self.fields.update(fields)
        self.fields["algorithms"] = forms.MultipleChoiceField(
            label=gettext_lazy("Algorithms"),
            choices=[(one, one) for one in ALGORITHMS],
            initial=["RS256"],
            widget=forms.CheckboxSelectMultiple,
            help_text=gettext_lazy("HS256 stands alone: it is for a shared secret, the others for public keys."),
        )
        self.fields["secret"] = forms.CharField(
            label=gettext_lazy("Shared secret"),
            required=False,
            max_length=MOST_SECRET_CHARACTERS,
            strip=False,
            widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
            help_text=gettext_lazy("At least 32 characters. Sealed, and never shown again; left empty, the present one stays."),
        )
        self.order_fields([*PLAIN, "algorithms", "keys_url", "keys", "secret"])

    @property
    def said(self) -> dict[str, Any]:
        """What was filled in, beside the secret; of a new issuer an empty prefix is for the platform to fill."""
        said = {name: value for name, value in self.cleaned_data.items() if name != "secret"}
        return {**said, "user_prefix": said["user_prefix"] or None} if self._is_new else said


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Every issuer whose tokens are accepted."""
    found = TokenIssuer.objects.within(request.tenant)
    if wants_csv(request):
        return export("token-issuers", EXPORT, found.order_by("name"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("name", "issuer", "audience"), sort="name")
    words = {"listing": listing, "audience": audience_of(request.tenant), "call": ApiCall("GET", "/api/v1/token-issuers")}
    return render(request, "console/issuers/index.html", words)


@sensitive_post_parameters("secret")
@require_http_methods(["GET", "POST"])
@needs_role("admin")
def create(request: TenantRequest) -> HttpResponse:
    """Accept the tokens of an issuer."""
    form = IssuerForm(request.POST or None, tenant=request.tenant)
    if request.method == "POST" and form.is_valid():
        made = TokenIssuer(tenant=request.tenant, created_by_id=request.principal.user_id)
        if _put(request, made, form):
            messages.success(request, gettext("The tokens of “%(name)s” are accepted from now on.") % {"name": made.name})
            return redirect(to(request, "issuer", issuer=made.id))
    words = {"form": form, "audience": audience_of(request.tenant), "call": ApiCall("POST", "/api/v1/token-issuers", EXAMPLE)}
    return render(request, "console/issuers/new.html", words)


@sensitive_post_parameters("secret")
@require_http_methods(["GET", "POST"])
@needs_role("admin")
def page(request: TenantRequest, issuer: UUID) -> HttpResponse:
    """One issuer; a POST changes how its tokens are checked and read."""
    found = _one(request, issuer)
    form = IssuerForm(request.POST or None, tenant=request.tenant, issuer=found)
    if request.method == "POST" and form.is_valid():
        if _put(request, found, form):
            messages.success(request, gettext("The tokens of “%(name)s” are checked so from now on.") % {"name": found.name})
            return redirect(to(request, "issuer", issuer=found.id))
        found = _one(request, issuer)
    body = {name: value for name in SAID if (value := getattr(found, name)) not in ("", None)}
    words = {"issuer": found, "form": form, "call": ApiCall("PUT", f"/api/v1/token-issuers/{found.id}", body)}
    return render(request, "console/issuers/page.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, issuer: UUID) -> HttpResponse:
    """Say who can no longer call, then do it."""
    found = _one(request, issuer)
    if request.method == "POST":
        admitting.delete_issuer(found, by=request.principal)
        messages.success(request, gettext("Tokens of “%(name)s” are accepted no more.") % {"name": found.name})
        return redirect(to(request, "issuers"))
    return render(request, "console/issuers/remove.html", {"issuer": found})


def _put(request: TenantRequest, issuer: TokenIssuer, form: IssuerForm) -> bool:
    try:
        with transaction.atomic():
            admitting.put_issuer(issuer, form.said, secret=form.cleaned_data["secret"], by=request.principal)
    except MenhirError as refusal:
        show_refusal(form, refusal)
        return False
    return True


def _one(request: TenantRequest, issuer_id: UUID) -> TokenIssuer:
    found: TokenIssuer | None = TokenIssuer.objects.within(request.tenant).select_related("tenant").filter(id=issuer_id).first()
    if found is None:
        raise Http404
    return found
