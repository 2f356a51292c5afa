"""The console's addresses: `/t/<tenant>/console/…`."""

from __future__ import annotations

from django.urls import URLPattern, include, path

from apps.console.pages import keys, people

app_name = "console"

_pages: list[URLPattern] = [
    path("keys/", keys.index, name="keys"),
    path("keys/new", keys.create, name="new_key"),
    path("keys/<uuid:key>/revoke", keys.revoke, name="revoke_key"),
    path("people/", people.index, name="people"),
    path("people/new", people.add, name="add_person"),
    path("people/<uuid:membership>", people.change, name="change_person"),
    path("people/<uuid:membership>/remove", people.remove, name="remove_person"),
]
urlpatterns = [path("t/<slug:tenant>/console/", include(_pages))]
