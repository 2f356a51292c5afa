"""Which wire is spoken at which path."""

from __future__ import annotations

from typing import Final

from apps.assistants.front.asked import Asked
from apps.assistants.front.wires.completions.wire import Completions
from apps.assistants.front.wires.frame import Wire
from apps.assistants.front.wires.messages.wire import Messages
from apps.assistants.front.wires.responses.wire import Responses

MESSAGES: Final = Messages()
EVERY: Final[tuple[Wire, ...]] = (MESSAGES, Responses(), Completions())
WIRES: Final[dict[str, Wire]] = {wire.path: wire for wire in EVERY}


def find(path: str, asked: Asked) -> Wire | None:
    """Give the wire of a path, or of what lies below it; None where OpenAI's own is spoken.

    >>> find("/v1/messages/count_tokens", Asked()).name, find("/v1/models", Asked())
    ('messages', None)
    >>> find("/v1/models", Asked(anthropic_version=b"2023-06-01")).name
    'messages'
    """
    found = WIRES.get(path) or WIRES.get("/".join(path.split("/", 3)[:3]))
    return MESSAGES if found is None and asked.anthropic_version is not None else found
