"""The database goes away and comes back under a running installation: 503 meanwhile, and everything works afterwards."""

from __future__ import annotations

import re
import signal

import httpx2
import pytest

from menhir.postgres import guard

from stage.servers import Up, answers, eventually

pytestmark = [pytest.mark.slow, pytest.mark.local, pytest.mark.timeout(300)]
QUESTION = {"model": "assistant:docs", "messages": [{"role": "user", "content": "What is in the larder?"}]}


class Caller:
    """A program with a key and a browser with a session."""

    def __init__(self, made) -> None:
        self.api = httpx2.Client(base_url=made.base_url, headers={"authorization": f"Bearer {made.api_key}"}, timeout=30)
        self.page = httpx2.Client(base_url=made.base_url, timeout=30, follow_redirects=True)
        token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', self.page.get("/accounts/login/").text)[1]
        form = {"login": made.email, "password": made.password, "csrfmiddlewaretoken": token}
        assert self.page.post("/accounts/login/", data=form, headers={"referer": made.base_url}).url.path == "/t/first/"

    def statuses(self) -> dict[str, int]:
        """One request of each kind."""
        return {
            "/v1": self.api.post("/v1/chat/completions", json=QUESTION).status_code,
            "/v1/models": self.api.get("/v1/models").status_code,
            "/api": self.api.get("/api/v1/usage").status_code,
            "page": self.page.get("/t/first/").status_code,
        }

    def upload(self, name: str) -> None:
        answer = self.api.put(f"/api/v1/collections/docs/documents/{name}", json={"title": name, "text": f"In the larder is {name}."})
        assert answer.status_code == 202, answer.text

    def status_of(self, name: str) -> str:
        return self.api.get(f"/api/v1/collections/docs/documents/{name}").json()["status"]


def test_an_outage_of_the_database(tmp_path):
    up = Up(tmp_path / "home")
    caller = Caller(up.start())
    try:
        caller.upload("cheese")
        eventually(lambda: caller.status_of("cheese") == "ready", seconds=90, what="the first document being read")
        assert set(caller.statuses().values()) == {200}
        roles = {name: up.role(name).pid for name in ("web", "worker")}

        up.process.send_signal(signal.SIGSTOP)  # it would bring the database back before we have seen what happens without
        guard.stop(up.home / "postgres")
        assert set(caller.statuses().values()) == {503}
        refused = caller.api.post("/v1/chat/completions", json=QUESTION)
        assert refused.json()["error"]["type"] == "service_unavailable"
        assert caller.api.get("/api/v1/usage").json()["status"] == 503
        assert "database is not answering" in caller.page.get("/t/first/").text
        health = caller.api.get("/readyz")
        assert (health.status_code, health.json()["checks"]["database"]) == (503, False)
        assert caller.api.get("/healthz").status_code == 200

        up.process.send_signal(signal.SIGCONT)
        eventually(lambda: answers(f"{up.base_url}/readyz"), seconds=60, what="web finding the database again")
        eventually(lambda: set(caller.statuses().values()) == {200}, seconds=10, what="everything being served again")
        caller.upload("ham")
        eventually(lambda: caller.status_of("ham") == "ready", seconds=90, what="a document being read after the outage")
        assert {name: up.role(name).pid for name in roles} == roles, "they found the database by themselves"
    finally:
        up.process.send_signal(signal.SIGCONT)
        assert up.stop() == 0
