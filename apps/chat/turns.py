"""A turn: a question and the answer it waits for, written before anybody is asked.

Each function here is called inside a tenant transaction and calls nothing outside the database.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from django.db import IntegrityError, models, transaction
from django.utils import timezone
from django.utils.translation import gettext

from apps.assistants.models import Assistant
from apps.chat.errors import AnswerRunning, BadRequest, EmptyQuestion, LongQuestion, NoSuchMessage, UnknownModel
from apps.chat.models import Author, Conversation, Message, Status, title_of
from apps.chat.tree import Tree
from menhir.errors import Forbidden
from menhir.postgres.ids import uuid7
from menhir.tenancy.principal import Principal

QUESTION_LIMIT_CHARACTERS = 32_000
HISTORY_LIMIT_CHARACTERS = 200_000  # about 50,000 tokens; the newest are kept


@dataclass(frozen=True, slots=True)
class Turn:
    """What was written: the message above it, the question when it is new, and the empty answer."""

    conversation_id: UUID
    model: str
    parent_id: UUID | None
    question_id: UUID | None
    answer_id: UUID
    run_id: UUID
    history: list[dict[str, str]]

    @property
    def message_ids(self) -> list[UUID]:
        """The new messages, from above to below."""
        return [self.answer_id] if self.question_id is None else [self.question_id, self.answer_id]


def begin(principal: Principal, *, model: str, text: str) -> Conversation:
    """Open a conversation whose title is the first words of its first question."""
    text = question_of(text)
    if principal.user_id is None:
        raise Forbidden("Conversations belong to people.")
    slug = model.removeprefix("assistant:")
    if "\x00" in slug or not Assistant.objects.within(principal.tenant_id).filter(slug=slug).exists():
        raise UnknownModel(param="model")
    return Conversation.objects.create(
        tenant_id=principal.tenant_id, owner_id=principal.user_id, title=title_of(text), model=f"assistant:{slug}"
    )


def ask(principal: Principal, conversation_id: UUID, *, text: str, below: UUID | None, question_id: UUID, run_id: UUID) -> Turn | None:
    """Write a question below a message (nothing: as a first question) and an answer to come.

    The asker names the question: asking again with the same `question_id`, because a connection broke, gives None and changes nothing.
    """
    text = question_of(text)
    conversation = Conversation.objects.open(principal, conversation_id, to_write=True)
    if _messages(conversation).filter(id=question_id).exists():
        return None
    parent = _message(conversation, below) if below else None
    if parent is not None and parent.author != Author.ASSISTANT:
        raise BadRequest("A question follows an answer.", param="below")
    _refuse_while_answering(conversation)
    try:
        with transaction.atomic():
            question = conversation.messages.create(
                id=question_id, tenant_id=conversation.tenant_id, parent=parent, author=Author.USER, text=text
            )
    except IntegrityError as error:
        raise BadRequest("This id is taken.", param="id") from error
    return _await_answer(conversation, question, parent_id=below, new_question=True, run_id=run_id)


def ask_again(principal: Principal, conversation_id: UUID, *, answer_id: UUID, run_id: UUID) -> Turn:
    """Write another answer to come, beside the one there is."""
    conversation = Conversation.objects.open(principal, conversation_id, to_write=True)
    answer = _message(conversation, answer_id)
    if answer.author != Author.ASSISTANT or answer.parent_id is None:
        raise BadRequest("Only an answer can be written again.", param="message")
    _refuse_while_answering(conversation)
    question = _message(conversation, answer.parent_id)
    return _await_answer(conversation, question, parent_id=question.id, new_question=False, run_id=run_id)


def choose(principal: Principal, conversation_id: UUID, *, message_id: UUID) -> list[UUID]:
    """Show this version and the newest branch below it. Gives the messages from it downwards."""
    conversation = Conversation.objects.open(principal, conversation_id, to_write=True)
    branch = branch_from(conversation, message_id)
    conversation.head = branch[-1]
    conversation.save(update_fields=["head"])
    return branch


def branch_from(conversation: Conversation, message_id: UUID) -> list[UUID]:
    """A message and the newest branch below it."""
    tree = tree_of(conversation)
    if message_id not in tree.parents:
        raise NoSuchMessage
    path = tree.path(tree.last_below(message_id))
    return path[path.index(message_id) :]


def tree_of(conversation: Conversation) -> Tree:
    """All messages of a conversation by their ids alone: small, however long they are."""
    return Tree.of(_messages(conversation).order_by("created_at", "id").values_list("id", "parent_id"))


def question_of(text: str) -> str:
    """A question as it is kept, or the reason why not."""
    text = text.replace("\r\n", "\n").replace("\x00", "").strip()
    if not text:
        raise EmptyQuestion(param="text")
    if len(text) > QUESTION_LIMIT_CHARACTERS:
        words = gettext("A question may have %(most)s characters; this one has %(has)s.")
        raise LongQuestion(words % {"most": QUESTION_LIMIT_CHARACTERS, "has": len(text)}, param="text")
    return text


def _await_answer(conversation: Conversation, question: Message, *, parent_id: UUID | None, new_question: bool, run_id: UUID) -> Turn:
    answer = conversation.messages.create(
        id=uuid7(), tenant_id=conversation.tenant_id, parent=question, author=Author.ASSISTANT, status=Status.STREAMING, run=run_id
    )
    conversation.head, conversation.updated_at = answer.id, timezone.now()
    conversation.save(update_fields=["head", "updated_at"])
    return Turn(
        conversation_id=conversation.id,
        model=conversation.model,
        parent_id=parent_id,
        question_id=question.id if new_question else None,
        answer_id=answer.id,
        run_id=run_id,
        history=_history(conversation, question),
    )


def _history(conversation: Conversation, question: Message) -> list[dict[str, str]]:
    """What the model is told: the branch down to the question, as far back as the limit reaches."""
    path = tree_of(conversation).path(question.id)
    texts = {message.id: message for message in _messages(conversation).filter(id__in=path).only("id", "tenant_id", "author", "text")}
    history: list[dict[str, str]] = []
    left = HISTORY_LIMIT_CHARACTERS
    for message in (texts[message_id] for message_id in reversed(path)):
        left -= len(message.text)
        if left < 0 and history:
            break
        if message.text:
            history.append({"role": message.author, "content": message.text})
    return history[::-1]


def _refuse_while_answering(conversation: Conversation) -> None:
    if _messages(conversation).filter(status=Status.STREAMING).exists():
        raise AnswerRunning


def _message(conversation: Conversation, message_id: UUID) -> Message:
    message = _messages(conversation).filter(id=message_id).first()
    if message is None:
        raise NoSuchMessage
    return message


def _messages(conversation: Conversation) -> models.QuerySet[Message]:
    return Message.objects.within(conversation.tenant_id).filter(conversation_id=conversation.id)
