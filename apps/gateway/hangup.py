"""Who has hung up, and who has been silent for too long: one round for all calls of a process.

A task or a timer for each call would cost more than the call's own work on the fast path, and moving a deadline with
every chunk would cost again. So each call under way leaves a `Watch`, and one timer walks past all of them ten times a
second; it does not run when there is nothing to watch. What it finds it cancels, in the way `asyncio.timeout` does.

For the same reason nobody listens for the client before the first round has come by (`Ears`): most calls are over by then.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, MutableMapping
    from types import TracebackType

ROUND_SECONDS = 0.1
UNREAD_SECONDS = 60.0
"""How long a client may leave lying what it is sent; after that it counts as gone."""


class HungUp(Exception):
    """The client left before its answer was complete."""


class Gone(Protocol):
    """Whether the client has left: `Ears`, or an event that somebody sets."""

    def is_set(self) -> bool:
        """Tell whether it has, as far as anybody has heard."""


class Ears:
    """Hears over ASGI that the client hangs up: entered when its request is read, from when it can do nothing else."""

    __slots__ = ("_listening", "_receive")

    def __init__(self, receive: Callable[[], Awaitable[MutableMapping[str, Any]]]) -> None:
        self._receive = receive
        self._listening: asyncio.Task[None] | None = None

    def __enter__(self) -> Self:
        _patrol.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _patrol.discard(self)
        if self._listening is not None:
            self._listening.cancel()

    def is_set(self) -> bool:
        """Tell whether the client has left."""
        return self._listening is not None and self._listening.done()

    def look(self, now: float) -> None:
        """Begin to listen. Called by the round."""
        if self._listening is None:
            self._listening = asyncio.get_running_loop().create_task(self._listen())

    async def _listen(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass


class Watch:
    """One call under way: entered by its task, and left before anything that must not be cut short (settlement).

    Raises HungUp out of its block when the client leaves, and at its door when it has left already. When `deadline` (on
    the loop's clock; 0 for none) passes, the task is cancelled where it waits; whoever set it catches that and asks
    `expired()`. No deadline lies beyond `limit` (0 for none), which is the whole call's.
    """

    __slots__ = ("_loop", "_reason", "_task", "deadline", "gone", "limit")

    def __init__(self, gone: Gone) -> None:
        self.gone = gone
        self.deadline = 0.0
        self.limit = 0.0
        self._reason: Literal["", "gone", "silent"] = ""
        self._task: asyncio.Task[object] | None = None

    def __enter__(self) -> Self:
        if self.gone.is_set():
            raise HungUp
        self._task = asyncio.current_task()
        self._loop = _patrol.add(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        _patrol.discard(self)
        if self._reason == "gone" and kind is not None and self._take_back():
            raise HungUp from None

    def allow(self, seconds: float) -> None:
        """From now on, be patient for so long. Asked within the block, twice for each part of a stream."""
        deadline = self._loop.time() + seconds
        self.deadline = self.limit if 0.0 < self.limit < deadline else deadline

    def within(self, seconds: float) -> None:
        """Let the whole call take so long from now on."""
        self.limit = asyncio.get_running_loop().time() + seconds

    def left(self) -> float:
        """Seconds until the limit of the whole call; without one, for ever."""
        return self.limit - asyncio.get_running_loop().time() if self.limit else float("inf")

    def expired(self) -> bool:
        """Tell whether the cancellation just caught was the deadline's; if so it is over and done with."""
        return self._reason == "silent" and self._take_back()

    def look(self, now: float) -> None:
        """Cancel the task when its time has come. Called by the round, never by the task itself."""
        if self._reason or self._task is None:
            return
        if self.gone.is_set():
            self._reason = "gone"
        elif self.deadline and now > self.deadline:
            self._reason = "silent"
        else:
            return
        self._task.cancel()

    def _take_back(self) -> bool:
        """Undo our own cancellation; False when somebody else cancelled the task as well, whose word then stands."""
        self._reason = ""
        self.deadline = 0.0
        return self._task is not None and self._task.uncancel() == 0


class _Patrol:
    def __init__(self) -> None:
        self._watches: set[Watch | Ears] = set()
        self._loop: asyncio.AbstractEventLoop | None = None

    def add(self, watch: Watch | Ears) -> asyncio.AbstractEventLoop:
        self._watches.add(watch)
        loop = asyncio.get_running_loop()
        if self._loop is not loop:
            # A loop that ended with watches left (a test's, a reload's) takes them with it.
            self._watches = {watch}
            self._loop = loop
            loop.call_later(ROUND_SECONDS, self._round, loop)
        return loop

    def discard(self, watch: Watch | Ears) -> None:
        self._watches.discard(watch)

    def _round(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._loop is not loop:
            return
        now = loop.time()
        for watch in tuple(self._watches):
            watch.look(now)
        if self._watches:
            loop.call_later(ROUND_SECONDS, self._round, loop)
        else:
            self._loop = None


_patrol = _Patrol()
