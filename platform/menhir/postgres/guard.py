"""Stops the embedded server of an `up` that was killed and could not: `python -m menhir.postgres.guard <folder> <lock>`.

It waits on a pipe (its stdin) that `up` alone can write to. When that closes it waits for the lock, which the other processes of that
`up` hold until they have written what they had to write, and stops the server, unless a new `up` has taken over meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from pathlib import Path

TICK_SECONDS = 0.2


def guard(folder: Path, lock: Path) -> None:
    """Wait for the end of the process that started this one; then stop the server in `folder`."""
    with lock.open("r+", encoding="ascii") as held:
        ours = held.read()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # our end is the pipe's
        sys.stdin.buffer.read()
        while True:
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                held.seek(0)
                if held.read() != ours:
                    return  # another has taken over, and the server with it
                time.sleep(TICK_SECONDS)
            else:
                break
        stop(folder)


def stop(folder: Path, *, within_seconds: float = 60.0) -> None:
    """Stop the server that runs in `folder`, breaking off what it is doing; return when it has gone. None running is fine.

    Raises TimeoutError when it does not go.
    """
    process_id = running(folder)
    if process_id is None:
        return
    os.kill(process_id, signal.SIGINT)  # PostgreSQL's fast shutdown
    until = time.monotonic() + within_seconds
    while running(folder) == process_id:
        if time.monotonic() > until:
            raise TimeoutError(f"The database in {folder} (process {process_id}) does not stop.")
        time.sleep(0.05)


def running(folder: Path) -> int | None:
    """The id of the server's process in `folder`, as far as its own note and the operating system say; else None."""
    try:
        process_id = int((folder / "postmaster.pid").read_text(encoding="utf-8").split("\n", 1)[0])
        os.kill(process_id, 0)
    except (FileNotFoundError, ProcessLookupError, ValueError):
        return None
    return process_id


if __name__ == "__main__":
    guard(Path(sys.argv[1]), Path(sys.argv[2]))
