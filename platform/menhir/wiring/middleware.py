"""The request id, the limit of a body, and the one place with a looser policy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse

from menhir.telemetry import requests
from menhir.wiring.bounds import FORMS, FROM_NOBODY, TOO_LARGE


def request_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Give each request an id (the caller's own, if it is a sane one) and say it in `x-request-id`."""

    def middleware(request: Any) -> HttpResponse:
        request.id = requests.accept(request.headers.get("x-request-id"))
        token = requests.request_id.set(request.id)
        try:
            response = get_response(request)
        finally:
            requests.request_id.reset(token)
        response["x-request-id"] = request.id
        return response

    return middleware


def body_limit(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Answer for a request whose body was dropped on its way in (see `bounds`): 413, or to the sign-in page; the API says 401 by itself."""
    from menhir.wiring.pages import error

    too_large = error(413)

    def middleware(request: Any) -> HttpResponse:
        scope = getattr(request, "scope", {})
        if scope.get(TOO_LARGE):
            return too_large(request)
        if scope.get(FROM_NOBODY) and FORMS.match(request.path):
            return redirect_to_login(request.get_full_path())
        return get_response(request)

    return middleware


def staff_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Loosen the content security policy under /staff/ alone; stands below django-csp, which writes the header."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response: Any = get_response(request)
        if request.path.startswith("/staff/"):
            response._csp_update = settings.STAFF_SECURITY_POLICY  # noqa: SLF001  # where django-csp looks for it
        return response  # type: ignore[no-any-return]

    return middleware
