"""The control plane: Django with every page and the JSON API, loaded when the first of them is asked for.

A process that only relays never holds its 20 MB of views, forms and schemas. They are loaded in a thread: half a second of imports on the
event loop would be half a second of silence for every stream.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast

from django.core.asgi import get_asgi_application
from django.urls import get_resolver

from menhir.wiring.bounds import Application, bounded
from menhir.wiring.uploaders import is_nobody

_django = bounded(cast("Application", get_asgi_application()), is_nobody=is_nobody)
_loading: asyncio.Task[None] | None = None


async def control_plane(
    scope: MutableMapping[str, Any],
    receive: Callable[[], Awaitable[MutableMapping[str, Any]]],
    send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
) -> None:
    """Answer a request for a page or for the API."""
    global _loading  # noqa: PLW0603 - once for a process is the point
    if _loading is None or _loading.cancelled() or (_loading.done() and _loading.exception() is not None):
        _loading = asyncio.get_running_loop().create_task(_load())
    if not _loading.done():
        await asyncio.shield(_loading)  # whoever asks first may leave; the others wait on
    await _django(scope, receive, send)


async def _load() -> None:
    await asyncio.to_thread(lambda: get_resolver().url_patterns)
