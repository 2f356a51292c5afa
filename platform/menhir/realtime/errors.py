"""The errors of streams and doorbells.

* MenhirError
  x Conflict
    + RunOver .............. the run has ended: append nothing more
  x NotFound
    + NoSuchRun ............ absent, or another tenant's
  x TooLarge
    + EventTooLarge ........ an event is a piece of a stream, not a file
    + MessageTooLarge ...... a doorbell carries ids, not content
"""

from __future__ import annotations

from menhir.errors import Conflict, NotFound, TooLarge


class RunOver(Conflict):
    """The stream has ended."""

    code = "run_over"


class NoSuchRun(NotFound):
    """There is no such stream."""

    code = "run_not_found"


class EventTooLarge(TooLarge):
    """The event is larger than a stream takes."""

    code = "event_too_large"


class MessageTooLarge(TooLarge):
    """The message is larger than a doorbell: send an id, and let the receiver read."""

    code = "message_too_large"
