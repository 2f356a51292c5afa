"""The messages of one channel of this process, until its consumer takes them."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque


class Mailbox:
    """A bounded queue between threads and event loops: bells come in on the listener's, a consumer may wait on another."""

    def __init__(self, capacity: int) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._messages: deque[tuple[float, bytes]] = deque()
        self._waiting: deque[asyncio.Future[None]] = deque()

    def put(self, body: bytes, *, expires: float) -> bool:
        """Leave a message that is worth nothing after `expires` (of time.monotonic()); False when there is no room."""
        with self._lock:
            if len(self._messages) >= self._capacity:
                return False
            self._messages.append((expires, body))
            self._call_one()
            return True

    async def get(self) -> bytes:
        """The oldest message that has not expired; waits for one."""
        while True:
            with self._lock:
                while self._messages:
                    expires, body = self._messages.popleft()
                    if expires > time.monotonic():
                        return body
                called = asyncio.get_running_loop().create_future()
                self._waiting.append(called)
            try:
                await called
            except BaseException:
                with self._lock:
                    if called in self._waiting:
                        self._waiting.remove(called)
                    elif self._messages:
                        self._call_one()  # we were called and leave: let another take it
                raise

    def full(self) -> bool:
        """Whether there is no room."""
        return len(self._messages) >= self._capacity

    def abandoned(self) -> bool:
        """Whether its oldest message has expired: nobody reads here."""
        with self._lock:
            return bool(self._messages) and self._messages[0][0] <= time.monotonic()

    def idle(self) -> bool:
        """Whether nothing and nobody is here."""
        return not self._messages and not self._waiting

    def _call_one(self) -> None:
        while self._waiting:
            called = self._waiting.popleft()
            loop = called.get_loop()
            if not loop.is_closed():
                loop.call_soon_threadsafe(_resolve, called)
                return


def _resolve(called: asyncio.Future[None]) -> None:
    if not called.done():
        called.set_result(None)
