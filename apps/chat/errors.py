"""What a conversation refuses.

* ChatError
  x NoSuchConversation .... absent, deleted, or somebody else's
  x NoSuchMessage ......... not in this conversation
  x AnswerRunning ......... one answer at a time
  x EmptyQuestion, LongQuestion
"""

from __future__ import annotations

from menhir.errors import Conflict, Invalid, MenhirError, NotFound, TooLarge


class ChatError(MenhirError):
    """Something in the chat went wrong."""


class NoSuchConversation(ChatError, NotFound):
    """There is no such conversation."""

    code = "no_such_conversation"


class NoSuchMessage(ChatError, NotFound):
    """There is no such message in this conversation."""

    code = "no_such_message"


class AnswerRunning(ChatError, Conflict):
    """An answer is still being written. Stop it, or wait for its end."""

    code = "answer_running"


class EmptyQuestion(ChatError, Invalid):
    """Write a question first."""

    code = "empty_question"


class LongQuestion(ChatError, TooLarge):
    """The question is too long."""

    code = "long_question"


class UnknownModel(ChatError, Invalid):
    """There is no such assistant here."""

    code = "unknown_model"


class BadRequest(ChatError, Invalid):
    """The request cannot be understood."""

    code = "bad_request"
