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
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
READY_SECONDS = 60.0
HANDBOOK = Path(__file__).parent / "handbook"
"""A page to answer from: reading the whole documentation takes two cores half a minute."""


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


@contextmanager
def webs(folder: Path) -> Iterator[Callable[..., Server]]:
    """Starts `web` processes on this test's database; they end with the block."""
    started: list[Server] = []

    def start(**environment: str) -> Server:
        port = free_port()
        server = Server(
            "web", ["--port", str(port)], {**os.environ, **environment}, f"http://127.0.0.1:{port}/readyz", folder / f"web-{port}.log"
        )
        server.base_url = f"http://127.0.0.1:{port}"  # type: ignore[attr-defined]
        started.append(server)
        server.start()
        return server

    try:
        yield start
    finally:
        for server in started:
            server.stop()


@pytest.fixture
def web(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `web` processes on this test's database; they end with the test."""
    with webs(tmp_path) as start:
        yield start


@pytest.fixture
def worker(tmp_path: Path) -> Iterator[Callable[..., Server]]:
    """Starts `worker` processes on this test's database; they end with the test."""
    started: list[Server] = []

    def start(**environment: str) -> Server:
        log = tmp_path / f"worker-{len(started)}.log"
        started.append(Server("worker", [], {**os.environ, "MENHIR_LOG_LEVEL": "INFO", **environment}, None, log))
        started[-1].start()
        return started[-1]

    yield start
    for server in started:
        server.stop()


class Up:
    """`manage.py up` in a home of its own, and whatever it started there."""

    def __init__(self, home: Path, **environment: str) -> None:
        self.home, self.port = home, free_port()
        self.log = home.parent / f"{home.name}-up.log"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MENHIR_", "DATABASE_URL", "OPENAI_"))}
        named = {"MENHIR_HOME": str(home), "PORT": str(self.port), "MENHIR_DOCUMENTATION": str(HANDBOOK)}
        self.environment = {**inherited, **named, **environment}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def begin(self) -> None:
        """Start it, in a session of its own as a terminal would."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, str(ROOT / "manage.py"), "up"],
                env=self.environment,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                start_new_session=True,
            )

    def start(self) -> Installation:
        """Start it and wait until it is ready."""
        earlier = self._greetings()
        self.begin()
        eventually(lambda: self._greetings() > earlier or self.process.poll() is not None, seconds=120, what="make up being ready")
        if self.process.poll() is not None:
            pytest.fail(self.log.read_text())
        first = json.loads((self.home / "first-tenant.json").read_text())
        return Installation(first["base_url"], self.home, first["email"], first["password"], first["api_key"])

    def _greetings(self) -> int:
        return self.log.read_text().count("Menhir is up") if self.log.exists() else 0

    def stop(self, number: int = signal.SIGINT) -> int:
        """Send it a signal; the exit code."""
        self.process.send_signal(number)
        try:
            return self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()

    def processes(self) -> list[psutil.Process]:
        """Everything that lives in this home."""
        return [process for process in psutil.process_iter() if process.pid != os.getpid() and self._is_ours(process)]

    def role(self, name: str) -> psutil.Process | None:
        """The process of a role, or of `postgres`; None while there is none."""
        with suppress(psutil.Error):  # it ended while we looked
            return self._role(name)
        return None

    def _role(self, name: str) -> psutil.Process | None:
        if name == "postgres":
            found = (process for process in self.processes() if process.cmdline()[1:3] == ["-D", str(self.home / "postgres")])
        else:
            found = (process for process in psutil.Process(self.process.pid).children() if name in process.cmdline())
        return next(found, None)

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.status() != psutil.STATUS_ZOMBIE and (
                str(self.home) in " ".join(process.cmdline()) or process.environ().get("MENHIR_HOME") == str(self.home)
            )
        except psutil.Error:
            return False


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
    """Run `manage.py up` in an empty home, as anybody would, until the block ends."""
    up = Up(home, MENHIR_DOCUMENTATION="", **environment)
    try:
        yield up.start()
    finally:
        up.stop()
