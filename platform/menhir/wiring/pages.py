"""The pages that belong to no room: the front door, errors."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template import loader

from menhir.tenancy.middleware import places_of
from menhir.wiring.problems import problem
from menhir.wiring.refusals import status_for


@login_required
def front_door(request: HttpRequest) -> HttpResponse:
    """To the tenant visited last, or the first by name; somebody who belongs nowhere is told so."""
    places = places_of(request.user)
    if not places:
        return HttpResponse(loader.render_to_string("nowhere.html", {}, request), status=403)
    last = request.COOKIES.get("menhir_tenant")
    place = next((place for place in places if place.slug == last), places[0])
    return redirect(f"/t/{place.slug}/")


def absent(request: HttpRequest) -> HttpResponse:
    """What a library offers at this address, and we do not."""
    raise Http404


def error(status: int) -> Callable[..., HttpResponse]:
    """The page for a status; under /api/ a problem instead. It must not fail itself, so it asks the database nothing."""
    details = {
        400: "The request cannot be understood.",
        403: "This is not allowed.",
        404: "There is no such thing.",
        413: "The body is larger than the limit.",
        500: "Something went wrong on our side. It has been logged under this request id.",
        503: "The database is not answering. Try again shortly.",
    }

    def page(request: HttpRequest, exception: Any = None) -> HttpResponse:
        # Django hands over no exception with a 500, and calls every request it will not read a 400.
        found = (status_for(exception or sys.exception()) or status) if status in {400, 500} else status
        if request.path.startswith("/api/"):
            return problem(request, found, details[found])
        return HttpResponse(loader.render_to_string(f"{found}.html", {"request_id": getattr(request, "id", "")}), status=found)

    return page
