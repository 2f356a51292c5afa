"""The request id, and the one place with a looser policy."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse

from menhir.postgres.ids import uuid7

GIVEN = re.compile(r"^[A-Za-z0-9._-]{8,128}$")


def request_id(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Give each request an id (the caller's own, if it is a sane one) and say it in `x-request-id`."""

    def middleware(request: Any) -> HttpResponse:
        given = request.headers.get("x-request-id", "")
        request.id = given if GIVEN.match(given) else f"req_{uuid7().hex}"
        response = get_response(request)
        response["x-request-id"] = request.id
        return response

    return middleware


def staff_policy(get_response: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Loosen the content security policy under /staff/ alone; stands below django-csp, which writes the header."""

    def middleware(request: HttpRequest) -> HttpResponse:
        response: Any = get_response(request)
        if request.path.startswith("/staff/"):
            response._csp_update = settings.STAFF_SECURITY_POLICY  # noqa: SLF001  # where django-csp looks for it
        return response  # type: ignore[no-any-return]

    return middleware
