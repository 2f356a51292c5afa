"""Tenants' regular expressions: within bounds, and refused with a word about where they go wrong."""

from __future__ import annotations

import time

import pytest

from apps.gateway.patterns import BadPattern, branching, compiled


def test_no_pattern_takes_longer_than_the_text_is_long():
    began = time.perf_counter()
    assert compiled(r"(a|a)*(a|a)*(a|a)*$x").search("a" * 100_000) is None
    assert compiled(r"(.*)*(.*)*z").search("a" * 100_000) is None
    assert time.perf_counter() - began < 2


@pytest.mark.parametrize(
    ("pattern", "position"), [("ab(c", 2), ("a[b", 1), ("ab(?=c)", 2), (r"(a)\1", 3), ("*a", 0), ("((a{900}){900}){900}", 3), ("ok)", 2)]
)
def test_a_bad_pattern_is_refused_with_its_position(pattern, position):
    with pytest.raises(BadPattern, match=f"position {position}"):
        compiled(pattern)


def test_a_branch_has_less_memory_than_a_guardrail():
    large = r"\pL{100}"
    assert compiled(large).search("b") is None
    with pytest.raises(BadPattern, match="too large"):
        branching(large)
