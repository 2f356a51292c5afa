"""`up`: one process that starts the others and brings back the one that dies. Production needs its own supervisor, not this."""

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
from collections.abc import Mapping
from pathlib import Path
from types import FrameType

from django.conf import settings

from menhir.postgres import embedded, roles
from menhir.wiring.environment import ROOT

READY_SECONDS = 60.0
GRACE_SECONDS = 25.0
TICK_SECONDS = 0.2
FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.5, 15.0
STEADY_SECONDS = 30.0


class CannotStart(Exception):
    """Something on this machine is in the way; the message says what."""


class Child:
    """One role, in a process of its own, with its log."""

    def __init__(self, role: str, *arguments: str, environment: Mapping[str, str], logs: Path) -> None:
        self.role = role
        self.command = [sys.executable, str(ROOT / "manage.py"), role, *arguments]
        self.environment = environment
        self.log = logs / f"{role}.log"
        self.pause = FIRST_PAUSE_SECONDS
        self.due = 0.0
        self.began = 0.0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is ours to pass on."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, cwd=ROOT, env=dict(self.environment), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        self.began = time.monotonic()

    def tend(self) -> None:
        """Bring it back when it has died, a little later each time it dies young."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is not None:
            if now - self.began > STEADY_SECONDS:
                self.pause = FIRST_PAUSE_SECONDS
            say(f"{self.role} ended with {self.process.returncode}; it is started again in {self.pause:g} s (see {self.log})")
            self.process, self.due = None, now + self.pause
            self.pause = min(self.pause * 2, LONGEST_PAUSE_SECONDS)
        if self.process is None and now >= self.due:
            self.start()

    def end(self, *, kill: bool = False) -> None:
        """Ask it to finish, or do not ask."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL if kill else signal.SIGTERM)

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.process is not None and self.process.poll() is None


def up() -> int:
    """Run everything until a signal says stop. Raises CannotStart where this machine does not allow it."""
    home = settings.MENHIR_HOME
    logs = home / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    _port_must_be_free(settings.PORT)
    stop = _stop_on_signals()
    owner = os.environ.get("DATABASE_URL") or embedded.start(home / "postgres", secret=settings.SECRET_KEY)
    say("The database runs. Preparing it …")
    _prepare(owner)
    children = _children(owner, logs)
    for child in children:
        child.start()
    try:
        if _wait_until_ready(children, stop):
            _greet(home / "first-tenant.json")
        while not stop:
            for child in children:
                child.tend()
            time.sleep(TICK_SECONDS)
    finally:
        _end(children)
    return 0


def _children(owner: str, logs: Path) -> list[Child]:
    """The roles; they are told the two running roles of the database, never its owner."""
    derived = roles.derive(owner, secret=settings.SECRET_KEY)
    environment = {name: value for name, value in os.environ.items() if name != "DATABASE_URL"}
    environment |= {
        "MENHIR_HOME": str(settings.MENHIR_HOME),
        "PORT": str(settings.PORT),
        "MENHIR_APP_DATABASE_URL": derived["app"],
        "MENHIR_GATEWAY_DATABASE_URL": derived["gateway"],
    }
    environment.setdefault("MENHIR_EMBEDDER_URL", f"http://127.0.0.1:{_free_port()}")
    return [Child(role, environment=environment, logs=logs) for role in ("embedder", "web", "worker")]


def _prepare(owner: str) -> None:
    """In a process of its own: this one read its settings before there was a database."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "prepare"], cwd=ROOT, env={**os.environ, "DATABASE_URL": owner}, check=False
    )
    if done.returncode != 0:
        raise CannotStart("The database could not be prepared; what went wrong stands above. Nothing was started.")


def _wait_until_ready(children: list[Child], stop: list[int]) -> bool:
    until = time.monotonic() + READY_SECONDS
    while not stop and time.monotonic() < until:
        for child in children:
            child.tend()
        if _ready():
            return True
        time.sleep(TICK_SECONDS)
    if not stop:
        say(f"web is not ready after {READY_SECONDS:g} s; it is given more time. Its log: {children[1].log}")
    return False


def _ready() -> bool:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{settings.PORT}/readyz", timeout=2) as answer:
            return bool(answer.status == 200)  # noqa: PLR2004
    except (urllib.error.URLError, OSError):
        return False


def _greet(path: Path) -> None:
    try:
        first = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        say(f"Menhir is up: {settings.MENHIR_PUBLIC_URL}   (Ctrl-C stops it)")
        return
    say("")
    say("Menhir is up. Ctrl-C stops it.")
    for label, name in (("URL", "base_url"), ("E-mail", "email"), ("Password", "password"), ("API key", "api_key")):
        say(f"  {label:9} {first[name]}")
    say(f"  (kept in {path})")


def _end(children: list[Child]) -> None:
    say("Stopping …")
    for child in reversed(children):
        child.end()
    until = time.monotonic() + GRACE_SECONDS
    while any(child.running for child in children) and time.monotonic() < until:
        time.sleep(TICK_SECONDS)
    for child in children:
        child.end(kill=True)


def _stop_on_signals() -> list[int]:
    """A list that a signal fills."""
    stop: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        stop.append(number)

    signal.signal(signal.SIGINT, hear)
    signal.signal(signal.SIGTERM, hear)
    return stop


def _port_must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as e:
            raise CannotStart(f"Port {port} is taken. Stop what listens there, or choose another: PORT=8001 make up") from e


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(line: str) -> None:
    """Tell the person at the terminal."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
