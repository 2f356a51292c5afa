"""Two planes in one process: the path is looked at once (DESIGN §3).

`/v1/…` goes to the raw data plane, `/ws/…` to Channels, health and metrics to whoever operates, everything else to Django.
"""

from __future__ import annotations

import ctypes
import gc
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "menhir.wiring.settings")

import django

django.setup(set_prefix=False)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

YOUNG_OBJECTS = 20_000
"""How many new objects make the collector look. By default it looks at every 700: that was a tenth of what a call cost."""

from apps.assistants.front import application as data_plane  # noqa: E402  # these read models: apps must be ready
from menhir.wiring import levels  # noqa: E402, F401  # found by a scrape
from menhir.wiring.control import control_plane  # noqa: E402
from menhir.wiring.health import PATHS, health  # noqa: E402
from menhir.wiring.lifespan import running  # noqa: E402
from menhir.wiring.metrics import PATH, metrics  # noqa: E402
from menhir.wiring.sockets import sockets  # noqa: E402


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """The ASGI application of `web`."""
    kind = scope["type"]
    if kind == "http":
        if scope["path"].startswith("/v1/"):
            await data_plane(scope, receive, send)
        elif scope["path"] in PATHS:
            await health(scope, send)
        elif scope["path"] == PATH:
            await metrics(scope, send)
        else:
            await control_plane(scope, receive, send)
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
    if (trim := getattr(ctypes.CDLL(None), "malloc_trim", None)) is not None:
        trim(0)  # glibc keeps what loading has used and freed
    gc.freeze()
    gc.set_threshold(YOUNG_OBJECTS, 20, 50)
