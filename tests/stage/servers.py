"""Real processes on real sockets, for tests that talk as a client does and for those that kill."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def eventually(condition: Callable[[], object], *, seconds: float = 20.0, what: str = "it") -> object:
    """Ask until the answer is true; fails with `what` when it never is."""
    until = time.monotonic() + seconds
    while True:
        if found := condition():
            return found
        if time.monotonic() > until:
            pytest.fail(f"{what} did not come to pass within {seconds:g} s")
        time.sleep(0.05)


def answers(url: str) -> bool:
    """Whether a URL answers 200."""
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False


@dataclass
class Server:
    """One role of ours in a process of its own."""

    role: str
    arguments: list[str]
    environment: dict[str, str]
    ready_url: str | None
    log: Path
    process: subprocess.Popen[bytes] | None = field(default=None)

    def start(self) -> None:
        """Start, and wait until it is ready."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), self.role, *self.arguments], env=self.environment, stdout=log, stderr=log
            )
        if self.ready_url:
            eventually(lambda: answers(self.ready_url) or self._died(), seconds=READY_SECONDS, what=f"{self.role} being ready")
            if self.process.poll() is not None:
                pytest.fail(f"{self.role} ended:\n{self.log.read_text()[-3000:]}")

    def _died(self) -> bool:
        return self.process is not None and self.process.poll() is not None

    def kill(self) -> None:
        """SIGKILL: nothing is tidied up."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()

    def stop(self) -> None:
        """SIGTERM, and patience."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(timeout=30)
            except subprocess.TimeoutExpired:
                self.kill()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `web` processes on this test's database; they end with the test."""
    started: list[Server] = []

    def start(**environment: str) -> Server:
        port = free_port()
        server = Server(
            "web", ["--port", str(port)], {**os.environ, **environment}, f"http://127.0.0.1:{port}/readyz", tmp_path / f"web-{port}.log"
        )
        server.base_url = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
        started.append(server)
        server.start()
        return server

    yield start
    for server in started:
        server.stop()


@dataclass(frozen=True)
class Installation:
    """A whole Menhir as `make up` starts it, with what it wrote for its first tenant."""

    base_url: str
    home: Path
    email: str
    password: str
    api_key: str


@contextmanager
def installation(home: Path, **environment: str) -> Iterator[Installation]:
    """Run `manage.py up` in an empty home until the block ends."""
    port = free_port()
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MENHIR_", "DATABASE_URL", "OPENAI_"))}
    log = home.parent / f"{home.name}-up.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "up"],
            env={**inherited, "MENHIR_HOME": str(home), "PORT": str(port), **environment},
            stdout=output,
            stderr=output,
            cwd=ROOT,
        )
    try:
        eventually(
            lambda: answers(f"http://127.0.0.1:{port}/readyz") or process.poll() is not None, seconds=120, what="make up being ready"
        )
        if process.poll() is not None:
            pytest.fail(log.read_text())
        first = json.loads((home / "first-tenant.json").read_text())
        yield Installation(first["base_url"], home, first["email"], first["password"], first["api_key"])
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
