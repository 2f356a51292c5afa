"""What `web` does not load. How soon it is ready and how much it holds is measured in benchmarks/web."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "sentence_transformers", "transformers", "numpy", "onnxruntime", "pandas", "markitdown", "trafilatura", "pypdfium2"}
WHEN_ASKED_FOR = {"ninja", "menhir.wiring.urls", "markdown_it", "nh3", "rich", "greenlet", "openai", "migrations.tenancy.0001_initial"}


@pytest.mark.parametrize(("modules", "never"), [("menhir.wiring.asgi", HEAVY | WHEN_ASKED_FOR), ("menhir.wiring.urls", HEAVY)])
def test_what_a_relay_does_not_need_is_not_loaded(modules: str, never: set[str]) -> None:
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'platform')!r}]; import menhir.wiring.asgi, {modules}; "
        f"print(sorted({never!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
