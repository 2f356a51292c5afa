"""How late the event loop comes to what is due: everything that this process serves waits at least as long.

A timer says each half second when it should have been called. What holds the loop up (a computation, a collection of garbage, a machine
that is too busy) shows here first.
"""

from __future__ import annotations

import asyncio

from menhir.telemetry import meters

EVERY_SECONDS = 0.5
LATE_SECONDS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
LAG = meters.histogram("menhir_event_loop_lag_seconds", "How late the event loop was.", LATE_SECONDS).of()


class Lag:
    """The timer of one process."""

    _timer: asyncio.TimerHandle | None = None

    async def start(self) -> None:
        """Measure on the running loop."""
        await self.stop()
        self._next(asyncio.get_running_loop())

    async def stop(self) -> None:
        """Measure no more."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()

    def _next(self, loop: asyncio.AbstractEventLoop) -> None:
        due = loop.time() + EVERY_SECONDS
        self._timer = loop.call_at(due, self._look, loop, due)

    def _look(self, loop: asyncio.AbstractEventLoop, due: float) -> None:
        LAG.observe(max(0.0, loop.time() - due))
        self._next(loop)


lag = Lag()
"""Wiring starts and stops it."""
