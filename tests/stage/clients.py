"""Clients of other makers: installed in a place of their own, once for each version, and kept in `.menhir/clients`.

Installing litellm takes as long as a minute of tests. `tests/run.py` begins with it, beside the checks that need one core:

    PYTHONPATH=tests python -m stage.clients
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
KEPT = ROOT / ".menhir" / "clients"
NODE = ROOT / "tests" / "assistants" / "node"
NODE_FILES = ("package.json", "package-lock.json", "ask.mjs")
LITELLM = ("litellm==1.106.2", "mcp==2.3.0")  # what it imports for tools without asking for it


def litellm() -> Path:
    """Give a Python that has litellm, which wants an older openai than ours."""

    def install(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", "--without-pip", str(folder)])
        _run([sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet", "--no-compile", *LITELLM])

    return _kept("litellm", " ".join((*LITELLM, sys.version)), install) / "bin" / "python"


def node() -> Path | None:
    """Give a folder with npm's `openai` package, as its lock says; None on a machine without Node.js and npm."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None

    def install(folder: Path) -> None:
        folder.mkdir()
        for name in NODE_FILES:
            shutil.copy(NODE / name, folder)
        _run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder)

    return _kept("node", "".join((NODE / name).read_text(encoding="utf-8") for name in NODE_FILES), install)


def _kept(name: str, what: str, install: Callable[[Path], None]) -> Path:
    """The folder for exactly this; whoever comes while another installs it waits. One that was broken off is made again."""
    KEPT.mkdir(parents=True, exist_ok=True)
    folder = KEPT / f"{name}-{hashlib.blake2b(what.encode(), digest_size=6).hexdigest()}"
    whole = folder / ".whole"
    with (KEPT / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not whole.exists():
            for former in KEPT.glob(f"{name}-*"):
                shutil.rmtree(former)
            install(folder)
            whole.touch()
    return folder


def _run(command: list[str], **options: Path) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **options)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}:\n{done.stderr[-3000:]}")


if __name__ == "__main__":
    litellm()
    node()
