"""Keys that an issuer publishes at a URL: fetched when they are first needed, kept, and looked up again when a token names another.

A key that is unknown is asked for at most every 30 seconds, so that nobody makes us hammer an issuer with invented names. Keys hold for ten
minutes; then nobody is admitted by them before the issuer was asked again, for he may have withdrawn one. While he is away, the keys that
he last showed go on working for a day.
"""

from __future__ import annotations

import asyncio
import json
from typing import Any, Final

import structlog

from menhir.errors import MenhirError, Unavailable
from menhir.tenancy import keysets, outbound
from menhir.tenancy.keysets import KeySet

FETCH_SECONDS: Final = 5.0
MOST_BYTES: Final = 256 * 1024
UNKNOWN_SECONDS: Final = 30.0
AGAIN_SECONDS: Final = 5.0
"""After which an issuer that never answered is asked once more."""
FRESH_SECONDS: Final = 600.0
"""Of which the second half is time to ask again while nobody waits."""
STALE_SECONDS: Final = 24 * 3600.0

log = structlog.get_logger(__name__)


class KeysUnavailable(Unavailable):
    """The keys of the token's issuer cannot be fetched at the moment. Try again shortly."""

    code = "issuer_keys_unavailable"


class RemoteKeys:
    """What is known of one URL."""

    def __init__(self, url: str, *, unknown_seconds: float = UNKNOWN_SECONDS, fresh_seconds: float = FRESH_SECONDS) -> None:
        self.url = url
        self._unknown_seconds, self._fresh_seconds = unknown_seconds, fresh_seconds
        self._keys: KeySet | None = None
        self._fetched = 0.0
        self._tried: float | None = None
        self._fetching: asyncio.Task[None] | None = None

    async def find(self, kid: str | None, algorithm: str) -> Any | None:
        """The public key of this name; None when the issuer has none. Raises KeysUnavailable when nothing is known of him."""
        now = asyncio.get_running_loop().time()
        if self._keys is not None and now - self._fetched > STALE_SECONDS:
            self._keys = None
        if self._keys is None:
            if self._tried is None or self._is_fetching or now - self._tried >= AGAIN_SECONDS:
                await self._refresh()
            if self._keys is None:
                raise KeysUnavailable
        elif self._is_fetching or now - (self._tried or 0.0) >= self._unknown_seconds:
            if now - self._fetched > self._fresh_seconds:
                await self._refresh()  # a key that he has withdrawn must not admit anybody meanwhile
            elif now - self._fetched > self._fresh_seconds / 2:
                self._begin()
        found = self._keys.find(kid, algorithm)
        if found is None and (self._is_fetching or now - (self._tried or 0.0) >= self._unknown_seconds):
            await self._refresh()
            found = self._keys.find(kid, algorithm)
        return found

    @property
    def _is_fetching(self) -> bool:
        task = self._fetching
        return task is not None and not task.done() and task.get_loop() is asyncio.get_running_loop()

    async def _refresh(self) -> None:
        # A task of its own: whoever hangs up must not take it from those who wait with him.
        await asyncio.shield(self._begin())

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None or not self._is_fetching:
            loop = asyncio.get_running_loop()
            self._tried = loop.time()
            self._fetching = loop.create_task(self._fetch(), name="issuer keys")
        return self._fetching

    async def _fetch(self) -> None:
        try:
            body = await outbound.get(self.url, most_bytes=MOST_BYTES, seconds=FETCH_SECONDS)
            self._keys = keysets.of_document(json.loads(body))
        except (MenhirError, ValueError, RecursionError) as error:
            log.warning("issuer.keys_away", url=self.url, error=str(error))
        else:
            self._fetched = asyncio.get_running_loop().time()
