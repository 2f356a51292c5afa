"""The master keys of an installation: which seal and open what must not be readable at rest, the current one first.

They are given by `MENHIR_MASTER_KEYS`, or kept in a file, where one can be put in front while processes run: whoever meets a blob sealed
with a key that he does not know looks into the file again.
"""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fcntl import LOCK_EX, flock
from pathlib import Path

import structlog
from django.conf import settings

KEY_BYTES = 32

log = structlog.get_logger(__name__)

_read: tuple[tuple[int, int, int], tuple[bytes, ...]] | None = None


def parse(text: str) -> tuple[bytes, ...]:
    """Read keys in base64, separated by commas; raises ValueError.

    >>> len(parse("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=")[0])
    32
    """
    try:
        keys = tuple(base64.b64decode(word, validate=True) for word in text.strip().split(","))
    except binascii.Error as e:
        raise ValueError("must be base64, separated by commas") from e
    if any(len(key) != KEY_BYTES for key in keys):
        raise ValueError(f"must each hold {KEY_BYTES} bytes")
    return keys


def known() -> tuple[bytes, ...]:
    """The keys as this process knows them, without a look at the file."""
    found: tuple[bytes, ...] = settings.MENHIR_MASTER_KEYS
    return _read[1] if settings.MENHIR_MASTER_KEYS_FILE is not None and _read is not None else found


def present() -> tuple[bytes, ...]:
    """The keys as they are now: the file is read again when it has changed."""
    global _read  # noqa: PLW0603 - what a process knows of one file
    path: Path | None = settings.MENHIR_MASTER_KEYS_FILE
    if path is None:
        return known()
    try:
        status = path.stat()
        mark = (status.st_ino, status.st_mtime_ns, status.st_size)
        if _read is None or _read[0] != mark:
            _read = (mark, parse(path.read_text(encoding="ascii")))
    except (OSError, ValueError):
        log.exception("masterkeys.unreadable", path=str(path))
    return known()


def replace(change: Callable[[tuple[bytes, ...]], Sequence[bytes]]) -> tuple[bytes, ...]:
    """Change the keys in the file, atomically: a reader sees the old ones or the new, and so does whoever comes after a crash.

    Raises RuntimeError where the keys come from the environment, which nobody can change from here.
    """
    path: Path | None = settings.MENHIR_MASTER_KEYS_FILE
    if path is None:
        raise RuntimeError("MENHIR_MASTER_KEYS is set: change the keys there.")
    with _alone(path):
        keys = tuple(change(parse(path.read_text(encoding="ascii"))))
        descriptor, draft = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # mode 0600
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(",".join(base64.b64encode(key).decode() for key in keys))
            file.flush()
            os.fsync(file.fileno())
        Path(draft).replace(path)
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    return present()


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    with path.with_name(f"{path.name}.lock").open("w", encoding="ascii") as file:
        flock(file, LOCK_EX)
        yield
