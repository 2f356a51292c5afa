"""Problem details for HTTP APIs (RFC 9457)."""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

from django.http import HttpRequest, HttpResponse, JsonResponse

ABOUT = "https://www.rfc-editor.org/rfc/rfc9110#status."


def problem(
    request: HttpRequest, status: int, detail: str, *, code: str = "error", param: str | None = None, errors: Sequence[Any] = ()
) -> HttpResponse:
    """A problem: `status` says what kind, `detail` what happened, `param` and `errors` which field.

    `request_id` is what to look for in the logs.
    """
    body: dict[str, Any] = {
        "type": f"{ABOUT}{status}",
        "title": HTTPStatus(status).phrase,
        "status": status,
        "detail": detail,
        "code": code,
        "param": param,
        "request_id": getattr(request, "id", None),
    }
    if errors:
        body["errors"] = list(errors)
    response = JsonResponse(body, status=status, content_type="application/problem+json")
    if status == HTTPStatus.UNAUTHORIZED:
        response["WWW-Authenticate"] = 'Bearer realm="menhir"'
    return response
