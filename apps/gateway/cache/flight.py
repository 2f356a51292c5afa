"""Single flight: identical calls under way in one process are one call, which everybody follows.

The call runs in a task of its own, as if its client were the recording; whoever asked first follows it like those who joined. So a client
who hangs up takes nothing from the others, and the last one to leave takes the upstream with him.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING, Generic, TypeVar

from apps.gateway import afterwards
from apps.gateway.cache.recording import Recording
from apps.gateway.hangup import UNREAD_SECONDS, HungUp, Watch

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator

    from apps.gateway.call import Respond
    from apps.gateway.hangup import Gone

R = TypeVar("R", bound=Recording)

_running: set[asyncio.Task[None]] = set()


class Flight(Generic[R]):
    """One call and those who follow it."""

    def __init__(self, recording: R, walk: Callable[[R, Gone], Awaitable[None]], *, linger_seconds: float = 0.0) -> None:
        """Begin. With `linger_seconds` the call goes on for so long after its last follower has left."""
        self.recording = recording
        self.gone = asyncio.Event()
        self.over = False
        self._followers = 0
        self._linger = linger_seconds
        self._farewell: asyncio.TimerHandle | None = None
        self.task = asyncio.get_running_loop().create_task(self._run(walk))
        _running.add(self.task)
        self.task.add_done_callback(_running.discard)

    async def _run(self, walk: Callable[[R, Gone], Awaitable[None]]) -> None:
        try:
            await walk(self.recording, self.gone)
            if not self.recording.ended:
                # It returns without an end only when everybody has left.
                self.recording.fail(HungUp())
        except asyncio.CancelledError:
            self.recording.fail(HungUp())
            raise
        except Exception as error:  # noqa: BLE001 - it is each follower's to handle
            self.recording.fail(error)
        finally:
            self.over = True

    @contextmanager
    def joined(self) -> Iterator[None]:
        """Count as a follower for as long as the block runs."""
        self._followers += 1
        if self._farewell is not None:
            self._farewell.cancel()
            self._farewell = None
        try:
            yield
        finally:
            self._followers -= 1
            if not self._followers and not self.over and not self.recording.ended:
                if self._linger:
                    self._farewell = asyncio.get_running_loop().call_later(self._linger, self.gone.set)
                else:
                    self.gone.set()

    @property
    def joinable(self) -> bool:
        """Whether one who comes now still gets everything."""
        return not self.over and not self.gone.is_set() and self.recording.whole and self.recording.failure is None


class Follower:
    """Sends what a recording holds to a client. Subclasses say what this client gets of it."""

    def __init__(self, recording: Recording, respond: Respond) -> None:
        self.recording = recording
        self.respond = respond

    async def start(self) -> None:
        """Send the beginning."""
        await self.respond.start(self.recording.status, self.recording.headers)

    async def part(self, data: bytes, *, more: bool) -> None:
        """Send a part."""
        await self.respond.send(data, more)


async def follow(flight: Flight[R], follower: Follower, gone: Gone) -> None:
    """Send everything to its end. Raises what went wrong with the call, and HungUp when the client left, or does not read on."""
    recording = flight.recording
    sent = 0
    started = False
    # Joined first: whoever finds at the next door that he has left must count as one who left.
    with flight.joined(), Watch(gone) as watch:
        recording.seen(follower, 0)
        try:
            while True:
                bell = recording.bell
                watch.allow(UNREAD_SECONDS)
                if recording.status and not started:
                    started = True
                    await follower.start()
                while sent < recording.length:
                    last = recording.ended and sent + 1 == recording.length
                    data = recording.part(sent)
                    sent += 1
                    await follower.part(data, more=not last)
                    watch.allow(UNREAD_SECONDS)
                    recording.seen(follower, sent)
                    if last:
                        return
                if recording.failure is not None:
                    raise recording.failure
                watch.deadline = 0.0
                await bell.wait()
        except OSError as error:
            raise HungUp from error
        except asyncio.CancelledError:
            if watch.expired():
                raise HungUp from None
            raise
        finally:
            recording.left(follower)


async def landed(*, within_seconds: float) -> None:
    """Wait until every flight of this loop is over; those that are not in time are cut short."""
    await afterwards.over(_running, within_seconds=within_seconds)
