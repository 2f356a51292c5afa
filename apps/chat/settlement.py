"""The end of an answer, written once: its text, what it cites, and how it ended."""

from __future__ import annotations

from uuid import UUID

from django.utils import timezone

from apps.chat.draft import Draft
from apps.chat.models import Citation, Failure, Message, Status

ENDINGS = {"completed": Status.COMPLETE, "stopped": Status.STOPPED, "failed": Status.FAILED, "interrupted": Status.INTERRUPTED}


def settle_from(tenant_id: UUID, answer_id: UUID, draft: Draft) -> None:
    """Write the answer of a run that has ended without doing so: its process died, or had no database.

    Called inside a tenant transaction; does nothing to an answer that is settled.
    """
    status = ENDINGS.get(draft.outcome or "", Status.INTERRUPTED)
    failure = (Failure.BROKE_OFF if draft.text else Failure.OURS) if status is Status.FAILED else None
    settle(tenant_id, answer_id, draft, status, failure)


def settle(tenant_id: UUID, answer_id: UUID, draft: Draft, status: Status, failure: Failure | None = None) -> None:
    """Write what came into the answer, unless somebody settled it before. Called inside a tenant transaction."""
    from apps.chat.markdown import cited  # with all that shows an answer: loaded in this thread by whoever needs it first

    answers = Message.objects.within(tenant_id).filter(id=answer_id, status=Status.STREAMING)
    answer = answers.select_for_update().first()
    if answer is None:
        return
    answer.text = draft.text.replace("\x00", "")
    answer.status = status
    answer.failure = failure or ""
    answer.passages = None if draft.passages is None else len(draft.passages)
    answer.settled_at = timezone.now()
    answer.save(update_fields=["text", "status", "failure", "passages", "settled_at"])
    numbers = set(cited(answer.text))
    Citation.objects.bulk_create(
        Citation(
            tenant_id=tenant_id,
            message=answer,
            number=passage.number,
            chunk=passage.chunk,
            document=passage.document,
            title=passage.title[:500],
            start=passage.start,
            end=passage.end,
            text=passage.text,
        )
        for passage in draft.passages or ()
        if passage.number in numbers
    )
