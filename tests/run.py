"""`make test`: every check and every test, in the order in which they fail fastest.

Everything runs even after a failure, so that one run tells all; the exit code is 1 when anything failed.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
PATH = {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "platform")])}
CHECKS: list[tuple[str, list[str]]] = [
    ("format", [str(BIN / "ruff"), "format", "--check", "--quiet", "."]),
    ("lint", [str(BIN / "ruff"), "check", "--quiet", "."]),
    ("layers", [str(BIN / "lint-imports"), "--no-cache"]),
    ("types", [str(BIN / "mypy"), "--no-error-summary"]),
]
PYTEST = [sys.executable, "-m", "pytest", "-q"]
# Whole processes, killed and restarted, want the machine to themselves: they run after the others, one by one.
TESTS: list[tuple[str, list[str]]] = [
    (
        "tests",
        [*PYTEST, "-n", "2", "--dist", "loadfile", "-m", "not slow and not browser", "--doctest-modules", "tests", "platform", "apps"],
    ),
    ("whole-process tests", [*PYTEST, "-m", "slow or browser", "tests"]),
]


def main() -> int:
    """Run all; say how long each took."""
    browser()
    # What takes minutes to fetch, beside what takes minutes to compute. Whoever needs it waits for it; what failed is said there.
    fetching = subprocess.Popen(
        [sys.executable, "-m", "stage.clients"], cwd=ROOT / "tests", stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    failed = [name for name, command in CHECKS + TESTS if not passes(name, command)]
    fetching.wait()
    if failed:
        print(f"FAILED: {', '.join(failed)}")
    return 1 if failed else 0


def passes(name: str, command: list[str]) -> bool:
    """Run one command from the root."""
    began = time.monotonic()
    code = subprocess.run(command, cwd=ROOT, env={**os.environ, **PATH}, check=False).returncode
    print(f"[{'ok' if code == 0 else 'FAILED'}] {name} ({time.monotonic() - began:.0f} s)", flush=True)
    return code == 0


def browser() -> None:
    """See to it that there is a Chromium: Debian's, when we may install it; else say what to do."""
    if shutil.which("chromium") or shutil.which("google-chrome"):
        return
    if shutil.which("apt-get") and os.geteuid() == 0:
        print("Installing Debian's chromium for the browser tests …", flush=True)
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        subprocess.run(["apt-get", "install", "-y", "-qq", "--no-install-recommends", "chromium"], check=True, stdout=subprocess.DEVNULL)
        return
    sys.exit("The browser tests need Chromium. Install it (Debian and Ubuntu: sudo apt install chromium) and run make test again.")


if __name__ == "__main__":
    sys.exit(main())
