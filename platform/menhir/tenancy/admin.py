"""Tenants as operators see them, and what every tenant's noun needs in the staff pages."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.translation import gettext, gettext_lazy
from unfold.admin import ModelAdmin, TabularInline
from unfold.widgets import UnfoldAdminPasswordWidget

from menhir.errors import Invalid
from menhir.tenancy.forms import Lines, of_tenant
from menhir.tenancy.models import ApiKey, Membership, Tenant, TokenIssuer
from menhir.tenancy.models.issuer import check_secret

SESSION_KEY = "staff_tenant"
DEEDS = "menhir_deeds"
SHOWN_TENANTS = 200


def chosen_tenant_id(request: HttpRequest) -> UUID | None:
    """The tenant whose rows an operator is looking at."""
    try:
        return UUID(request.session[SESSION_KEY])
    except (KeyError, ValueError):
        return None


class Deed(NamedTuple):
    """Something that an operator did to a tenant's noun; wiring writes it into that tenant's audit trail."""

    verb: str
    noun: str
    noun_id: UUID
    name: str


def deeds_of(request: HttpRequest) -> list[Deed]:
    """What was done in this request so far."""
    return request.__dict__.setdefault(DEEDS, [])  # type: ignore[no-any-return]


class OfTenant(ModelAdmin):  # type: ignore[misc]
    """A tenant's noun: listed and made within the chosen tenant."""

    show_full_result_count = False
    list_per_page = 50

    def get_queryset(self, request: HttpRequest) -> Any:
        """The chosen tenant's rows; none while no tenant is chosen."""
        chosen, found = chosen_tenant_id(request), super().get_queryset(request)
        return found.none() if chosen is None else found.filter(tenant_id=chosen)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Only into a tenant."""
        return chosen_tenant_id(request) is not None and super().has_add_permission(request)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **options: Any) -> Any:  # noqa: FBT001, FBT002  # Django's signature
        """A form whose noun is judged as the chosen tenant's."""
        return of_tenant(super().get_form(request, obj, change, **options), chosen_tenant_id(request))

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        """What is new belongs to the chosen tenant."""
        obj.tenant_id = chosen_tenant_id(request)
        super().save_model(request, obj, form, change)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        """One by one: some nouns ring when they go, so that the data plane forgets them, and some have more to take along."""
        for noun in queryset:
            noun.delete()

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Into the tenant's trail, too."""
        self.remember(request, "created", [obj])
        return super().log_addition(request, obj, message)

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> Any:
        """Into the tenant's trail, too."""
        self.remember(request, "changed", [obj])
        return super().log_change(request, obj, message)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        """Into the tenant's trail, too."""
        self.remember(request, "deleted", queryset)
        return super().log_deletions(request, queryset)

    def remember(self, request: HttpRequest, verb: str, nouns: Iterable[Any]) -> None:
        """Note what an operator does to a tenant's nouns: its people must be able to see it."""
        noun = str(self.opts.model_name)
        deeds_of(request).extend(Deed(f"{noun}.{verb}", noun, one.pk, str(one)[:200]) for one in nouns)

    def save_formset(self, request: HttpRequest, form: Any, formset: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        """As do the lines below it."""
        for line in formset.save(commit=False):
            line.tenant_id = chosen_tenant_id(request)
            line.save()
        for line in formset.deleted_objects:
            line.delete()

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """An empty list says why it is empty."""
        if chosen_tenant_id(request) is None:
            messages.info(request, gettext("Choose a tenant first: operators look at one at a time."))
            return redirect("admin:choose_tenant")
        response: HttpResponse = super().changelist_view(request, extra_context)
        return response


class ReadOnly(OfTenant):
    """A tenant's noun that operators may look at."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never."""
        return False


class LinesOfTenant(TabularInline):  # type: ignore[misc]
    """Lines below a tenant's noun."""

    extra = 0
    formset = Lines

    def get_formset(self, request: HttpRequest, obj: Any = None, **options: Any) -> Any:
        """Each line is judged as the chosen tenant's."""
        lines = super().get_formset(request, obj, **options)
        lines.form = of_tenant(lines.form, chosen_tenant_id(request))
        return lines


@admin.register(Tenant)
class TenantAdmin(ModelAdmin):  # type: ignore[misc]
    """The directory. Tenants are founded with their owner by `manage.py tenant create`."""

    list_display = ("name", "slug", "created_at")
    search_fields = ("name", "slug")
    ordering = ("name",)
    fields = ("name", "slug", "created_at")
    readonly_fields = ("slug", "created_at")

    def get_urls(self) -> list[Any]:
        """The picker stands beside the directory."""
        return [path("choose/", self.admin_site.admin_view(self.choose), name="choose_tenant"), *super().get_urls()]

    def choose(self, request: HttpRequest) -> HttpResponse:
        """Choose whose rows to look at, or nobody's."""
        if request.method == "POST":
            if given := request.POST.get("tenant", ""):
                tenant = get_object_or_404(Tenant, slug=given)
                request.session[SESSION_KEY] = str(tenant.id)
                messages.success(request, gettext("You are looking at %(tenant)s.") % {"tenant": tenant.name})
            else:
                request.session.pop(SESSION_KEY, None)
            return redirect(reverse("admin:index"))
        words = request.GET.get("q", "").replace("\x00", "")
        found = Tenant.objects.order_by("name")
        if words:
            found = found.filter(name__icontains=words) | found.filter(slug__icontains=words)
        context = {
            **self.admin_site.each_context(request),
            "title": gettext("Choose a tenant"),
            "found": found[:SHOWN_TENANTS],
            "words": words,
            "chosen": chosen_tenant_id(request),
        }
        return TemplateResponse(request, "admin/choose_tenant.html", context)

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never here: a tenant begins with its owner."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Tenant | None = None) -> bool:
        """Never here: it would take everything with it."""
        return False


@admin.register(Membership)
class MembershipAdmin(OfTenant):
    """Who is in the chosen tenant, as what."""

    list_display = ("user", "role", "created_at")
    list_filter = ("role",)
    search_fields = ("user__email",)
    list_select_related = ("user",)
    autocomplete_fields = ("user",)


@admin.register(ApiKey)
class ApiKeyAdmin(ReadOnly):
    """Keys can be looked at and revoked; their plaintext exists nowhere."""

    list_display = ("name", "last_four", "scopes", "created_at", "expires_at", "revoked_at")
    search_fields = ("name", "last_four")
    fields = ("name", "last_four", "scopes", "created_at", "created_by", "expires_at", "revoked_at")
    ordering = ("-created_at",)
    actions = ("revoke",)

    @admin.action(description=gettext_lazy("Revoke for good"), permissions=["view"])
    def revoke(self, request: HttpRequest, queryset: Any) -> None:
        """Refuse the chosen keys everywhere, within a second."""
        for key in queryset:
            key.revoke()
        self.remember(request, "revoked", queryset)
        self.message_user(request, gettext("The keys are revoked."), messages.SUCCESS)


class TokenIssuerForm(forms.ModelForm):  # type: ignore[type-arg]
    """An issuer, whose shared secret can be set and never read."""

    secret = forms.CharField(
        label=gettext_lazy("Shared secret"),
        required=False,
        widget=UnfoldAdminPasswordWidget(attrs={"autocomplete": "new-password"}),
        help_text=gettext_lazy("Sealed when saved. Left empty, the present one stays."),
    )

    def clean_secret(self) -> str:
        """Refuse one that is too short to be one."""
        secret: str = self.cleaned_data["secret"]
        try:
            check_secret(secret)
        except Invalid as e:
            raise forms.ValidationError(e.message) from e
        return secret

    def clean(self) -> dict[str, Any] | None:
        """Let the model judge the whole, the secret included."""
        found = super().clean()
        self.instance.typed_secret = self.cleaned_data.get("secret", "")
        return found


@admin.register(TokenIssuer)
class TokenIssuerAdmin(OfTenant):
    """Whose tokens the chosen tenant accepts."""

    form = TokenIssuerForm
    list_display = ("name", "issuer", "audience", "algorithms")
    search_fields = ("name", "issuer")

    def save_model(self, request: HttpRequest, obj: TokenIssuer, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        """Seal what was typed."""
        if secret := form.cleaned_data.get("secret"):
            obj.set_secret(secret)
        if not change:
            obj.user_prefix = obj.user_prefix or obj.prefix_apart()
        obj.keep()
