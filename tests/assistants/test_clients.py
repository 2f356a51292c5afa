"""Clients that live elsewhere: the `openai` package of npm, and the litellm library, which wants an older openai than ours."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from assistants.conftest import Company

from peers.script import TEXT

HERE = Path(__file__).parent
LITELLM = ("litellm==1.106.2", "mcp==2.3.0")  # what it imports for tools without asking for it
CALLED = {"city": "Carnac 0", "deep": {"a": [0]}}

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the `openai` package, as its lock says."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("there is no Node.js with npm on this machine")
    folder = tmp_path_factory.mktemp("node")
    for name in ("package.json", "package-lock.json", "ask.mjs"):
        shutil.copy(HERE / "node" / name, folder)
    subprocess.run(["npm", "ci", "--no-audit", "--no-fund"], cwd=folder, check=True, capture_output=True)
    return folder


@pytest.fixture(scope="module")
def litellm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Python that has litellm."""
    folder = tmp_path_factory.mktemp("litellm")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, capture_output=True)
    python = folder / "bin" / "python"
    subprocess.run([str(python), "-m", "pip", "install", "--quiet", *LITELLM], check=True, capture_output=True)
    return python


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
