"""The examples in the docstrings of knowledge are run."""

from __future__ import annotations

import doctest
import importlib

import pytest

MODULES = ["api", "bodies", "chunking", "embedding", "inline", "passages", "shapes"]
READERS = ["encodings", "office", "pdf", "plain", "sniffing", "tidying"]


@pytest.mark.parametrize(
    "name", [*(f"apps.knowledge.{name}" for name in MODULES), *(f"apps.knowledge.extraction.{name}" for name in READERS)]
)
def test_examples(name):
    assert doctest.testmod(importlib.import_module(name)).failed == 0
