"""A role in a process of its own, which is started again when it dies."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from menhir.wiring import lifeline
from menhir.wiring.environment import ROOT

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 15.0
STEADY_SECONDS = 30.0
LOG_LIMIT_BYTES = 50 * 1024 * 1024


class Pause:
    """How long to wait before the next try: longer each time it was in vain, short again after a steady while."""

    def __init__(self) -> None:
        self.seconds = FIRST_PAUSE_SECONDS

    def next(self, *, lived_seconds: float) -> float:
        """The pause after something that lived for so long.

        >>> pause = Pause()
        >>> [pause.next(lived_seconds=seconds) for seconds in (1, 1, 1, 60, 1, 1, 1, 1, 1, 1)]
        [0.5, 1.0, 2.0, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 15.0]
        """
        if lived_seconds > STEADY_SECONDS:
            self.seconds = FIRST_PAUSE_SECONDS
        now, self.seconds = self.seconds, min(self.seconds * 2, LONGEST_PAUSE_SECONDS)
        return now


class Child:
    """One role, with its log. It holds the home's lock (`held`) and ends when its stdin does."""

    def __init__(
        self, role: str, command: Sequence[str], environment: Mapping[str, str], log: Path, *, stdin: int, held: Sequence[int] = ()
    ) -> None:
        self.role, self.log = role, log
        self._command = list(command)
        self._environment = {**environment, lifeline.VARIABLE: "1"}
        self._stdin, self._held = stdin, tuple(held)
        self._pause = Pause()
        self._began = self._due = 0.0
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is ours to pass on."""
        if self.log.exists() and self.log.stat().st_size > LOG_LIMIT_BYTES:
            self.log.replace(self.log.with_suffix(".old.log"))
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=ROOT,
                env=self._environment,
                stdin=self._stdin,
                stdout=log,
                stderr=log,
                pass_fds=self._held,
                start_new_session=True,
            )
        self._began = time.monotonic()

    def tend(self, say: Callable[[str], None]) -> None:
        """Bring it back when it has died, a little later each time it dies young."""
        now = time.monotonic()
        if self._process is not None and (code := self._process.poll()) is not None:
            pause = self._pause.next(lived_seconds=now - self._began)
            say(f"{self.role} ended with {code}; it is started again in {pause:g} s (see {self.log})")
            self._process, self._due = None, now + pause
        if self._process is None and now >= self._due:
            self.start()

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self._process is not None and self._process.poll() is None

    def end(self) -> None:
        """Ask it to finish what it does and go."""
        if self.running and self._process is not None:
            self._process.terminate()

    def kill(self) -> None:
        """Do not ask: it goes at once, and whatever it started with it."""
        if self._process is not None:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
