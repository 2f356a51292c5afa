"""Where every page lives. `/v1`, `/ws`, health and metrics never come here: see asgi.py."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec

from django.conf import settings
from django.contrib import admin
from django.urls import URLPattern, URLResolver, include, path, re_path

from menhir.wiring import pages
from menhir.wiring.api import api

admin.autodiscover()


def rooms() -> list[URLPattern | URLResolver]:
    """The pages of every room that has some."""
    return [
        path("", include(import_module(f"apps.{label}.urls"))) for label in reversed(settings.PRODUCT) if find_spec(f"apps.{label}.urls")
    ]


urlpatterns = [
    path("", pages.front_door, name="front_door"),
    path("api/v1/", api.urls),
    # An address is proven by a link to choose a password, which takes the account from whoever held it. allauth's own letters would let
    # somebody else's account be confirmed by a click. Operators change addresses.
    re_path(r"^accounts/(?:email|confirm-email)/", pages.absent),
    path("accounts/", include("allauth.urls")),
    path("language/", include("django.conf.urls.i18n")),
    path("staff/", admin.site.urls),
    *rooms(),
]
handler400 = pages.error(400)
handler403 = pages.error(403)
handler404 = pages.error(404)
handler500 = pages.error(500)
