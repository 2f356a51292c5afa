"""What a conversation refuses, in the words of whoever asked.

* ChatError
  x NoSuchConversation .... absent, deleted, or somebody else's
  x NoSuchMessage ......... not in this conversation
  x AnswerRunning ......... one answer at a time
  x UnknownModel .......... no such assistant in this tenant
  x EmptyQuestion
  x LongQuestion
  x BadRequest ............ not of the shape it should have
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar

from django.utils.translation import gettext_lazy as _

from menhir.errors import Conflict, Invalid, MenhirError, NotFound, TooLarge

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise


class ChatError(MenhirError):
    """Its message is read by people: `words` are said in the language of the moment."""

    words: ClassVar[_StrPromise] = _("Something in the chat went wrong.")

    def __init__(self, message: str | None = None, *, param: str | None = None) -> None:
        super().__init__(message or str(self.words), param=param)


class NoSuchConversation(ChatError, NotFound):
    code = "no_such_conversation"
    words = _("There is no such conversation.")


class NoSuchMessage(ChatError, NotFound):
    code = "no_such_message"
    words = _("There is no such message in this conversation.")


class AnswerRunning(ChatError, Conflict):
    code = "answer_running"
    words = _("An answer is still being written. Stop it, or wait for its end.")


class UnknownModel(ChatError, Invalid):
    code = "unknown_model"
    words = _("There is no such assistant here.")


class EmptyQuestion(ChatError, Invalid):
    code = "empty_question"
    words = _("Write a question first.")


class LongQuestion(ChatError, TooLarge):
    code = "long_question"
    words = _("The question is too long.")


class BadRequest(ChatError, Invalid):
    code = "bad_request"
    words = _("The request cannot be understood.")
