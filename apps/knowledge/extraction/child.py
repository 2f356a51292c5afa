"""The child that reads one file: `python -m apps.knowledge.extraction.child`.

Takes on stdin a line of JSON, `{"filename", "media_type", "memory_bytes", "cpu_seconds"}`, then the bytes of the
file. Gives on stdout one JSON object, `{"kind", "title", "text", "spans": [[start, end, tokens], …]}` or `{"error":
code, "message": sentence}`. It caps itself before it looks at a byte of the file: the parent would have to do so
between fork and exec, where threads forbid it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from typing import Any

from apps.knowledge.errors import Damaged, TookTooMuchMemory, Unreadable

NICENESS = 10


def main() -> None:
    """Read what stdin brings, say on stdout what it was."""
    source = sys.stdin.buffer
    order = json.loads(source.readline())
    cage(memory_bytes=order["memory_bytes"], cpu_seconds=order["cpu_seconds"])
    # What libraries print must not get between us and the parent.
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    answers.write(json.dumps(answer(source.read(), filename=order["filename"], media_type=order["media_type"])).encode())
    answers.close()


def cage(*, memory_bytes: int, cpu_seconds: int) -> None:
    """Cap memory and processor time, write no files and no core, and stand back behind whoever serves people."""
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    resource.setrlimit(resource.RLIMIT_CPU, (cpu_seconds, cpu_seconds + 1))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.nice(NICENESS)


def answer(content: bytes, *, filename: str, media_type: str) -> dict[str, Any]:
    """What the parent hears about this file."""
    from apps.knowledge.extraction.reading import read

    try:
        found = read(content, filename=filename, media_type=media_type)
    except Unreadable as e:
        return {"error": e.code, "message": e.message}
    except MemoryError:
        return {"error": TookTooMuchMemory.code, "message": None}
    except Exception as e:  # noqa: BLE001 - the libraries that read files raise anything; the file is at fault
        sys.stderr.write(f"{type(e).__name__}: {e}\n")
        return {"error": Damaged.code, "message": None}
    return {"kind": found.kind, "title": found.title, "text": found.text, "spans": [[s.start, s.end, s.tokens] for s in found.spans]}


if __name__ == "__main__":
    main()
