"""Whether the texts of calls are kept: for all models, for single ones, for how long, with or without personal data."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from django import forms
from django.contrib import messages
from django.http import Http404, HttpResponse
from django.shortcuts import redirect, render
from django.utils.http import urlencode
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from apps.console.places import to
from apps.console.retention import Retention, how
from apps.console.snippets import ApiCall
from apps.gateway.capture.models import LONGEST_DAYS, Capture, CapturePolicy
from apps.gateway.models import Route
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import Tenant

DEFAULT_DAYS = 30
MOST_COUNTED = 10_000


class PolicyForm(forms.Form):
    """What is kept of which calls."""

    route = forms.ChoiceField(label=gettext_lazy("Of which calls"), required=False)
    enabled = forms.ChoiceField(
        label=gettext_lazy("What was asked and answered"),
        choices=[("yes", gettext_lazy("is kept")), ("no", gettext_lazy("is not kept"))],
        initial="yes",
        widget=forms.RadioSelect,
    )
    keep_days = forms.IntegerField(
        label=gettext_lazy("For how many days"),
        min_value=1,
        max_value=LONGEST_DAYS,
        initial=DEFAULT_DAYS,
        help_text=gettext_lazy("1 to 365. Then it is deleted for good."),
        widget=forms.NumberInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )
    redact = forms.ChoiceField(
        label=gettext_lazy("Personal data"),
        choices=[
            ("yes", gettext_lazy("is taken out before anything is written")),
            ("no", gettext_lazy("stays in, word for word")),
        ],
        initial="yes",
        widget=forms.RadioSelect,
    )

    def __init__(self, data: Any, *, tenant: Tenant, initial: dict[str, Any]) -> None:
        super().__init__(data, initial=initial)
        routes = Route.objects.within(tenant).order_by("name").values_list("name", flat=True)
        choosing: Any = self.fields["route"]
        choosing.choices = [("", gettext("All models, unless they have rules of their own")), *((name, name) for name in routes)]

    @property
    def said(self) -> dict[str, Any]:
        """The fields as the policy takes them."""
        given = self.cleaned_data
        return {
            "route": given["route"],
            "enabled": given["enabled"] == "yes",
            "keep_days": given["keep_days"],
            "redact": given["redact"] == "yes",
        }


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """What is kept now, by which rules."""
    retention = Retention.of(request.tenant)
    now = datetime.now(UTC)
    kept = Capture.objects.within(request.tenant).filter(keep_until__gt=now, opened_at__gt=now - timedelta(days=LONGEST_DAYS + 1))
    routes = set(Route.objects.within(request.tenant).values_list("name", flat=True))
    words = {
        "retention": retention,
        "rows": [(policy, not policy.route or policy.route in routes) for policy in retention.policies],
        "kept": min(kept.values("id")[: MOST_COUNTED + 1].count(), MOST_COUNTED),
        "most": MOST_COUNTED,
        "oldest": kept.order_by("opened_at", "id").values_list("opened_at", flat=True).first(),
        "call": ApiCall("GET", "/api/v1/capture"),
    }
    return render(request, "console/calls/texts.html", words)


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def change(request: TenantRequest) -> HttpResponse:
    """Say what is kept, of all calls or of those of `?route=`; from the next call on."""
    route = request.GET.get("route", "")
    policy = next((one for one in Retention.of(request.tenant).policies if one.route == route), None)
    initial: dict[str, Any] = {"route": route}
    if policy is not None:
        initial |= {"enabled": _yes(policy.enabled), "keep_days": policy.keep_days, "redact": _yes(policy.redact)}
    form = PolicyForm(request.POST or None, tenant=request.tenant, initial=initial)
    if request.method == "POST" and form.is_valid():
        CapturePolicy.put(request.tenant, by=request.principal, **form.said)
        messages.success(request, gettext("This holds from the next call on."))
        return redirect(to(request, "call_texts"))
    body = {"route": route} if route else {}
    call = ApiCall("PUT", "/api/v1/capture", {**body, "keep_days": policy.keep_days if policy else DEFAULT_DAYS, "redact": True})
    return render(request, "console/calls/change_texts.html", {"form": form, "policy": policy, "call": call})


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest) -> HttpResponse:
    """Say what holds instead, then take a rule back."""
    route = request.GET.get("route", "")
    retention = Retention.of(request.tenant)
    policy = next((one for one in retention.policies if one.route == route), None)
    if policy is None:
        raise Http404
    if request.method == "POST":
        policy.remove(by=request.principal)
        messages.success(request, gettext("The rule is gone. What was kept stays until its day."))
        return redirect(to(request, "call_texts"))
    general = retention.general
    words = {
        "policy": policy,
        "how": how(policy),
        "instead": how(general) if policy.route and general is not None else gettext("nothing is kept"),
        "call": ApiCall("DELETE", f"/api/v1/capture?{urlencode({'route': route})}" if route else "/api/v1/capture"),
    }
    return render(request, "console/calls/remove_texts.html", words)


def _yes(answer: bool) -> str:  # noqa: FBT001 - it is all there is to say
    return "yes" if answer else "no"
