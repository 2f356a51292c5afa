"""People, as operators see them."""

from __future__ import annotations

from typing import Any

from allauth.account.decorators import secure_admin_login
from django.contrib import admin, messages
from django.contrib.auth.models import Group
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.translation import gettext, gettext_lazy
from unfold.admin import ModelAdmin

from menhir.identity.letters import password_link
from menhir.identity.models import User

# Operators sign in where everybody does: a second factor must not be skipped by another door.
admin.site.login = secure_admin_login(admin.site.login)  # type: ignore[method-assign]
if admin.site.is_registered(Group):
    admin.site.unregister(Group)


@admin.register(User)
class UserAdmin(ModelAdmin):  # type: ignore[misc]
    """Who may sign in, and who is an operator. Passwords are chosen by their owners."""

    list_display = ("email", "name", "is_staff", "is_active", "last_login")
    list_filter = ("is_staff", "is_active")
    search_fields = ("email", "name")
    ordering = ("email",)
    fields = ("email", "name", "is_active", "is_staff", "date_joined", "last_login")
    readonly_fields = ("date_joined", "last_login")
    actions = ("offer_password_link",)

    def save_model(self, request: HttpRequest, obj: User, form: Any, change: bool) -> None:  # noqa: FBT001  # Django's signature
        """Somebody new has no password yet: show the link with which he chooses one."""
        obj.email, obj.is_superuser = obj.email.strip().lower(), obj.is_staff
        if not change:
            obj.set_unusable_password()
        super().save_model(request, obj, form, change)
        if not change:
            self._show_link(request, obj)

    @admin.action(description=gettext_lazy("Show a link to choose a password"))
    def offer_password_link(self, request: HttpRequest, queryset: Any) -> None:
        """For each of the chosen people, one link that works once."""
        for user in queryset:
            self._show_link(request, user)

    def has_delete_permission(self, request: HttpRequest, obj: User | None = None) -> bool:
        """Never: what a person did stays his. Make him inactive instead."""
        return False

    def _show_link(self, request: HttpRequest, user: User) -> None:
        words = gettext("%(person)s chooses a password here, once:") % {"person": user.email}
        self.message_user(request, format_html("{} <code>{}</code>", words, password_link(user)), messages.SUCCESS)
