"""The staff pages' look: unfold's settings and the navigation of operators."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse_lazy
from django.utils.translation import gettext
from django.utils.translation import gettext_lazy as _


def _link(title: Any, icon: str, model: str) -> dict[str, Any]:
    return {"title": title, "icon": icon, "link": reverse_lazy(f"admin:{model}_changelist")}


# Moss, from nearly white to nearly black, as in static/css/tokens.css.
ACCENT = {
    "50": "oklch(97.5% 0.014 168)",
    "100": "oklch(94% 0.03 168)",
    "200": "oklch(88% 0.055 168)",
    "300": "oklch(80% 0.085 168)",
    "400": "oklch(70% 0.1 168)",
    "500": "oklch(58% 0.1 168)",
    "600": "oklch(46% 0.085 168)",
    "700": "oklch(40% 0.075 168)",
    "800": "oklch(34% 0.06 168)",
    "900": "oklch(29% 0.05 168)",
    "950": "oklch(21% 0.035 168)",
}


def looking_at(request: HttpRequest) -> list[str] | None:
    """The badge at the top of every staff page: whose rows these are."""
    from menhir.tenancy.admin import chosen_tenant_id
    from menhir.tenancy.models import Tenant

    chosen = chosen_tenant_id(request)
    if chosen is None or not request.user.is_staff:
        return [gettext("No tenant chosen"), "warning"]
    tenant = Tenant.objects.filter(id=chosen).first()
    return [tenant.name, "info"] if tenant is not None else [gettext("No tenant chosen"), "warning"]


UNFOLD: dict[str, Any] = {
    "SITE_TITLE": _("Menhir staff"),
    "SITE_HEADER": _("Menhir staff"),
    "SITE_URL": "/",
    "SITE_ICON": lambda _request: static("menhir.svg"),
    "SITE_FAVICONS": [{"rel": "icon", "type": "image/svg+xml", "href": lambda _request: static("menhir.svg")}],
    "ENVIRONMENT": "menhir.wiring.staff.looking_at",
    "SHOW_HISTORY": False,
    "SHOW_VIEW_ON_SITE": False,
    "SHOW_BACK_BUTTON": True,
    "BORDER_RADIUS": "6px",
    "COLORS": {"primary": ACCENT},
    "SIDEBAR": {
        "show_search": False,
        "show_all_applications": False,
        "navigation": [
            {
                "title": _("Platform"),
                "items": [
                    {"title": _("Overview"), "icon": "home", "link": reverse_lazy("admin:index")},
                    _link(_("People"), "person", "identity_user"),
                    _link(_("Tenants"), "domain", "tenancy_tenant"),
                    {"title": _("Choose a tenant"), "icon": "swap_horiz", "link": reverse_lazy("admin:choose_tenant")},
                ],
            },
            {
                "title": _("The chosen tenant"),
                "separator": True,
                "items": [
                    _link(_("Members"), "group", "tenancy_membership"),
                    _link(_("API keys"), "key", "tenancy_apikey"),
                    _link(_("Token issuers"), "verified_user", "tenancy_tokenissuer"),
                    _link(_("Providers"), "dns", "gateway_provider"),
                    _link(_("Routes"), "route", "gateway_route"),
                    _link(_("Guardrails"), "shield", "gateway_guardrail"),
                    _link(_("Guardrail events"), "policy_alert", "gateway_guardrailevent"),
                    _link(_("Capture of texts"), "fiber_manual_record", "gateway_capturepolicy"),
                    _link(_("Assistants"), "smart_toy", "assistants_assistant"),
                    _link(_("Prompts"), "terminal", "prompts_prompt"),
                    _link(_("Versions"), "history", "prompts_version"),
                    _link(_("Releases"), "rocket_launch", "prompts_release"),
                    _link(_("Collections"), "folder", "knowledge_collection"),
                    _link(_("Documents"), "description", "knowledge_document"),
                    _link(_("Limits"), "speed", "metering_limit"),
                    _link(_("Limits reached"), "notification_important", "metering_limitevent"),
                    _link(_("Calls"), "call_made", "metering_call"),
                    _link(_("Settlements"), "receipt_long", "metering_settlement"),
                    _link(_("Audit trail"), "fact_check", "audit_entry"),
                ],
            },
        ],
    },
}
