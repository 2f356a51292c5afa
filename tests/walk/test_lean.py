"""`web` knows nothing of torch. How soon it is ready and how much it holds is measured in benchmarks/web."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
HEAVY = {"torch", "sentence_transformers", "transformers", "numpy", "onnxruntime", "pandas", "markitdown", "trafilatura", "pypdfium2"}


def test_nothing_heavy_is_imported_by_web():
    code = (
        f"import sys; sys.path[:0] = [{str(ROOT)!r}, {str(ROOT / 'platform')!r}]; import menhir.wiring.asgi, menhir.wiring.urls; "
        f"print(sorted({HEAVY!r} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip().splitlines()[-1] == "[]"
