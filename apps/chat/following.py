"""Reading along while an answer is written, as events for one socket.

The journal tells pieces of text; what is sent is HTML, in blocks. However fast the pieces come, rendering takes a small share of
the time: after each look at the text the next one waits several times as long as the last one took.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from os.path import commonprefix
from uuid import UUID

from django.template.loader import render_to_string

from apps.chat import wire
from apps.chat.draft import Draft, sources_of
from apps.chat.live import LiveText
from menhir.realtime.journal import journal

BETWEEN_LOOKS_SECONDS = 0.03
REST_PER_WORK = 5.0
RENDERED_HERE_CHARACTERS = 2_000

Send = Callable[[wire.Text | wire.Sources], Awaitable[None]]


class Following:
    """One reader of one run."""

    def __init__(self, send: Send, *, tenant_id: UUID, tenant_slug: str, run_id: UUID, after: int) -> None:
        self.draft = Draft()
        self._send, self._tenant_id, self._tenant_slug, self._run_id, self._after = send, tenant_id, tenant_slug, run_id, after
        self._live = LiveText()
        self._heard: list[str] = []
        self._seq = self._told = after
        self._caught_up = False
        self._blocks_told = 0
        self._open_told = ""
        self._sources_told = False
        self._news, self._over = asyncio.Event(), asyncio.Event()

    async def until_the_end(self) -> None:
        """Send what comes after `after`, until the run has ended. `draft` then holds all of it."""
        telling = asyncio.create_task(self._tell_as_it_comes())
        try:
            async for seq, event in journal.follow(self._tenant_id, self._run_id):
                self._hear(seq, self.draft.take(event))
            self._over.set()
            self._news.set()
            await telling
        finally:
            telling.cancel()

    def _hear(self, seq: int, text: str) -> None:
        if self.draft.passages and not self._live.sources:
            self._live.sources = sources_of(self.draft.passages, tenant_slug=self._tenant_slug)
        if seq > self._after:
            self._catch_up()
            self._seq = seq
            self._news.set()
        self._heard.append(text)

    def _catch_up(self) -> None:
        """Before the first new piece: what the reader has seen are the blocks that were finished at that point."""
        if not self._caught_up:
            self._caught_up = True
            self._live.feed(self._taken())
            self._live.advance()
            self._blocks_told = len(self._live.finished)

    async def _tell_as_it_comes(self) -> None:
        while not self._over.is_set():
            await self._news.wait()
            self._news.clear()
            began = time.perf_counter()
            await self._tell()
            rest = BETWEEN_LOOKS_SECONDS + REST_PER_WORK * (time.perf_counter() - began)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._over.wait(), rest)
        await self._tell()

    async def _tell(self) -> None:
        """Send what has changed since the last time."""
        if self._seq == self._told:
            return
        if self.draft.passages and not self._sources_told:
            self._sources_told = True
            linked = [(passage, passage.href(self._tenant_slug)) for passage in self.draft.passages]
            html = render_to_string("chat/sources.html", {"linked_sources": linked, "running": True})
            await self._send(wire.Sources(run=self._run_id, seq=self._seq, html=html))
        seq, text = self._seq, self._taken()  # in one breath: the number says exactly how much text was told
        if self._live.work + len(text) < RENDERED_HERE_CHARACTERS:
            blocks, keep, opened = self._look_at(text)
        else:  # one very long list or program: nobody else in this process shall wait for it
            blocks, keep, opened = await asyncio.to_thread(self._look_at, text)
        event = wire.Text(run=self._run_id, seq=seq, first=self._blocks_told, blocks=blocks, keep=keep, open=opened)
        self._blocks_told += len(blocks)
        self._told = seq
        await self._send(event)

    def _taken(self) -> str:
        heard, self._heard = self._heard, []
        return "".join(heard)

    def _look_at(self, text: str) -> tuple[list[str], int, str]:
        """The blocks that are finished now, how much of the open one the reader has already, and the rest of it."""
        self._live.feed(text)
        self._live.advance()
        blocks, opened = self._live.finished_html(self._blocks_told), self._live.open_html
        same = commonprefix(["" if blocks else self._open_told, opened])  # noqa: RUF071  # letter by letter is what is wanted
        self._open_told = opened
        return blocks, _utf16_units(same), opened[len(same) :]


def _utf16_units(text: str) -> int:
    """How long JavaScript finds a text.

    >>> _utf16_units("aü😀")
    4
    """
    return len(text) + sum(character > "\uffff" for character in text)
