"""What `up` starts does not outlive it, however it ends: its children read a pipe that it alone can write to.

And whoever was told to go is gone when he said that he would be, whatever hangs in one of his threads.
"""

from __future__ import annotations

import os
import signal
import threading
import time

VARIABLE = "MENHIR_LIFELINE"
GRACE_SECONDS = 40.0


def watch(*, grace_seconds: float = GRACE_SECONDS) -> None:
    """End this process, as by SIGTERM, once the one that started it has gone. Does nothing in a process that was started by hand."""
    if os.environ.pop(VARIABLE, None):
        threading.Thread(target=_wait, args=[grace_seconds], name="lifeline", daemon=True).start()


def end_within(seconds: float) -> None:
    """End this process after so many seconds, should it not have ended by itself."""
    threading.Thread(target=_end, args=[seconds], name="deadline", daemon=True).start()


def _wait(grace_seconds: float) -> None:
    while os.read(0, 1):  # nobody writes; it returns empty when the last who could is gone
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    _end(grace_seconds)


def _end(seconds: float) -> None:
    time.sleep(seconds)
    os._exit(1)
