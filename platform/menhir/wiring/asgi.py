"""Two planes in one process: the path is looked at once (DESIGN §3).

`/v1/…` goes to the raw data plane, `/ws/…` to Channels, `/metrics` to whoever operates, everything else to Django.
"""

from __future__ import annotations

import gc
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "menhir.wiring.settings")

from django.core.asgi import get_asgi_application

from menhir.wiring.bounds import Application, bounded

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

YOUNG_OBJECTS = 20_000
"""How many new objects make the collector look. By default it looks at every 700: that was a tenth of what a call cost."""

django_plane = bounded(cast("Application", get_asgi_application()))

from apps.assistants.front import application as data_plane  # noqa: E402  # these read models: apps must be ready
from menhir.wiring.lifespan import running  # noqa: E402
from menhir.wiring.metrics import PATH, metrics  # noqa: E402
from menhir.wiring.sockets import sockets  # noqa: E402


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of `web`."""
    kind = scope["type"]
    if kind == "http":
        if scope["path"].startswith("/v1/"):
            await data_plane(scope, receive, send)
        elif scope["path"] == PATH:
            await metrics(scope, send)
        else:
            await django_plane(scope, receive, send)
    elif kind == "websocket":
        await sockets(scope, receive, send)
    elif kind == "lifespan":
        await _live(receive, send)


async def _live(receive: Receive, send: Send) -> None:
    await receive()
    try:
        stack = running()
        await stack.__aenter__()
    except Exception as e:  # noqa: BLE001  # whatever it is, the server must hear of it and not serve
        await send({"type": "lifespan.startup.failed", "message": f"{type(e).__name__}: {e}"})
        return
    _keep_what_is_loaded()
    await send({"type": "lifespan.startup.complete"})
    await receive()
    await stack.__aexit__(None, None, None)
    await send({"type": "lifespan.shutdown.complete"})


def _keep_what_is_loaded() -> None:
    """Let the collector look only at what comes from now on: everything here lives as long as the process, and is a lot to walk through."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
