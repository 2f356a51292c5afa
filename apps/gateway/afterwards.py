"""What a call leaves to be done when its client is already answered: shadows, and the bills of those who lost a race.

Nobody waits for it, it is bounded by whoever starts it, and it is seen through before the process closes its ledger.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterable

log = logging.getLogger(__name__)

_running: set[asyncio.Task[None]] = set()


def begin(work: Coroutine[Any, Any, None], *, name: str) -> asyncio.Task[None]:
    """Start it, and go on."""
    task = asyncio.get_running_loop().create_task(work, name=name)
    _running.add(task)
    task.add_done_callback(_ended)
    return task


async def done(*, within_seconds: float) -> None:
    """Wait for what was begun; what takes longer is cancelled, and settles what it knows."""
    await over(_running, within_seconds=within_seconds)


async def over(tasks: Iterable[asyncio.Task[None]], *, within_seconds: float) -> None:
    """Wait for those of these tasks that run on this loop; those that are not in time are cancelled, and seen to end."""
    loop = asyncio.get_running_loop()
    mine = {task for task in tasks if task.get_loop() is loop}
    if mine:
        _, late = await asyncio.wait(mine, timeout=within_seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)


def _ended(task: asyncio.Task[None]) -> None:
    _running.discard(task)
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("what a call left to do failed: %s", task.get_name(), exc_info=error)
