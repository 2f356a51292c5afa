"""People: who is in, as what; the way in and the way out."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.translation import gettext, gettext_lazy
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from apps.console import invitations
from apps.console.listing import Column, Listing, export, wants_csv
from apps.console.places import to
from apps.console.refusals import show_refusal
from menhir import audit
from menhir.errors import Conflict, Forbidden, MenhirError
from menhir.identity.models import User
from menhir.tenancy.http import TenantRequest, needs_role
from menhir.tenancy.models import Membership
from menhir.tenancy.principal import Principal, Role

COLUMNS = [
    Column("person", gettext_lazy("Person"), ("user__email",)),
    Column("role", gettext_lazy("Role"), ("role",)),
    Column("since", gettext_lazy("Member since"), ("created_at",)),
    Column("seen", gettext_lazy("Last signed in"), ("user__last_login",)),
]
EXPORT: list[tuple[Any, Any]] = [
    ("email", lambda membership: membership.user.email),
    ("name", lambda membership: membership.user.name),
    ("role", lambda membership: membership.role),
    ("since", lambda membership: membership.created_at),
    ("last_signed_in", lambda membership: membership.user.last_login),
]
ROLE_WORDS = [
    (Role.MEMBER, gettext_lazy("Member: chats and reads documents")),
    (Role.ADMIN, gettext_lazy("Admin: also uses this console")),
    (Role.OWNER, gettext_lazy("Owner: also decides who is an owner")),
]


class PersonForm(forms.Form):
    """Whom to add, as what."""

    email = forms.EmailField(label=gettext_lazy("E-mail address"), widget=forms.EmailInput(attrs={"autocomplete": "off"}))
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=ROLE_WORDS, initial=Role.MEMBER, widget=forms.RadioSelect)

    def __init__(self, *arguments: Any, by: Principal) -> None:
        super().__init__(*arguments)
        self.fields["role"].choices = roles_for(by)  # type: ignore[attr-defined]


def roles_for(by: Principal) -> list[tuple[Role, Any]]:
    """The roles that somebody may give: none above his own."""
    return [(role, words) for role, words in ROLE_WORDS if by.role is not None and by.role.covers(role)]


@require_GET
@needs_role("admin")
def index(request: TenantRequest) -> HttpResponse:
    """Everybody who is in."""
    found = _members(request)
    if wants_csv(request):
        return export("people", EXPORT, found.order_by("user__email"))
    listing = Listing.of(request, found, columns=COLUMNS, search=("user__email", "user__name"), sort="person")
    return render(request, "console/people/index.html", {"listing": listing, "roles": roles_for(request.principal)})


@never_cache
@require_http_methods(["GET", "POST"])
@needs_role("admin")
def add(request: TenantRequest) -> HttpResponse:
    """Add a person by address; somebody new gets a link to choose a password."""
    form = PersonForm(request.POST or None, by=request.principal)
    if request.method == "POST" and form.is_valid():
        email, role = form.cleaned_data["email"].lower(), Role(form.cleaned_data["role"])
        user = User.objects.filter(email__iexact=email).first()
        is_new = user is None
        try:
            if _members(request).filter(user__email__iexact=email).exists():
                raise Conflict(gettext("This person is in already. Change the role in the list."), param="email")
            if user is not None and not user.is_proven:
                raise Conflict(invitations.refusal_of_unproven(user), param="email")
            user = user or User.objects.create_user(email)
        except MenhirError as refusal:
            show_refusal(form, refusal)
        else:
            membership = Membership.objects.create(tenant=request.tenant, user=user, role=role)
            _remember(request, "person.added", membership)
            link = invitations.send(request, user, is_new=is_new)
            return render(request, "console/people/added.html", {"person": user, "link": link, "is_new": is_new})
    return render(request, "console/people/new.html", {"form": form})


@require_POST
@needs_role("admin")
def change(request: TenantRequest, membership: UUID) -> HttpResponse:
    """Give somebody another role."""
    found = _member(request, membership)
    try:
        role = Role(request.POST.get("role", ""))
        _check_rank(request.principal, found, role)
        found.become(role)
    except ValueError:
        messages.error(request, gettext("There is no such role. Nothing was changed."))
    except MenhirError as refusal:
        messages.error(request, refusal.message)
    else:
        _remember(request, "person.role_changed", found)
        messages.success(request, gettext("%(person)s is now: %(role)s.") % {"person": found.user.email, "role": found.get_role_display()})
    return redirect(to(request, "people"))


@require_http_methods(["GET", "POST"])
@needs_role("admin")
def remove(request: TenantRequest, membership: UUID) -> HttpResponse:
    """Say what the person loses, then take him out."""
    found = _member(request, membership)
    if request.method == "POST":
        try:
            _check_rank(request.principal, found, Role(found.role))
            _remember(request, "person.removed", found)
            found.end()
        except MenhirError as refusal:
            messages.error(request, refusal.message)
        else:
            messages.success(request, gettext("%(person)s is no longer in.") % {"person": found.user.email})
        return redirect(to(request, "people"))
    return render(request, "console/people/remove.html", {"membership": found})


def _members(request: TenantRequest) -> QuerySet[Membership]:
    found: QuerySet[Membership] = Membership.objects.within(request.tenant).select_related("user")
    return found


def _member(request: TenantRequest, membership: UUID) -> Membership:
    return get_object_or_404(_members(request), id=membership)


def _check_rank(by: Principal, membership: Membership, role: Role) -> None:
    if by.role is None or not (by.role.covers(Role(membership.role)) and by.role.covers(role)):
        raise Forbidden(gettext("Only an owner decides about owners. Nothing was changed."))


def _remember(request: TenantRequest, verb: str, membership: Membership) -> None:
    detail = {"person": str(membership.user_id), "role": str(membership.role)}
    audit.record(request.principal, verb=verb, noun="membership", noun_id=membership.id, detail=detail)
