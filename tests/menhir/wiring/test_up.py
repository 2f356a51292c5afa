"""`manage.py up`, really: what is killed comes back, what is stopped is gone, what was begun is completed."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import pytest

from stage.servers import ROOT, Up, answers, eventually, free_port

pytestmark = [pytest.mark.slow, pytest.mark.local, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def home(tmp_path_factory) -> Path:
    """One home for all tests of this file: every start after the first is a second one."""
    return tmp_path_factory.mktemp("up") / "home"


@pytest.fixture
def up(home):
    up = Up(home)
    yield up
    if up.process is not None and up.process.poll() is None:
        up.stop()
    for process in up.processes():
        process.kill()


def _models(up: Up) -> list[str]:
    first = json.loads((up.home / "first-tenant.json").read_text())
    request = urllib.request.Request(f"{up.base_url}/v1/models", headers={"Authorization": f"Bearer {first['api_key']}"})
    with urllib.request.urlopen(request, timeout=20) as answer:
        return [model["id"] for model in json.loads(answer.read())["data"]]


def test_a_role_that_dies_comes_back(up):
    up.start()
    for name in ("embedder", "web", "worker"):
        before = up.role(name).pid
        os.kill(before, signal.SIGKILL)
        eventually(lambda name=name, before=before: (now := up.role(name)) and now.pid != before, what=f"{name} coming back")
    eventually(lambda: answers(f"{up.base_url}/readyz"), seconds=60, what="web being ready again")
    before = up.role("postgres").pid
    os.kill(before, signal.SIGKILL)
    eventually(lambda: (now := up.role("postgres")) and now.pid != before, what="the database coming back")
    eventually(lambda: answers(f"{up.base_url}/readyz"), seconds=60, what="web finding the database again")
    assert "assistant:docs" in _models(up)


def test_a_second_one_in_the_same_home_is_refused(up):
    up.start()
    other = Up(up.home)
    other.begin()
    assert other.process.wait(timeout=30) == 1
    said = other.log.read_text().splitlines()[-1]
    assert f"runs in {up.home} already (process {up.process.pid})" in said
    assert answers(f"{up.base_url}/readyz")


def test_nothing_outlives_it_and_the_next_start_finds_everything(home):
    found = []
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL, signal.SIGINT):
        up = Up(home)
        up.start()
        try:
            described = json.loads((home / "first-tenant.json").read_text())
            assert described.pop("base_url") == up.base_url
            found.append((described, _models(up)))
        finally:
            code = up.stop(number)
        assert code == (-signal.SIGKILL if number == signal.SIGKILL else 0), up.log.read_text()
        eventually(lambda up=up: not up.processes(), seconds=45, what="everything ending")
    assert all(one == found[0] for one in found)
    assert "Traceback" not in up.log.read_text()


def test_a_start_right_after_a_kill_waits_for_what_was_left(up):
    up.start()
    up.stop(signal.SIGKILL)
    again = Up(up.home)
    again.port = up.port
    again.environment["PORT"] = str(up.port)
    again.start()
    assert _models(again)
    time.sleep(1)  # a guard of the killed one that stopped the new one's database would do so by now
    assert answers(f"{again.base_url}/readyz")
    assert again.stop() == 0
    eventually(lambda: not again.processes(), what="everything ending")


def test_a_start_that_was_killed_while_the_database_was_made_is_completed(tmp_path):
    up = Up(tmp_path / "home")
    up.begin()
    eventually(lambda: list(up.home.glob("postgres.new-*")), what="the database being made")
    up.stop(signal.SIGKILL)
    again = Up(up.home)
    again.start()
    try:
        assert "assistant:docs" in _models(again)
        assert not list(up.home.glob("postgres.new-*"))
    finally:
        again.stop()


def test_a_signal_before_it_is_ready_stops_it_quietly(tmp_path):
    up = Up(tmp_path / "home")
    up.begin()
    eventually(lambda: "Preparing" in (up.log.read_text() if up.log.exists() else ""), what="the preparation")
    assert up.stop() == 0
    eventually(lambda: not up.processes(), what="everything ending")
    assert "Traceback" not in up.log.read_text()


def test_openai_is_used_from_the_first_start(tmp_path, upstream):
    from openai import OpenAI

    up = Up(tmp_path / "home", OPENAI_API_KEY="sk-of-the-operator", OPENAI_BASE_URL=upstream.base_url)
    made = up.start()
    try:
        client = OpenAI(base_url=f"{made.base_url}/v1", api_key=made.api_key, max_retries=0)
        assert "gpt-4o-mini" in [model.id for model in client.models.list()]
        answer = client.chat.completions.create(
            model="assistant:docs", messages=[{"role": "user", "content": "How do I create an API key?"}]
        )
        assert answer.choices[0].message.content
        assert [body["model"] for body in upstream.stats.bodies] == ["gpt-4o-mini"]
        assert upstream.stats.headers[-1]["authorization"] == "Bearer sk-of-the-operator"
    finally:
        up.stop()


def _refused(**environment: str) -> str:
    """What `up` says that cannot start: one line."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MENHIR_", "DATABASE_URL", "OPENAI_"))}
    done = subprocess.run(
        [sys.executable, str(ROOT / "manage.py"), "up"],
        env={**inherited, "PORT": str(free_port()), **environment},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    said = [line for line in (done.stdout + done.stderr).splitlines() if line not in {"", "Preparing the database …", "Stopping …"}]
    assert len(said) == 1, said
    return said[0]


def test_a_taken_port_is_named(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert f"Port {port} is taken" in _refused(MENHIR_HOME=str(tmp_path), PORT=str(port))


def test_a_setting_that_is_nonsense_is_named(tmp_path):
    assert "PORT must be a whole number" in _refused(MENHIR_HOME=str(tmp_path), PORT="abc")
    said = _refused(MENHIR_HOME=str(tmp_path), DATABASE_URL="postgres//alice:secret@here")
    assert "DATABASE_URL is no connection string" in said
    assert "secret" not in said


def test_a_home_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    assert "MENHIR_HOME cannot be used" in _refused(MENHIR_HOME=str(tmp_path / "file"))
    assert "MENHIR_HOME cannot be used" in _refused(MENHIR_HOME="/proc/nowhere")


def test_a_database_that_is_away_is_named(tmp_path):
    assert "No connection to the database" in _refused(
        MENHIR_HOME=str(tmp_path), DATABASE_URL=f"postgresql://alice:secret@127.0.0.1:{free_port()}/menhir"
    )


def test_a_home_whose_path_is_too_long_for_a_socket_serves_all_the_same(tmp_path):
    up = Up(tmp_path / "/".join(["a-rather-long-name-of-a-folder"] * 5) / "home")
    up.home.parent.mkdir(parents=True)
    up.start()
    assert up.stop() == 0
    eventually(lambda: not up.processes(), what="everything ending")
