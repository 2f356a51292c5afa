"""Providers and routes, as operators set them up."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest
from django.utils.translation import gettext_lazy
from unfold.widgets import UnfoldAdminPasswordWidget

from apps.gateway.models import Branch, CapturePolicy, Guardrail, GuardrailEvent, Provider, Route, Target
from menhir.tenancy.admin import LinesOfTenant, OfTenant, ReadOnly, chosen_tenant_id


class ProviderForm(forms.ModelForm):  # type: ignore[type-arg]
    """A provider, whose credential can be set and never read."""

    credential = forms.CharField(
        label=gettext_lazy("Credential"),
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("Sealed when saved. Left empty, the present one stays."),
    )


@admin.register(Provider)
class ProviderAdmin(OfTenant):
    """Where the chosen tenant's calls can go."""

    form = ProviderForm
    list_display = ("slug", "kind", "base_url", "is_sealed")
    list_filter = ("kind",)
    search_fields = ("slug", "base_url")

    @admin.display(boolean=True, description=gettext_lazy("credential"))
    def is_sealed(self, provider: Provider) -> bool:
        """Whether one is stored."""
        return provider.has_credential

    def save_model(self, request: HttpRequest, obj: Provider, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        """Seal what was typed, into the tenant that it belongs to."""
        obj.tenant_id = chosen_tenant_id(request) or obj.tenant_id
        if secret := form.cleaned_data.get("credential"):
            obj.set_credential(secret)
        super().save_model(request, obj, form, change)


class TargetLines(LinesOfTenant):
    """Who answers for a route, in order."""

    model = Target


class BranchLines(LinesOfTenant):
    """Where a classifier sends which questions, in order."""

    model = Branch
    fk_name = "route"


@admin.register(Route)
class RouteAdmin(OfTenant):
    """What clients may write as model."""

    list_display = ("name", "strategy", "created_at")
    list_filter = ("strategy",)
    search_fields = ("name",)
    inlines = (TargetLines, BranchLines)


@admin.register(Guardrail)
class GuardrailAdmin(OfTenant):
    """What the chosen tenant's calls may not say."""

    list_display = ("name", "kind", "stage", "action", "fails_closed", "position", "enabled")
    list_filter = ("kind", "enabled")
    search_fields = ("name",)

    def save_model(self, request: HttpRequest, obj: Guardrail, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        """Make the secret of a webhook, and show it, once."""
        obj.tenant_id = chosen_tenant_id(request) or obj.tenant_id
        secret = obj.ensure_secret()
        super().save_model(request, obj, form, change)
        if secret:
            self.message_user(
                request, gettext_lazy("The webhook's secret, shown only now: %(secret)s") % {"secret": secret}, messages.WARNING
            )


@admin.register(GuardrailEvent)
class GuardrailEventAdmin(ReadOnly):
    """What guardrails found."""

    list_display = ("at", "guardrail", "stage", "outcome", "counts", "model")
    list_filter = ("outcome", "stage")
    search_fields = ("guardrail", "model")
    ordering = ("-at",)


@admin.register(CapturePolicy)
class CapturePolicyAdmin(OfTenant):
    """Whether the texts of the chosen tenant's calls are kept. The texts themselves are not shown to staff."""

    list_display = ("__str__", "enabled", "keep_days", "redact")
