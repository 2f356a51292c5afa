"""The JSON API under /api/v1: every room's router, and errors as RFC 9457 problems."""

from __future__ import annotations

import logging
from importlib import import_module
from typing import Any

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import HttpError, ValidationError
from ninja.openapi.docs import Swagger

from menhir.errors import MenhirError, status_of
from menhir.wiring.problems import problem
from menhir.wiring.refusals import status_for

log = logging.getLogger(__name__)


class Reference(Swagger):
    """The page at /api/v1/docs, from our own static files: it works without internet."""

    # Where Ninja is not an installed app it would take its scripts from elsewhere.
    template_cdn = str(settings.NINJA / "templates" / "ninja" / "swagger.html")


def build() -> NinjaAPI:
    """The API with the router of every room that has one."""
    api = NinjaAPI(
        title="Menhir",
        version="1",
        description="Prompts, knowledge, usage and answers of one tenant. The OpenAI-compatible plane is under /v1.",
        docs=Reference(),
        docs_url="/docs",
        openapi_url="/openapi.json",
        urls_namespace="api",
    )
    for label in settings.KERNEL + settings.PRODUCT:
        package = f"menhir.{label}" if label in settings.KERNEL else f"apps.{label}"
        try:
            module = import_module(f"{package}.api")
        except ModuleNotFoundError as e:
            if e.name != f"{package}.api":
                raise
            continue
        api.add_router("", module.router)
    for kind, handler in HANDLERS.items():
        api.add_exception_handler(kind, handler)
    return api


def _on_menhir_error(request: HttpRequest, error: MenhirError) -> HttpResponse:
    return problem(request, status_of(error), error.message, code=error.code, param=error.param)


def _on_validation_error(request: HttpRequest, error: ValidationError) -> HttpResponse:
    found = [{"field": _field(item["loc"]), "message": item["msg"]} for item in error.errors]
    first = found[0] if found else {"field": None, "message": "The request is not valid."}
    detail = f"{first['field']}: {first['message']}" if first["field"] else str(first["message"])
    return problem(request, 422, detail, code="invalid_request", param=first["field"], errors=found)


def _field(location: Any) -> str:
    # Ninja puts where it looked (body, query, …) and the argument's name before the field's own path.
    path = [str(part) for part in location]
    return ".".join(path[2:] if len(path) > 2 and path[0] == "body" else path[1:])  # noqa: PLR2004


def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    return problem(request, error.status_code, str(error))


def _on_absence(request: HttpRequest, error: Http404) -> HttpResponse:
    return problem(request, 404, "There is no such thing.", code="not_found")


def _on_denial(request: HttpRequest, error: PermissionDenied) -> HttpResponse:
    return problem(request, 403, "This is not allowed.", code="forbidden")


def _on_unexpected(request: HttpRequest, error: Exception) -> HttpResponse:
    if (status := status_for(error)) is not None:
        log.warning("a request that cannot be served: %r", error)
        known = {
            400: ("The request holds something that cannot be kept or read.", "invalid_request"),
            413: ("The body is too large.", "too_large"),
            503: ("The database is not answering. Try again shortly.", "unavailable"),
        }
        return problem(request, status, known[status][0], code=known[status][1])
    log.error("unexpected error", exc_info=error)
    return problem(request, 500, "Something went wrong on our side. It has been logged under this request id.", code="internal_error")


HANDLERS: dict[type[Exception], Any] = {
    MenhirError: _on_menhir_error,
    ValidationError: _on_validation_error,
    HttpError: _on_http_error,
    Http404: _on_absence,
    PermissionDenied: _on_denial,
    Exception: _on_unexpected,
}

api = build()
