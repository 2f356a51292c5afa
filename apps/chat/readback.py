"""Answers that are being written, as a page needs them: what came so far, without waiting; and the end of those whose writer died."""

from __future__ import annotations

from uuid import UUID

from apps.chat.draft import Draft
from apps.chat.models import Conversation, Message, Status
from apps.chat.rows import in_tenant
from apps.chat.settlement import settle_from
from apps.chat.transcript import Shown
from menhir.realtime.errors import NoSuchRun
from menhir.realtime.journal import journal
from menhir.tenancy.principal import Principal


async def read_running(shown: Shown) -> bool:
    """Give a running answer its text so far. False when its run is over by now: it is settled then, and worth another look."""
    message = shown.message
    draft, seq = await so_far(message.tenant_id, message.run)
    if draft.outcome is not None:
        await in_tenant(message.tenant_id, lambda: settle_from(message.tenant_id, message.id, draft))
        return False
    shown.draft, shown.seq = draft, seq
    return True


async def settle_the_dead(principal: Principal, conversation_id: UUID) -> bool:
    """Settle the running answer of a conversation if its run is over. Whether nothing is running any more."""

    def running() -> Message | None:
        answers = Conversation.objects.open(principal, conversation_id).messages.filter(status=Status.STREAMING)
        answer: Message | None = answers.first()
        return answer

    answer = await in_tenant(principal.tenant_id, running)
    if answer is None:
        return True
    draft, _ = await so_far(answer.tenant_id, answer.run)
    if draft.outcome is None:
        return False
    await in_tenant(answer.tenant_id, lambda: settle_from(answer.tenant_id, answer.id, draft))
    return True


async def so_far(tenant_id: UUID, run_id: UUID | None) -> tuple[Draft, int]:
    """What the journal has of a run now, and the number of its last event. A run that it has forgotten was interrupted."""
    draft, seq = Draft(), 0
    try:
        snapshot = await journal.so_far(tenant_id, run_id) if run_id is not None else None
    except NoSuchRun:
        snapshot = None
    if snapshot is None:
        draft.outcome = "interrupted"
        return draft, seq
    for number, event in snapshot.events:
        draft.take(event)
        seq = number
    draft.outcome = draft.outcome or snapshot.outcome
    return draft, seq
