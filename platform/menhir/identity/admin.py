"""People, as operators see them."""

from __future__ import annotations

from typing import Any

from allauth.account.decorators import secure_admin_login
from allauth.account.models import EmailAddress
from django import forms
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy
from unfold.admin import ModelAdmin

from menhir.identity.letters import shown_link
from menhir.identity.models import User

# Operators sign in where everybody does: a second factor must not be skipped by another door.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
if admin.site.is_registered(Group):
    admin.site.unregister(Group)


class UserForm(forms.ModelForm):  # type: ignore[type-arg]
    """A person, with an address that is nobody else's."""

    def clean_email(self) -> str:
        """Know the address as everybody else does, in small letters."""
        email: str = self.cleaned_data["email"].strip().lower()
        held = EmailAddress.objects.filter(email__iexact=email, verified=True).exclude(user=self.instance)
        if held.exists() or User.objects.filter(email__iexact=email).exclude(pk=self.instance.pk).exists():
            raise forms.ValidationError(gettext("Somebody has this address already."))
        return email


@admin.register(User)
class UserAdmin(ModelAdmin):  # type: ignore[misc]
    """Who may sign in, and who is an operator. Passwords are chosen by their owners."""

    form = UserForm
    list_display = ("email", "name", "has_proven_address", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    fields = ("email", "name", "is_active", "is_staff", "date_joined", "last_login")
    readonly_fields = ("date_joined", "last_login")
    actions = ("offer_password_link", "vouch")

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        """Somebody new has no password yet: show the link with which he chooses one. The operator vouches for the address."""
        obj.is_superuser = obj.is_staff
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change:
            obj.prove()
            self._show_link(request, obj)
        elif "email" in form.changed_data:
            # The old address must open nothing any more; whether the new one is proven is what was known of the old one.
            was_proven = EmailAddress.objects.filter(user=obj, verified=True).exists()
            EmailAddress.objects.filter(user=obj).delete()
            EmailAddress.objects.create(user=obj, email=obj.email, verified=was_proven, primary=True)

    @admin.display(boolean=True, description=gettext_lazy("address proven"))
    def has_proven_address(self, user: User) -> bool:
        """Whether tenants may add him."""
        return user.is_proven

    @admin.action(description=gettext_lazy("Show a link to choose a password"))
    def offer_password_link(self, request: HttpRequest, queryset: Any) -> None:
        """For each of the chosen people, one link that works once."""
        for user in queryset:
            self._show_link(request, user)

    @admin.action(description=gettext_lazy("Vouch for the address, with a new password"))
    def vouch(self, request: HttpRequest, queryset: Any) -> None:
        """Count unproven addresses as their owners'. Who holds such an account is not known: he must come by a new link."""
        for user in queryset:
            if user.is_proven:
                self.message_user(request, gettext("%(person)s is proven already.") % {"person": user.email}, messages.INFO)
                continue
            user.set_unusable_password()
            user.save(update_fields=["password"])
            user.prove()
            self._show_link(request, user)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Never: what a person did stays his. Make him inactive instead."""
        return False

    def _show_link(self, request: HttpRequest, user: User) -> None:
        words = gettext("%(person)s chooses a password here, once:") % {"person": user.email}
        self.message_user(request, format_html("{} <code>{}</code>", words, shown_link(user)), messages.SUCCESS)
