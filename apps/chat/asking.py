"""Asking, from a socket or a page: the turn is written, then the answer begins in the background."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from apps.chat import turns
from apps.chat.answering import answers
from apps.chat.errors import AnswerRunning, NoSuchMessage
from apps.chat.models import Conversation, Message, Status
from apps.chat.readback import settle_the_dead
from apps.chat.rows import in_tenant
from apps.chat.turns import Turn
from menhir.realtime.journal import journal
from menhir.tenancy.principal import INFERENCE, Principal

Write = Callable[[UUID], Turn | None]


async def ask(principal: Principal, conversation_id: UUID, *, text: str, below: UUID | None, question_id: UUID) -> Turn | None:
    """Ask a question; None when this very question was asked before. Raises a ChatError, and then nothing has changed."""
    principal.require(INFERENCE)
    turns.question_of(text)

    def write(run_id: UUID) -> Turn | None:
        return turns.ask(principal, conversation_id, text=text, below=below, question_id=question_id, run_id=run_id)

    return await _open(principal, conversation_id, write)


async def ask_again(principal: Principal, conversation_id: UUID, *, answer_id: UUID) -> Turn | None:
    """Have another answer written beside this one. Raises a ChatError, and then nothing has changed."""
    principal.require(INFERENCE)
    return await _open(
        principal, conversation_id, lambda run_id: turns.ask_again(principal, conversation_id, answer_id=answer_id, run_id=run_id)
    )


async def stop(principal: Principal, conversation_id: UUID, *, run_id: UUID) -> None:
    """End an answer, on whichever process it is being written; one that has ended already stays as it is."""

    def belongs() -> bool:
        conversation = Conversation.objects.open(principal, conversation_id)
        return conversation.messages.filter(run=run_id).exists()

    if not await in_tenant(principal.tenant_id, belongs):
        raise NoSuchMessage
    await journal.request_stop(principal.tenant_id, run_id)


async def stop_running(principal: Principal, conversation_id: UUID) -> None:
    """End whatever is being answered in a conversation."""

    def running() -> UUID | None:
        conversation = Conversation.objects.open(principal, conversation_id)
        answer: Message | None = conversation.messages.filter(status=Status.STREAMING).first()
        return answer.run if answer else None

    if run_id := await in_tenant(principal.tenant_id, running):
        await journal.request_stop(principal.tenant_id, run_id)


async def _open(principal: Principal, conversation_id: UUID, write: Write) -> Turn | None:
    run = await journal.begin(principal.tenant_id, f"conversation:{conversation_id}")
    turn: Turn | None = None
    try:
        turn = await _written(principal, conversation_id, lambda: write(run.id))
    finally:
        if turn is None:
            await run.end("failed")  # nobody has heard of it
    if turn is not None:
        answers.begin(principal, turn, run)
    return turn


async def _written(principal: Principal, conversation_id: UUID, write: Callable[[], Turn | None]) -> Turn | None:
    """Write the turn. An answer whose process has died does not stand in the way."""
    try:
        return await in_tenant(principal.tenant_id, write)
    except AnswerRunning:
        if not await settle_the_dead(principal, conversation_id):
            raise
        return await in_tenant(principal.tenant_id, write)
