"""WebSockets: who may open one, and where each path leads; loaded, like the pages, when somebody asks for the first."""

from __future__ import annotations

import asyncio
from functools import cache
from typing import Any
from urllib.parse import SplitResult, urlsplit

from channels.auth import AuthMiddlewareStack
from channels.routing import URLRouter
from channels.security.websocket import WebsocketDenier
from django.conf import settings


class SameOrigin:
    """Lets in browsers on a page of ours: cookies come along whoever opens the socket, and no token is sent that could be checked.

    Ours is what was asked for itself (`Host`), among the hosts we answer to, or the public URL. Channels' own check takes any port of such
    a host, and so any other program on it.
    """

    def __init__(self, application: Any) -> None:
        self.application = application

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass on, or close before the handshake."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        admitted = is_ours(headers.get(b"origin", ""), host=headers.get(b"host", ""))
        await (self.application if admitted else WebsocketDenier())(scope, receive, send)


def is_ours(origin: str, *, host: str) -> bool:
    """Whether a page of this origin was served by us, whom the browser called `host`.

    >>> is_ours("http://localhost:8000", host="localhost:8000"), is_ours("http://localhost:3000", host="localhost:8000")
    (True, False)
    >>> is_ours("http://evil.example", host="evil.example"), is_ours("null", host="localhost:8000"), is_ours("", host="")
    (False, False, False)
    """
    try:
        there, here, public = urlsplit(origin), urlsplit(f"//{host}"), urlsplit(settings.MENHIR_PUBLIC_URL)
        if (there.scheme, _place(there)) == (public.scheme, _place(public)):
            return True
        return there.scheme in {"http", "https"} and _place(there) == _place(here, there.scheme) and here.hostname in _hosts()
    except ValueError:  # a port that is none
        return False


def _place(url: SplitResult, scheme: str = "") -> tuple[str | None, int]:
    return url.hostname, url.port or (443 if (scheme or url.scheme) == "https" else 80)


def _hosts() -> set[str]:
    return {host.strip("[]").lower() for host in settings.ALLOWED_HOSTS}


async def sockets(scope: Any, receive: Any, send: Any) -> None:
    """Open a socket for a page of ours, or close it before the handshake."""
    leads = _paths() if _paths.cache_info().currsize else await asyncio.to_thread(_paths)
    await leads(scope, receive, send)


@cache
def _paths() -> Any:
    """Where each path leads: the chat's consumer, and with it everything that shows an answer."""
    from apps.chat.routing import websocket_urlpatterns

    return SameOrigin(AuthMiddlewareStack(URLRouter(websocket_urlpatterns)))
