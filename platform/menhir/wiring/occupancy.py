"""One `up` for each home: a lock that is held for as long as `up` or anything that it started lives."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

LOCK = "up.lock"
WAIT_SECONDS = 60.0
TICK_SECONDS = 0.2


class Occupied(Exception):
    """Menhir runs in this home already."""


def occupy(home: Path) -> int:
    """Take the home and return the descriptor that holds it: children who inherit it hold it, too.

    Waits for what an `up` that was killed has left behind and that is about to end. Raises Occupied when another one lives.
    """
    descriptor = os.open(home / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + WAIT_SECONDS
    while not _taken(descriptor):
        holder = _holder(descriptor)
        if holder is not None and _lives(holder):
            os.close(descriptor)
            raise Occupied(
                f"Menhir runs in {home} already (process {holder}). "
                "Stop it there, or choose another home: MENHIR_HOME=.menhir-2 PORT=8001 make up"
            )
        if time.monotonic() > until:
            os.close(descriptor)
            raise Occupied(
                f"What an earlier run left in {home} does not end. `fuser {home / LOCK}` names its processes: end them and try again."
            )
        time.sleep(TICK_SECONDS)
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, str(os.getpid()).encode(), 0)
    return descriptor


def _taken(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(descriptor: int) -> int | None:
    written = os.pread(descriptor, 32, 0)
    return int(written) if written.isdigit() else None


def _lives(process_id: int) -> bool:
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
