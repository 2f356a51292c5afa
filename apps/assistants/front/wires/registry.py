"""Which wire is spoken at which path."""

from __future__ import annotations

from typing import Final

from apps.assistants.front.wires.frame import Wire
from apps.assistants.front.wires.messages.wire import Messages
from apps.assistants.front.wires.responses.wire import Responses

EVERY: Final[tuple[Wire, ...]] = (Messages(), Responses())
WIRES: Final[dict[str, Wire]] = {wire.path: wire for wire in EVERY}


def find(path: str) -> Wire | None:
    """Give the wire of a path, or of what lies below it.

    >>> find("/v1/messages/count_tokens").name, find("/v1/nowhere")
    ('messages', None)
    """
    return WIRES.get(path) or WIRES.get("/".join(path.split("/", 3)[:3]))
