"""Conversation, Message, Citation."""

from __future__ import annotations

from typing import ClassVar
from uuid import UUID

from django.conf import settings
from django.db import models
from django.utils import timezone
from django.utils.translation import gettext_lazy as _

from apps.chat.errors import NoSuchConversation
from menhir.tenancy.models import TenantForeignKey, TenantManager, TenantModel, TenantQuerySet
from menhir.tenancy.principal import Principal

TITLE_CHARACTERS = 120


class ConversationManager(TenantManager["Conversation"]):
    def of(self, principal: Principal) -> TenantQuerySet[Conversation]:
        """The conversations that somebody sees: his own, without the deleted ones."""
        return self.within(principal.tenant_id).filter(owner_id=principal.user_id, deleted_at=None)

    def open(self, principal: Principal, conversation_id: UUID, *, to_write: bool = False) -> Conversation:
        """One of them; `to_write` makes everyone else who wants to write wait for the end of this transaction."""
        found = self.of(principal)
        if to_write:
            found = found.select_for_update(of=("self",))
        conversation = found.filter(id=conversation_id).first()
        if conversation is None:
            raise NoSuchConversation
        return conversation


class Conversation(TenantModel):
    """One person's thread of questions and answers."""

    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+", verbose_name=_("owner"))
    title = models.CharField(_("title"), max_length=TITLE_CHARACTERS)
    model = models.CharField(
        _("assistant"), max_length=200, help_text=_("What answers, as one names it to the API: assistant:docs, or a route.")
    )
    head = models.UUIDField(_("last message of the branch that is shown"), null=True)
    created_at = models.DateTimeField(_("begun"), default=timezone.now)
    updated_at = models.DateTimeField(_("last question"), default=timezone.now)
    deleted_at = models.DateTimeField(_("deleted"), null=True, blank=True)

    objects: ClassVar[ConversationManager] = ConversationManager()

    class Meta:
        verbose_name = _("conversation")
        verbose_name_plural = _("conversations")
        indexes = [models.Index(fields=["tenant", "owner", "-updated_at"], name="chat_conversation_recent")]

    def __str__(self) -> str:
        return self.title

    def rename(self, title: str) -> None:
        """Give it a title; an empty one changes nothing."""
        if title := title_of(title):
            self.title = title
            self.save(update_fields=["title"])

    def delete_for_now(self) -> None:
        """Hide it everywhere. `restore` takes that back, until the purge."""
        if self.deleted_at is None:
            self.deleted_at = timezone.now()
            self.save(update_fields=["deleted_at"])

    def restore(self) -> None:
        """Show it again, as it was."""
        self.deleted_at = None
        self.save(update_fields=["deleted_at"])


def title_of(text: str) -> str:
    r"""The first words of a text, as a title.

    >>> title_of("  How do I\ncreate an API key?  ")
    'How do I create an API key?'
    """
    words = " ".join(text.replace("\x00", "").split())
    if len(words) <= TITLE_CHARACTERS:
        return words
    cut = words[: TITLE_CHARACTERS - 1]
    return (cut.rpartition(" ")[0] or cut) + "…"


class Author(models.TextChoices):
    USER = "user", _("Question")
    ASSISTANT = "assistant", _("Answer")


class Status(models.TextChoices):
    """Where the text of a message stands; everything but `streaming` is for ever."""

    STREAMING = "streaming", _("being written")
    COMPLETE = "complete", _("complete")
    STOPPED = "stopped", _("stopped")
    INTERRUPTED = "interrupted", _("interrupted")
    FAILED = "failed", _("failed")


class Failure(models.TextChoices):
    """Why there is no whole answer, as one sentence for the person who asked."""

    UNREACHABLE = "unreachable", _("The model could not be reached, or is too busy. Try again in a moment.")
    BROKE_OFF = "broke_off", _("The model broke off in the middle of its answer. What came is kept.")
    LIMITED = "limited", _("A limit of your workspace is reached. Try again later, or ask its owner to raise it.")
    GONE = "gone", _("What answered here does not exist any more. Begin a new chat with another assistant.")
    FORBIDDEN = "forbidden", _("You may not ask this assistant.")
    TOO_LONG = "too_long", _("The conversation has become too long for this model. Begin a new chat.")
    REFUSED = "refused", _("The model did not accept this question as it was asked.")
    OURS = "ours", _("Something went wrong on our side. The question is kept; try again.")


class Message(TenantModel):
    """A question or an answer. Messages with the same parent are versions of each other."""

    conversation = TenantForeignKey(Conversation, on_delete=models.CASCADE, related_name="messages")
    parent = TenantForeignKey("self", on_delete=models.CASCADE, related_name="replies", null=True)
    author = models.CharField(_("author"), max_length=16, choices=Author)
    text = models.TextField(_("text"), blank=True)
    status = models.CharField(_("status"), max_length=16, choices=Status, default=Status.COMPLETE)
    failure = models.CharField(_("failure"), max_length=16, blank=True)  # a Failure; its sentences may change
    run = models.UUIDField(_("run of the stream journal"), null=True)
    passages = models.PositiveSmallIntegerField(_("passages it was given"), null=True)  # nothing: it was not asked to look any up
    created_at = models.DateTimeField(_("written"), default=timezone.now)
    settled_at = models.DateTimeField(_("ended"), null=True)

    class Meta:
        verbose_name = _("message")
        verbose_name_plural = _("messages")
        constraints = [
            models.UniqueConstraint(
                fields=["tenant", "conversation"], condition=models.Q(status=Status.STREAMING), name="chat_message_one_running_answer"
            ),
        ]

    def __str__(self) -> str:
        return title_of(self.text) or self.get_status_display()

    @property
    def reason(self) -> str:
        """Why there is no whole answer, in one sentence."""
        return str(Failure(self.failure).label) if self.failure else ""


class Citation(TenantModel):
    """A passage that an answer cites by a number, as it read at that time."""

    message = TenantForeignKey(Message, on_delete=models.CASCADE, related_name="citations")
    number = models.PositiveSmallIntegerField(_("number"))
    chunk = models.UUIDField(_("chunk"))
    document = models.UUIDField(_("document"))
    title = models.CharField(_("document's title"), max_length=500)
    start = models.PositiveIntegerField(_("first character"))
    end = models.PositiveIntegerField(_("end"))
    text = models.TextField(_("text"))

    class Meta:
        verbose_name = _("citation")
        verbose_name_plural = _("citations")
        ordering = ["number"]
        constraints = [models.UniqueConstraint(fields=["tenant", "message", "number"], name="chat_citation_number")]

    def __str__(self) -> str:
        return f"[{self.number}] {self.title}"
