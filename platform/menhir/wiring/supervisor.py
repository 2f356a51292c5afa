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
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path
from types import FrameType

from django.conf import settings

from menhir.postgres import embedded, guard, roles
from menhir.wiring.children import Child, Pause
from menhir.wiring.environment import ROOT
from menhir.wiring.occupancy import LOCK, Occupied, occupy
from menhir.wiring.parting import patience_seconds

PATIENCE_SECONDS = 60.0
TICK_SECONDS = 0.2
DATABASE_GONE_SECONDS = 3.0
# Whatever proxy this machine is told to use, it is not on the way to ourselves.
DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class CannotStart(Exception):
    """Something on this machine is in the way; the message says what."""


class Stopped(Exception):
    """A signal came before everything was started."""


def up() -> int:
    """Run everything until a signal says stop; the exit code. Raises CannotStart where this machine does not allow it."""
    home = settings.MENHIR_HOME
    stop = _stop_on_signals()
    try:
        (home / "logs").mkdir(parents=True, exist_ok=True)
        held = occupy(home)
    except (Occupied, OSError) as e:
        raise CannotStart(str(e)) from e
    _port_must_be_free(settings.PORT)
    lifeline, ours = os.pipe()  # `ours` is closed with this process, however it ends
    database = Database(home, lifeline=lifeline) if not os.environ.get("DATABASE_URL") else None
    children: list[Child] = []
    try:
        owner = database.start() if database else os.environ["DATABASE_URL"]
        if not _prepared(owner, stop, lifeline=lifeline, held=held):
            return 1
        children += _children(owner, home / "logs", lifeline=lifeline, held=held)
        _run(children, database, stop)
    except embedded.Failed as e:
        raise CannotStart(str(e)) from e
    except Stopped:
        pass
    finally:
        _end(children, stop)
        if database:
            database.stop()
        os.close(ours)
    return 0


class Database:
    """The embedded server, and the guard that stops it should we be killed."""

    def __init__(self, home: Path, *, lifeline: int) -> None:
        self._folder = home / "postgres"
        command = [sys.executable, "-m", "menhir.postgres.guard", str(self._folder), str(home / LOCK)]
        environment = {**os.environ, "PYTHONPATH": str(ROOT / "platform")}
        self._guard = Child("guard", command, environment, home / "logs" / "guard.log", stdin=lifeline)
        self._pause = Pause()
        self._began = self._seen = self._due = 0.0

    def start(self) -> str:
        """Start it, and its guard; the owner's connection string."""
        self._guard.start()
        owner = embedded.start(self._folder, secret=settings.SECRET_KEY)
        self._began = self._seen = time.monotonic()
        return owner

    def tend(self) -> None:
        """Bring it back when it has died; somebody who restarts it himself is left a moment for that."""
        self._guard.tend(say)
        now = time.monotonic()
        if guard.running(self._folder) is not None:
            self._seen = now
        elif now - self._seen > DATABASE_GONE_SECONDS and now >= self._due:
            pause = self._pause.next(lived_seconds=self._seen - self._began)
            say(f"The database has died; it is started again (see {self._folder / 'log'})")
            try:
                embedded.start(self._folder, secret=settings.SECRET_KEY)
            except embedded.Failed as e:
                say(f"{e} The next try is in {pause:g} s.")
            self._began = self._seen = time.monotonic()
            self._due = self._began + pause

    def stop(self) -> None:
        """Stop it; its guard then has nothing to do."""
        self._guard.kill()
        try:
            guard.stop(self._folder)
        except TimeoutError as e:
            say(str(e))


def _run(children: list[Child], database: Database | None, stop: list[int]) -> None:
    """Start them, say when they are ready, and tend them until a signal says stop."""
    for child in children:
        child.start()
    greeted, impatient_at = False, time.monotonic() + PATIENCE_SECONDS
    while not stop:
        if not greeted and _ready():
            greeted = True
            _greet(settings.MENHIR_HOME / "first-tenant.json")
        elif not greeted and time.monotonic() > impatient_at:
            impatient_at = float("inf")
            say(f"web is not ready after {PATIENCE_SECONDS:g} s; it is given more time. The logs: {settings.MENHIR_HOME / 'logs'}")
        if database:
            database.tend()
        for child in children:
            child.tend(say)
        time.sleep(TICK_SECONDS)


def _children(owner: str, logs: Path, *, lifeline: int, held: int) -> list[Child]:
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
    return [
        Child(role, _manage(role), environment, logs / f"{role}.log", stdin=lifeline, held=[held]) for role in ("embedder", "web", "worker")
    ]


def _prepared(owner: str, stop: list[int], *, lifeline: int, held: int) -> bool:
    """Migrate and make the first tenant, in a process of its own: this one read its settings before there was a database.

    False when that failed; what went wrong has then been said. Raises Stopped on a signal.
    """
    say("Preparing the database …")
    environment: Mapping[str, str] = {**os.environ, "DATABASE_URL": owner, "MENHIR_LIFELINE": "1"}
    process = subprocess.Popen(_manage("prepare"), cwd=ROOT, env=environment, stdin=lifeline, pass_fds=[held], start_new_session=True)
    while process.poll() is None:
        if stop:
            process.terminate()
            process.wait()
            raise Stopped
        with suppress(subprocess.TimeoutExpired):
            process.wait(TICK_SECONDS)
    return process.returncode == 0


def _manage(command: str) -> list[str]:
    return [sys.executable, str(ROOT / "manage.py"), command]


def _ready() -> bool:
    try:
        with DIRECT.open(f"http://127.0.0.1:{settings.PORT}/readyz", timeout=2) as answer:
            return bool(answer.status == HTTPStatus.OK)
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


def _end(children: list[Child], stop: list[int]) -> None:
    """Ask all to finish and wait for them; a second signal, or too long a wait, ends them at once."""
    if children:
        say("Stopping …")
    for child in reversed(children):
        child.end()
    until, signals = time.monotonic() + patience_seconds(), len(stop)
    while any(child.running for child in children) and time.monotonic() < until and len(stop) == signals:
        time.sleep(TICK_SECONDS)
    for child in children:
        child.kill()


def _stop_on_signals() -> list[int]:
    """A list that signals fill."""
    stop: list[int] = []

    def hear(number: int, frame: FrameType | None) -> None:
        stop.append(number)

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, hear)
    return stop


def _port_must_be_free(port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError as e:
            raise CannotStart(f"This user may not listen on port {port}. Choose another: PORT=8001 make up") from e
        except OSError as e:
            raise CannotStart(f"Port {port} is taken. Stop what listens there, or choose another: PORT=8001 make up") from e


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def say(line: str) -> None:
    """Tell the person at the terminal, who may have closed it."""
    with suppress(OSError):
        sys.stdout.write(f"{line}\n")
        sys.stdout.flush()
