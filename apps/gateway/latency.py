"""How quick a target has been of late: an average that forgets, and a rank that grows curious about who was not asked.

The average is exponentially weighted by time (EWMA with a half-life of ten seconds), so that a burst of calls does not drown
the last minute. The rank halves for every thirty seconds in which a target was not chosen: one that was slow is found again
when it has recovered, by one call at a time, because being chosen sets its rank back.
"""

from __future__ import annotations

HALF_LIFE_SECONDS = 10.0
CURIOSITY_SECONDS = 30.0
FAILURE_SECONDS = 10.0
"""What a failure counts as at least: who refuses in a millisecond is not quick."""


class Latency:
    """Seconds to the first byte of one target, in one process; streams and whole answers are kept apart by the caller.

    >>> latency = Latency()
    >>> latency.rank(now=0.0)  # never asked: before everybody else
    0.0
    >>> latency.chosen(now=0.0)
    >>> latency.rank(now=0.0)  # asked, and nobody knows yet: one call is enough to find out
    10.0
    >>> latency.measured(0.2, now=0.2)
    >>> latency.measured(0.4, now=10.2)
    >>> round(latency.rank(now=10.2), 3), round(latency.rank(now=40.2), 3)
    (0.3, 0.15)
    """

    __slots__ = ("_chosen_at", "_measured_at", "_seconds")

    def __init__(self) -> None:
        self._seconds: float | None = None
        self._measured_at = 0.0
        self._chosen_at: float | None = None

    def chosen(self, now: float) -> None:
        """Note that a call goes there."""
        self._chosen_at = now

    def measured(self, seconds: float, now: float) -> None:
        """Take a new measurement in."""
        if self._seconds is None:
            self._seconds = seconds
        else:
            kept = 0.5 ** (max(0.0, now - self._measured_at) / HALF_LIFE_SECONDS)
            # Ten calls in one instant must not count as nothing: each new one weighs a tenth at least.
            kept = min(kept, 0.9)
            self._seconds = self._seconds * kept + seconds * (1.0 - kept)
        self._measured_at = self._chosen_at = now

    def failed(self, seconds: float, now: float) -> None:
        """Take a failure in, as a slow answer."""
        self.measured(max(seconds, FAILURE_SECONDS), now)

    def rank(self, now: float) -> float:
        """Give what targets are ordered by: the least is asked first."""
        if self._chosen_at is None:
            return 0.0
        seconds = FAILURE_SECONDS if self._seconds is None else self._seconds
        forgotten: float = 0.5 ** (max(0.0, now - self._chosen_at) / CURIOSITY_SECONDS)
        return seconds * forgotten
