"""What `up` starts does not outlive it, however it ends: its children read a pipe that it alone can write to."""

from __future__ import annotations

import os
import signal
import threading
import time

VARIABLE = "MENHIR_LIFELINE"
GRACE_SECONDS = 40.0


def watch() -> None:
    """End this process, as by SIGTERM, once the one that started it has gone. Does nothing in a process that was started by hand."""
    if os.environ.pop(VARIABLE, None):
        threading.Thread(target=_wait, name="lifeline", daemon=True).start()


def _wait() -> None:
    while os.read(0, 1):  # nobody writes; it returns empty when the last who could is gone
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(GRACE_SECONDS)
    os._exit(1)
