"""A circuit breaker for each target, in each process: who has failed time and again is not asked for a while.

Closed, every call goes through. It opens after five failures in a row, or after ten among the last twenty calls; then the
target is passed over, for 5 seconds at first and for twice as long each time it fails again, a minute at most. After that it
is half open: one call is let through to see, and closes it, or opens it again. A target that names a time before which it
wants no more calls (`retry-after`) rests until then.

Its state is a process's own: whoever meets a dead upstream first should not need a database to tell the others.
"""

from __future__ import annotations

from typing import Literal

CALLS_REMEMBERED = 20
WINDOW = (1 << CALLS_REMEMBERED) - 1
FAILURES_IN_WINDOW = 10
FAILURES_IN_A_ROW = 5
ROW = (1 << FAILURES_IN_A_ROW) - 1
FORGET_SECONDS = 60.0
"""Failures that lie further back say nothing about now."""
FIRST_OPEN_SECONDS = 5.0
LONGEST_OPEN_SECONDS = 60.0

State = Literal["closed", "open", "half_open"]


class Breaker:
    """The last calls of one target, as bits: 1 for each that failed, the latest lowest.

    >>> breaker = Breaker()
    >>> for second in range(5):
    ...     breaker.failed(now=float(second))
    >>> breaker.state(now=4.0), breaker.shuns(now=8.9), breaker.state(now=9.0), breaker.shuns(now=9.0)
    ('open', True, 'half_open', False)
    >>> probe = breaker.claim()  # one call goes through to see; nobody else does
    >>> breaker.released()  # what another call learns, that began before it opened, changes nothing about that
    >>> breaker.failed(now=9.0)
    >>> breaker.state(now=9.0), breaker.shuns(now=9.0)
    ('half_open', True)
    >>> breaker.released(probe)
    >>> breaker.shuns(now=9.0)
    False
    >>> breaker.succeeded()
    >>> breaker.state(now=9.0)
    'closed'
    """

    __slots__ = ("_bits", "_claims", "_opened", "_probe", "_until", "calm", "failed_at")

    def __init__(self) -> None:
        self.calm = True
        """Nothing is remembered against it: the one thing that a call on the fast path looks at."""
        self.failed_at = 0.0
        self._bits = 0
        self._until = 0.0
        self._opened = 0
        self._claims = 0
        self._probe = 0
        """The claim of the call that is there to see; 0 for nobody's."""

    def shuns(self, now: float) -> bool:
        """Tell whether it is open, or half open with somebody there already."""
        return self._until > 0.0 and (now < self._until or self._probe > 0)

    def state(self, now: float) -> State:
        """Say how it stands."""
        if not self._until:
            return "closed"
        return "open" if now < self._until else "half_open"

    def claim(self) -> int:
        """Go through, and say with what this gives how it went (`succeeded`, `failed`, `rest`, `released`), whatever happens.

        It is 0 for everybody but the one who goes to see.
        """
        if not self._until or self._probe:
            return 0
        self._claims += 1
        self._probe = self._claims
        return self._probe

    def succeeded(self) -> None:
        """Close it; a failure that lies before is remembered until twenty calls have gone well."""
        if self._until:
            self._bits = 0
            self._until = 0.0
            self._opened = 0
            self._probe = 0
        else:
            self._bits = self._bits << 1 & WINDOW
        self.calm = not self._bits

    def failed(self, now: float, claim: int = 0) -> None:
        """Remember a failure, and open it when there were too many."""
        if now - self.failed_at > FORGET_SECONDS and not self._until:
            self._bits = 0
        self.failed_at = now
        self.calm = False
        self._bits = self._bits << 1 & WINDOW | 1
        if self._until or self._bits & ROW == ROW or self._bits.bit_count() >= FAILURES_IN_WINDOW:
            # Calls that were under way when it opened do not open it further, nor speak for the one that went to see.
            if not self._until or (now >= self._until and claim == self._probe):
                self._until = now + min(FIRST_OPEN_SECONDS * 2**self._opened, LONGEST_OPEN_SECONDS)
                self._opened += 1
            self.released(claim)

    def rest(self, now: float, seconds: float, claim: int = 0) -> None:
        """Leave it alone for so long, as it asked itself; a minute at most, for it may say anything.

        >>> breaker = Breaker()
        >>> breaker.rest(now=0.0, seconds=3600.0)
        >>> breaker.state(now=59.0), breaker.state(now=60.0)
        ('open', 'half_open')
        """
        self.calm = False
        self.failed_at = now
        self._until = max(self._until, now + min(seconds, LONGEST_OPEN_SECONDS))
        self.released(claim)

    def released(self, claim: int = 0) -> None:
        """The call that went through learnt nothing: it was given up on our side."""
        if claim == self._probe:
            self._probe = 0
