"""The channel layer of Django Channels on Postgres.

A message to a group is one row and one bell, however many are in the group: who is in it is known to each process for its own channels
alone. All processes deliver a group's messages in the order of their commits, so a sender's messages keep their order.

It carries doorbells of a few hundred bytes: ids, never content. Like every channel layer it delivers at most once; a message waits 60
seconds for its consumer, and what is sent while a listener's connection is broken is delivered when it is back.
"""

from __future__ import annotations

import asyncio
import re
import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar
from uuid import uuid4

import orjson
import structlog
from channels.exceptions import ChannelFull
from channels.layers import BaseChannelLayer

from menhir.postgres import sql
from menhir.postgres.listener import Listener
from menhir.postgres.listener import listener as process_listener
from menhir.realtime import bells
from menhir.realtime.desk import Desk, Letter
from menhir.realtime.errors import MessageTooLarge
from menhir.realtime.inbox import Inbox
from menhir.realtime.mailbox import Mailbox

MOST_MESSAGE_BYTES = 4096
WORK_TICK_SECONDS = 1.0
LISTEN_SECONDS = 1.0
GROUP, CHANNEL = "group:", "channel:"

COUNT_WORK = sql.load(__package__, "count_work")
FLUSH = sql.load(__package__, "flush_messages")
TAKE_WORK = sql.load(__package__, "take_work")

log = structlog.get_logger(__name__)


class PostgresChannelLayer(BaseChannelLayer):  # type: ignore[misc]  # channels has no types
    """Channels and groups across processes; extensions: groups, flush."""

    extensions: ClassVar[list[str]] = ["groups", "flush"]

    def __init__(
        self,
        expiry: float = 60,
        capacity: int = 100,
        channel_capacity: Mapping[str | re.Pattern[str], int] | None = None,
        listener: Listener = process_listener,
    ) -> None:
        super().__init__(expiry=expiry, capacity=capacity)
        self.channel_capacity = self.compile_capacities(channel_capacity or {})
        self.process = uuid4().hex[:16]
        self._listener = listener
        self._desks: dict[asyncio.AbstractEventLoop, Desk] = {}
        self._mailboxes: dict[str, Mailbox] = {}
        self._swept = time.monotonic()
        # The channels of this process in each group, and since when (time.monotonic()).
        self._groups: dict[str, dict[str, float]] = {}
        self._bells: dict[str, Callable[[], None]] = {}
        self._inbox = Inbox(desk=self._desk, targets=self._targets, deliver=self._deliver, expiry_seconds=expiry)
        listener.on_reconnect(self._inbox.was_deaf)

    async def send(self, channel: str, message: dict[str, Any]) -> None:
        """Send to one channel, wherever it is. Raises ChannelFull when that is known here, and MessageTooLarge for more than a doorbell."""
        self.require_valid_channel_name(channel)
        body = encoded(message)
        target = CHANNEL + channel
        if "!" in channel:
            if (mailbox := self._mailboxes.get(channel)) and mailbox.full():
                raise ChannelFull(channel)
            # Ours, too: what went straight to the mailbox would overtake what was sent to a group before.
            bell, work = bells.of_process(process_of(channel)), False
        else:
            bell, work = bells.WORK, True
            row = (await self._desk().all(COUNT_WORK, target=target))[0]
            if row.waiting >= self.get_capacity(channel):
                raise ChannelFull(channel)
        await self._desk().post(Letter(uuid4(), target, work, body, bell))

    async def receive(self, channel: str) -> dict[str, Any]:
        """The next message of a channel; of a channel without `!`, one that no other process gets."""
        self.require_valid_channel_name(channel)
        if "!" not in channel:
            return await self._take_work(channel)
        if not self._is_ours(channel):
            raise ValueError(f"{channel} is received in the process that made it.")
        mailbox = self._mailbox(channel)
        try:
            return decoded(await mailbox.get())
        finally:
            if mailbox.idle() and self._mailboxes.get(channel) is mailbox:
                del self._mailboxes[channel]

    async def new_channel(self, prefix: str = "specific") -> str:
        """A name for a channel of this process."""
        await self._hear(bells.of_process(self.process), self._rung_for_us)
        return f"{prefix}.{self.process}!{secrets.token_hex(8)}"

    async def group_add(self, group: str, channel: str) -> None:
        """Let a channel of this process hear what is sent to the group from now on."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if not self._is_ours(channel):
            raise ValueError(f"{channel} is of another process, which alone can add it to a group.")
        self._groups.setdefault(group, {}).setdefault(channel, time.monotonic())
        await self._hear(bells.of_group(group), self._rung_for_group)

    async def group_discard(self, group: str, channel: str) -> None:
        """Let the channel hear no more of the group; does nothing where it does not."""
        self.require_valid_group_name(group)
        self.require_valid_channel_name(channel)
        if members := self._groups.get(group):
            members.pop(channel, None)
            if not members:
                self._drop_group(group)

    async def group_send(self, group: str, message: dict[str, Any]) -> None:
        """Send to every channel in the group, in every process; a channel that is full misses it."""
        self.require_valid_group_name(group)
        await self._desk().post(Letter(uuid4(), GROUP + group, work=False, body=encoded(message), bell=bells.of_group(group)))

    async def flush(self) -> None:
        """Forget every message, everywhere, and every group of this process."""
        self._inbox.clear()
        self._mailboxes.clear()
        for group in list(self._groups):
            self._drop_group(group)
        await self._desk().run(FLUSH)

    async def close(self) -> None:
        """Hear no more bells."""
        for leave in self._bells.values():
            leave()
        self._bells.clear()

    def _is_ours(self, channel: str) -> bool:
        return "!" in channel and process_of(channel) == self.process

    def _desk(self) -> Desk:
        loop = asyncio.get_running_loop()
        desk = self._desks.get(loop)
        if desk is None:
            for closed in [other for other in self._desks if other.is_closed()]:
                del self._desks[closed]
            desk = self._desks[loop] = Desk(expiry_seconds=self.expiry)
        return desk

    async def _hear(self, bell: str, callback: Callable[[str], None]) -> None:
        if not self._listener.running:
            await self._listener.start()
        if bell not in self._bells:
            self._bells[bell] = self._listener.subscribe(bell, callback)
        if not self._listener.connected:
            # Returning earlier would promise messages that nobody hears; with the database away they are made up for later.
            await self._listener.ready(within_seconds=LISTEN_SECONDS)

    def _rung_for_us(self, payload: str) -> None:
        self._inbox.rung(payload)

    def _rung_for_group(self, payload: str) -> None:
        if payload.partition(" " + GROUP)[2] in self._groups:
            self._inbox.rung(payload)

    def _targets(self) -> list[str]:
        return [*(GROUP + group for group in self._groups), *(CHANNEL + channel for channel in self._mailboxes)]

    def _deliver(self, target: str, body: bytes, at: float) -> None:
        self._sweep()
        if target.startswith(CHANNEL):
            self._put(target.removeprefix(CHANNEL), body)
            return
        for channel, joined in list(self._groups.get(target.removeprefix(GROUP), {}).items()):
            if joined <= at:
                self._put(channel, body)

    def _sweep(self) -> None:
        """Consumers that left without a word, as after an error, leave a mailbox and memberships behind."""
        now = time.monotonic()
        if now - self._swept < self.expiry:
            return
        self._swept = now
        for channel in [channel for channel, mailbox in list(self._mailboxes.items()) if mailbox.abandoned()]:
            log.info("layer.abandoned", channel=channel)
            self._mailboxes.pop(channel, None)
            for group in [group for group, members in self._groups.items() if members.pop(channel, None) is not None and not members]:
                self._drop_group(group)

    def _put(self, channel: str, body: bytes) -> None:
        if not self._mailbox(channel).put(body, expires=time.monotonic() + self.expiry):
            log.warning("layer.full", channel=channel)

    def _mailbox(self, channel: str) -> Mailbox:
        return self._mailboxes.setdefault(channel, Mailbox(self.get_capacity(channel)))

    def _drop_group(self, group: str) -> None:
        self._groups.pop(group, None)
        bell = bells.of_group(group)
        if not any(bells.of_group(other) == bell for other in self._groups) and (leave := self._bells.pop(bell, None)):
            leave()

    async def _take_work(self, channel: str) -> dict[str, Any]:
        await self._hear(bells.WORK, self._work_rung)
        bell = self._mailboxes.setdefault(channel, Mailbox(1))
        while True:
            for row in await self._desk().all(TAKE_WORK, target=CHANNEL + channel):
                return decoded(bytes(row.body))
            try:
                await asyncio.wait_for(bell.get(), WORK_TICK_SECONDS)
            except TimeoutError:
                continue

    def _work_rung(self, payload: str) -> None:
        if bell := self._mailboxes.get(payload.partition(" " + CHANNEL)[2]):
            bell.put(b"", expires=time.monotonic() + self.expiry)


def process_of(channel: str) -> str:
    """The process that a channel with `!` belongs to.

    >>> process_of("specific.0f3a!77")
    '0f3a'
    """
    return channel.partition("!")[0].rpartition(".")[2]


def encoded(message: dict[str, Any]) -> bytes:
    """The message as JSON; raises TypeError for what is none, MessageTooLarge for what is no doorbell."""
    if not isinstance(message, dict):
        raise TypeError("A message is a dict.")
    body = orjson.dumps(message)
    if len(body) > MOST_MESSAGE_BYTES:
        raise MessageTooLarge(f"A message has at most {MOST_MESSAGE_BYTES} bytes, this one {len(body)}: send an id, let the receiver read.")
    return body


def decoded(body: bytes) -> dict[str, Any]:
    """The message, a copy of its own for each who receives it."""
    message: dict[str, Any] = orjson.loads(body)
    return message
