"""What can go wrong before the gateway has the call.

* Invalid
  x MalformedRequest ......... not JSON, or not of the shape that the endpoint takes
  x UnfitAssistant ........... an assistant cannot be made of these parts
* NotFound
  x UnknownEndpoint .......... nothing answers at this path
  x UnknownAssistant ......... no assistant of that name here
  x UnknownCollection ........ no collection of that name here
  x UnknownResponse .......... no stored response of that id here
    + PreviousResponseGone     and a conversation was to go on from it
* TooLarge
  x ConversationTooLong ...... the stored conversation is larger than a request may be
* Unsupported
  x WrongMethod .............. the path is right, the method is not
* Conflict
  x AssistantExists .......... the slug is taken
  x NothingToAnswerWith ...... the tenant has neither an assistant nor a model to ask
"""

from __future__ import annotations

from menhir.errors import Conflict, Invalid, NotFound, TooLarge, Unsupported


class MalformedRequest(Invalid):
    """The request's body is not what this endpoint takes."""

    code = "invalid_request"


class UnfitAssistant(Invalid):
    """An assistant cannot be made of these parts."""

    code = "unfit_assistant"


class UnknownEndpoint(NotFound):
    """There is no such endpoint."""

    code = "unknown_url"


class UnknownAssistant(NotFound):
    """There is no such assistant."""

    code = "assistant_not_found"


class UnknownCollection(NotFound):
    """There is no such collection."""

    code = "collection_not_found"


class UnknownResponse(NotFound):
    """There is no such response."""

    code = "response_not_found"


class PreviousResponseGone(UnknownResponse):
    """The response to go on from is not stored here."""

    code = "previous_response_not_found"


class ConversationTooLong(TooLarge):
    """The stored conversation is larger than a request may be."""

    code = "conversation_too_long"


class WrongMethod(Unsupported):
    """The method is not allowed here."""

    code = "method_not_allowed"


class AssistantExists(Conflict):
    """An assistant with this slug exists already."""

    code = "assistant_exists"


class NothingToAnswerWith(Conflict):
    """There is no assistant yet: create one first."""

    code = "no_assistant"
