"""What one does with an answer, by forms: the same as over the socket."""

from __future__ import annotations

from uuid import UUID

from django.http import HttpResponseBase
from django.shortcuts import redirect
from django.views.decorators.http import require_POST

from apps.chat import asking, turns
from apps.chat.errors import NoSuchMessage
from apps.chat.pages.refusals import refusing, refusing_async, to, uuid_in
from menhir.tenancy.http import TenantRequest


@require_POST
@refusing_async
async def regenerate(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """Have another answer written beside the one there is."""
    await asking.ask_again(request.principal, conversation, answer_id=_message(request))
    return redirect(to(request, "conversation", conversation=conversation) + "#end")


@require_POST
@refusing_async
async def stop(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """End the answer that is being written; what came is kept."""
    await asking.stop_running(request.principal, conversation)
    return redirect(to(request, "conversation", conversation=conversation) + "#end")


@require_POST
@refusing
def choose(request: TenantRequest, conversation: UUID) -> HttpResponseBase:
    """Show another version of a message, and what came below it."""
    message = _message(request)
    turns.choose(request.principal, conversation, message_id=message)
    return redirect(to(request, "conversation", conversation=conversation) + f"#m-{message}")


def _message(request: TenantRequest) -> UUID:
    message = uuid_in(request, "message")
    if message is None:
        raise NoSuchMessage
    return message
