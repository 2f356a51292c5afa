"""What is looked up for strangers costs neither memory without end nor the entries of others."""

from __future__ import annotations

from uuid import uuid4

import pytest

from menhir.postgres.hot import MOST_ABSENCES, HotCache


async def absent() -> str | None:
    return None


async def test_absences_are_bounded_and_push_out_nothing_that_is_there() -> None:
    cache: HotCache[str] = HotCache("test")

    async def present() -> str | None:
        return "here"

    assert await cache.get(None, "mine", present) == "here"
    asked = range(MOST_ABSENCES + 1_000)
    for number in asked:
        assert await cache.get(None, number, absent) is None
    remembered = [number for number in asked if cache.known(None, number) is not None]
    assert remembered == list(asked)[-MOST_ABSENCES:]
    assert cache.known(None, "mine")[1] == "here"


@pytest.mark.parametrize("eviction", ["evict", "clear"])
async def test_what_was_absent_and_is_there_now_is_kept(eviction: str) -> None:
    cache: HotCache[str] = HotCache("test")

    async def present() -> str | None:
        return "here"

    assert await cache.get(None, "soon", absent) is None
    cache.evict(uuid4()) if eviction == "evict" else cache.clear()
    assert await cache.get(None, "soon", present) == "here"
    for number in range(MOST_ABSENCES + 1):
        await cache.get(None, number, absent)
    assert cache.known(None, "soon")[1] == "here"
