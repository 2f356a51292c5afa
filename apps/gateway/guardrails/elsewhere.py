"""Threads of their own for long texts: few, so that whoever sends many such texts waits for himself, and the other calls go on."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import ParamSpec, TypeVar

MOST_INLINE_CHARACTERS = 2_048
"""More text than this is not searched on the event loop."""
THREADS = 2

_threads = ThreadPoolExecutor(THREADS, thread_name_prefix="guardrails")
Asked = ParamSpec("Asked")
Given = TypeVar("Given")


async def elsewhere(work: Callable[Asked, Given], *args: Asked.args, **kwargs: Asked.kwargs) -> Given:
    """Do it in one of the threads. What has not begun when its caller is cancelled never begins."""
    return await asyncio.get_running_loop().run_in_executor(_threads, partial(work, *args, **kwargs))
