"""The one listening connection of a process.

Whoever wants to hear a bell subscribes here instead of opening a connection of its own: LISTEN is issued when a channel gets its
first subscriber, UNLISTEN when it loses its last. The connection comes back by itself after a database restart, and one that died
in silence is found out by a probe. Bells rung while it was away are lost (PostgreSQL keeps them for nobody): that is what
`on_reconnect` is for.

Subscriptions belong to the process and outlive `stop()`; the connection belongs to the event loop that called `start()`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import psycopg
import structlog
from psycopg import AsyncConnection, pq, sql
from psycopg.conninfo import make_conninfo

from menhir.postgres import roles

PROBE_EVERY_SECONDS = 2.0
ANSWER_WITHIN_SECONDS = 2.0
CONNECT_TIMEOUT_SECONDS = 3
FIRST_PAUSE_SECONDS = 0.1
LONGEST_PAUSE_SECONDS = 1.0
MOST_CHANNEL_BYTES = 63

log = structlog.get_logger(__name__)


@dataclass(eq=False, frozen=True, slots=True)
class Ear:
    """One subscription; its own self even where two have the same callback."""

    callback: Callable[..., None]


class Listener:
    """Hears bells for everyone in this process."""

    def __init__(self, conninfo: Callable[[], str]) -> None:
        self._conninfo = conninfo
        self._subscribers: dict[str, tuple[Ear, ...]] = {}
        self._reconnected: tuple[Ear, ...] = ()
        self._heard: frozenset[str] = frozenset()
        self._waiting: list[asyncio.Future[None]] = []
        self._alive = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen on the running event loop; return after the first attempt to connect, whether it succeeded or not."""
        loop = asyncio.get_running_loop()
        if self.running:
            if self._loop is not loop:
                raise RuntimeError("The listener attends another event loop; stop it there first.")
            return
        self._loop = loop
        self._alive = False
        self._changed = asyncio.Event()
        self._tried = asyncio.Event()
        self._task = loop.create_task(self._run(self._conninfo()), name="postgres listener")
        await self._tried.wait()

    async def stop(self) -> None:
        """Close the connection; the subscriptions stay for the next start."""
        task, self._task = self._task, None
        if task is not None and not task.get_loop().is_closed():
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._alive, self._loop = False, None

    @property
    def running(self) -> bool:
        """Whether it was started, and its event loop still turns."""
        return self._task is not None and not self._task.done() and not self._task.get_loop().is_closed()

    @property
    def connected(self) -> bool:
        """Whether a bell rung now would be heard by everyone who has subscribed."""
        return self._alive and self._subscribers.keys() <= self._heard

    async def ready(self, *, within_seconds: float = ANSWER_WITHIN_SECONDS) -> bool:
        """Wait until every channel subscribed so far is heard; False when that takes too long, as while the database is away.

        LISTEN first, then read the snapshot: what was rung before this returned True must be looked up.
        """
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while not self.connected:
                    await self._news_of_connection()
        return self.connected

    async def _news_of_connection(self) -> None:
        settled = asyncio.get_running_loop().create_future()
        self._waiting.append(settled)
        try:
            await settled
        finally:
            with contextlib.suppress(ValueError):
                self._waiting.remove(settled)

    def subscribe(self, channel: str, callback: Callable[[str], None]) -> Callable[[], None]:
        """Call back with each payload rung on `channel`, on the event loop: it must not block. Returns the way to unsubscribe."""
        if not 0 < len(channel.encode()) <= MOST_CHANNEL_BYTES:
            raise ValueError(f"A channel's name has 1 to {MOST_CHANNEL_BYTES} bytes; {channel!r} has not.")
        ear = Ear(callback)
        self._subscribers[channel] = (*self._subscribers.get(channel, ()), ear)
        self._nudge()
        return lambda: self._unsubscribe(channel, ear)

    def on_reconnect(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back after every connection, the first included: read again what bells may have been about. Returns the way out."""
        ear = Ear(callback)
        self._reconnected = (*self._reconnected, ear)

        def leave() -> None:
            self._reconnected = tuple(other for other in self._reconnected if other is not ear)

        return leave

    def _unsubscribe(self, channel: str, ear: Ear) -> None:
        ears = self._subscribers.get(channel, ())
        left = tuple(other for other in ears if other is not ear)
        if left:
            self._subscribers[channel] = left
        elif ears:
            del self._subscribers[channel]
            self._nudge()

    def _nudge(self) -> None:
        loop = self._loop
        if loop is not None and not loop.is_closed():
            loop.call_soon_threadsafe(self._changed.set)

    async def _run(self, conninfo: str) -> None:
        conninfo = make_conninfo(
            conninfo,
            application_name="menhir-listener",
            connect_timeout=CONNECT_TIMEOUT_SECONDS,
            keepalives_idle=5,
            keepalives_interval=2,
            keepalives_count=2,
        )
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                connection = await AsyncConnection.connect(conninfo, autocommit=True)
                try:
                    pause = FIRST_PAUSE_SECONDS
                    await self._attend(connection)
                finally:
                    self._alive, self._heard = False, frozenset()
                    await connection.close()
            except (psycopg.Error, OSError) as error:
                if pause == FIRST_PAUSE_SECONDS:
                    log.warning("listener.away", error=str(error).strip())
            self._tried.set()
            # Jitter: after a database restart the processes of an installation do not come all at once.
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))  # noqa: S311
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    async def _attend(self, connection: AsyncConnection[Any]) -> None:
        """Hear bells until the connection fails, which is raised."""
        connection.add_notify_handler(lambda bell: self._deliver(bell.channel, bell.payload))
        await self._catch_up(connection)
        self._alive = True
        log.info("listener.connected", channels=len(self._heard))
        self._tell(self._reconnected)
        self._tried.set()
        self._settle()
        while True:
            try:
                async with asyncio.timeout(PROBE_EVERY_SECONDS):
                    with self._hearing(connection.pgconn):
                        await self._changed.wait()
            except TimeoutError:
                with self._deadline(connection):
                    await connection.execute("SELECT 1")
            if not self._alive:
                raise psycopg.OperationalError("the server closed the connection")
            await self._catch_up(connection)
            self._settle()

    async def _catch_up(self, connection: AsyncConnection[Any]) -> None:
        """LISTEN to what has subscribers, and to nothing else."""
        self._changed.clear()
        wanted = frozenset(self._subscribers)
        changes = [("LISTEN {}", channel) for channel in sorted(wanted - self._heard)]
        changes += [("UNLISTEN {}", channel) for channel in sorted(self._heard - wanted)]
        if changes:
            with self._deadline(connection):
                async with connection.pipeline():
                    for verb, channel in changes:
                        await connection.execute(sql.SQL(verb).format(sql.Identifier(channel)))
        self._heard = wanted

    def _settle(self) -> None:
        if self.connected:
            waiting, self._waiting = self._waiting, []
            for settled in waiting:
                settled.get_loop().call_soon_threadsafe(_wake, settled)

    @contextlib.contextmanager
    def _hearing(self, pgconn: pq.abc.PGconn) -> Iterator[None]:
        """Deliver bells straight from the socket. Its reader is ours only while psycopg runs no command, which needs it too."""
        loop = asyncio.get_running_loop()
        descriptor = pgconn.socket

        def readable() -> None:
            try:
                pgconn.consume_input()
            except psycopg.Error:
                loop.remove_reader(descriptor)
                self._alive = False
                self._changed.set()
                return
            while bell := pgconn.notifies():
                self._deliver(bell.relname.decode(), bell.extra.decode())

        # Some may have come in together with the last command's answer.
        readable()
        loop.add_reader(descriptor, readable)
        try:
            yield
        finally:
            loop.remove_reader(descriptor)

    @contextlib.contextmanager
    def _deadline(self, connection: AsyncConnection[Any]) -> Iterator[None]:
        """Cut the connection unless the server answers in time; what waits for the answer then fails at once.

        Cancelling instead would ask the silent server to cancel, and wait for that.
        """

        def cut() -> None:
            self._alive = False
            log.warning("listener.silent", seconds=ANSWER_WITHIN_SECONDS)
            with contextlib.suppress(psycopg.Error, OSError), socket.socket(fileno=os.dup(connection.fileno())) as wire:
                wire.shutdown(socket.SHUT_RDWR)

        timer = asyncio.get_running_loop().call_later(ANSWER_WITHIN_SECONDS, cut)
        try:
            yield
        finally:
            timer.cancel()

    def _deliver(self, channel: str, payload: str) -> None:
        self._tell(self._subscribers.get(channel, ()), payload)

    def _tell(self, ears: tuple[Ear, ...], *payload: str) -> None:
        for ear in ears:
            try:
                ear.callback(*payload)
            except Exception:
                log.exception("listener.callback", payload=payload)


def _wake(waiting: asyncio.Future[None]) -> None:
    if not waiting.done():
        waiting.set_result(None)


listener = Listener(lambda: roles.conninfo("app"))
