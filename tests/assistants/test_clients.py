"""Clients that live elsewhere: the `openai` package of npm, and the litellm library, which wants an older openai than ours."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
from assistants.conftest import Company

from peers.script import TEXT
from stage import clients

HERE = Path(__file__).parent
CALLED = {"city": "Carnac 0", "deep": {"a": [0]}}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def node() -> Path:
    """A folder with the `openai` package, as its lock says."""
    return clients.node() or pytest.skip("there is no Node.js with npm on this machine")


@pytest.fixture(scope="module")
def litellm() -> Path:
    """A Python that has litellm."""
    return clients.litellm()


@pytest.fixture
def stage(acmes: Company) -> Company:
    """Models that answer, call, break off, and are busy."""
    acmes.model("calling", "calls=1")
    acmes.model("cut", "chunks=10&cut=3")
    acmes.model("busy", "busy=3&retry_after=0")
    return acmes


def told(command: list[str], **environment: str) -> dict[str, Any]:
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, env={**os.environ, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


def test_the_npm_package(stage: Company, node: Path):
    said = told(["node", str(node / "ask.mjs"), f"{stage.server.base_url}/v1", stage.person.key("inference")])
    assert said["whole"].strip() == said["stream"].strip() == said["completion"].strip() == said["response"].strip() == TEXT
    assert said["requestId"].startswith("req_")
    assert said["usage"]["completion_tokens"] > 0
    assert [json.loads(call["function"]["arguments"]) for call in said["calls"]] == [CALLED]
    assert len(said["embedding"]) == 4
    assert said["flagged"] is True
    assert "calling" in said["models"]
    assert said["unknown"] == {"kind": "NotFoundError", "status": 404, "type": "invalid_request_error"}
    assert said["stranger"] == {"kind": "AuthenticationError", "status": 401, "type": "authentication_error"}
    assert said["cut"]["type"] == "upstream_error"
    assert said["retried"] == "stop"


def test_litellm(stage: Company, litellm: Path):
    """In both wires that it speaks: OpenAI's and Anthropic's."""
    command = [str(litellm), str(HERE / "litellm_asks.py"), stage.server.base_url, stage.person.key("inference")]
    said = told(command, LITELLM_LOCAL_MODEL_COST_MAP="True")
    for wire in ("openai", "anthropic"):
        assert said[wire]["whole"].strip() == said[wire]["stream"].strip() == TEXT
        assert said[wire]["tokens"] > 0
        assert said[wire]["calls"] == said[wire]["told"] == [CALLED]
    assert said["async"].strip() == TEXT
    assert said["embedding"] == 2
    assert (said["unknown"], said["unknown message"], said["stranger"]) == ("NotFoundError", "NotFoundError", "AuthenticationError")
    assert said["retried"] == "stop"
