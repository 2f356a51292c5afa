"""A refused form brings one back to where it was, with the sentence that says why."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, TypeAlias
from uuid import UUID

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse

from apps.chat.errors import BadRequest
from menhir.errors import MenhirError, NotFound
from menhir.tenancy.http import TenantRequest

AsyncView: TypeAlias = Callable[..., Coroutine[Any, Any, HttpResponseBase]]


def refusing(view: Callable[..., HttpResponseBase]) -> Callable[..., HttpResponseBase]:
    """For sync views: what is not there is a 404, any other refusal a message on the page one came from."""

    @wraps(view)
    def wrapped(request: TenantRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            return view(request, **kwargs)
        except NotFound as error:
            raise Http404 from error
        except MenhirError as error:
            return _back(request, error, kwargs)

    return wrapped


def refusing_async(view: AsyncView) -> AsyncView:
    """The same for async views."""

    @wraps(view)
    async def wrapped(request: TenantRequest, **kwargs: Any) -> HttpResponseBase:
        try:
            return await view(request, **kwargs)
        except NotFound as error:
            raise Http404 from error
        except MenhirError as error:
            return _back(request, error, kwargs)

    return wrapped


def _back(request: TenantRequest, error: MenhirError, arguments: dict[str, Any]) -> HttpResponse:
    messages.error(request, error.message)
    if "conversation" in arguments:
        return redirect(to(request, "conversation", conversation=arguments["conversation"]))
    return redirect(to(request, "new"))


def to(request: TenantRequest, name: str, **arguments: Any) -> str:
    """The address of a chat page in the request's tenant."""
    return reverse(f"chat:{name}", kwargs={"tenant": request.tenant.slug, **arguments})


def uuid_in(request: HttpRequest, field: str) -> UUID | None:
    """An id from a form; None when it is empty. Raises BadRequest for anything else."""
    given = request.POST.get(field, "")
    try:
        return UUID(given) if given else None
    except ValueError as error:
        raise BadRequest(param=field) from error
