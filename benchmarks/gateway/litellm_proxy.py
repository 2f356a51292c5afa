"""LiteLLM's proxy as its documentation says to run it in production: one worker, no database, a virtual environment of its own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from machine import free_port, pinned

VERSION = "1.109.*"
MASTER_KEY = "sk-benchmark-0123456789abcdef0123456789abcdef"
CONFIG = """
model_list:
  - model_name: gpt-4o-mini
    litellm_params:
      model: openai/gpt-4o-mini
      api_base: {upstream}/v1
      api_key: sk-benchmark
general_settings:
  master_key: {key}
litellm_settings:
  num_retries: 0
"""
# Three of its own requirements are bounded to the day they were published, which an index may not have yet; none is part of a relay.
REQUIREMENTS = """
from importlib.metadata import requires
from pip._vendor.packaging.requirements import Requirement
for line in requires("litellm"):
    wanted = Requirement(line)
    if wanted.marker is None or wanted.marker.evaluate({"extra": "proxy"}):
        free = wanted.name in {"certifi", "litellm-proxy-extras", "litellm-enterprise"}
        print(wanted.name + (f"[{','.join(wanted.extras)}]" if wanted.extras else "") + ("" if free else str(wanted.specifier)))
"""


def installed(folder: Path) -> Path:
    """The `litellm` command, installed into `folder` when it is not there yet: some hundred megabytes, once."""
    python, command = folder / "bin" / "python", folder / "bin" / "litellm"
    if (folder / "ready").exists():
        return command
    print("Installing LiteLLM into an environment of its own …", flush=True)
    subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "--no-deps", f"litellm=={VERSION}"], check=True)
    wanted = subprocess.run([str(python), "-c", REQUIREMENTS], check=True, capture_output=True, text=True).stdout
    (folder / "requirements.txt").write_text(wanted)
    subprocess.run([*pip, "-r", str(folder / "requirements.txt")], check=True)
    (folder / "ready").touch()
    return command


@contextlib.contextmanager
def running(command: Path, folder: Path, *, upstream: str, core: int) -> Iterator[tuple[str, int]]:
    """Serve; gives the base URL and the process id."""
    config = folder / "litellm.yaml"
    config.write_text(CONFIG.format(upstream=upstream, key=MASTER_KEY))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    serve = [str(command), "--config", str(config), "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    ready = f"{url}/health/liveliness"
    with pinned(serve, core=core, environment=environment, ready_url=ready, log=folder / "litellm.log") as process:
        yield url, process.pid
