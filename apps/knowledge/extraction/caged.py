"""Run the child that reads a file, and see that it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import structlog

from apps.knowledge.chunking import Span
from apps.knowledge.errors import UNREADABLE, TookTooLong, TookTooMuchMemory, Unreadable
from apps.knowledge.extraction.reading import Extracted, read

MEMORY_LIMIT_BYTES = 1536 * 1024 * 1024
CPU_LIMIT_SECONDS = 120
WALL_LIMIT_SECONDS = 300.0
IN_PLACE_BYTES = 20_000
"""Text that came as text and is this short is read in a thread: a process would cost a hundred times what it guards."""

ROOT = Path(__file__).resolve().parents[3]
log = structlog.get_logger(__name__)


async def extract(
    content: bytes,
    *,
    filename: str,
    media_type: str,
    memory_bytes: int = MEMORY_LIMIT_BYTES,
    cpu_seconds: int = CPU_LIMIT_SECONDS,
    wall_seconds: float = WALL_LIMIT_SECONDS,
) -> Extracted:
    """The text of a file and the spans of its chunks; raises an Unreadable whose message is for the person who uploaded it."""
    if len(content) <= IN_PLACE_BYTES and media_type in {"text/plain", "text/markdown"}:
        return await asyncio.to_thread(read, content, filename=filename, media_type=media_type)
    order = {"filename": filename, "media_type": media_type, "memory_bytes": memory_bytes, "cpu_seconds": cpu_seconds}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "apps.knowledge.extraction.child",
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        cwd=ROOT, env=environment(), start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(wall_seconds):
            out, err = await process.communicate(json.dumps(order).encode() + b"\n" + content)
    except TimeoutError as e:
        raise TookTooLong from e
    finally:
        await end(process)
    return await asyncio.to_thread(understood, process.returncode or 0, out, err)


def environment() -> dict[str, str]:
    """What the child may know: where Python's things are, and nothing that is secret."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'platform'}",
        "PYTHONDONTWRITEBYTECODE": "1",
        "LANG": "C.UTF-8",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


async def end(process: asyncio.subprocess.Process) -> None:
    """Kill the child and whatever it started, unless it ended by itself."""
    if process.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def understood(status: int, out: bytes, err: bytes) -> Extracted:
    """What the child said, or what its end without a word means."""
    if status in {-signal.SIGXCPU, -signal.SIGKILL}:
        raise TookTooLong
    try:
        said: dict[str, Any] = json.loads(out)
    except ValueError as e:
        log.warning("extraction child died", status=status, stderr=err[-2000:].decode(errors="replace"))
        # Native libraries answer a refused allocation by aborting; anything else that kills a child is the file's doing, too.
        raise (TookTooMuchMemory if b"alloc" in err or b"emory" in err or status == -signal.SIGABRT else Unreadable) from e
    if "error" in said:
        log.info("document unreadable", code=said["error"], stderr=err[-500:].decode(errors="replace"))
        raise UNREADABLE[said["error"]](said["message"])
    return Extracted(kind=said["kind"], title=said["title"], text=said["text"], spans=tuple(Span(*span) for span in said["spans"]))
