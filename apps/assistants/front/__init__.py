"""The front door of the data plane: OpenAI's wire at `/v1`, as one ASGI application.

A request walks `admit` (who, and is it a request?), `resolve` (which route, which prompt), `ground` (what the collections
know about it), and is then the gateway's. No ORM here, no model of the request beyond what is needed to decide: a call
for a plain route leaves this room with the client's own bytes.
"""

from apps.assistants.front.door import application

__all__ = ["application"]
