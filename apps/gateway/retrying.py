"""When the same target is asked once more, and after how long: exponential backoff with jitter, and the upstream's own word.

A client that is itself on its second try has its own backoff: then every target is asked once, so that its retries and ours
do not multiply.
"""

from __future__ import annotations

FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 2.0
"""An upstream that asks for more patience than this is passed over in favour of the next target."""


def pause_seconds(*, tried: int, retry_after_seconds: float | None, chance: float) -> float | None:
    """Give how long to wait before a target that was busy is asked again; None when it is not worth the wait.

    `tried` counts the tries so far; `chance` (0 to 1) spreads callers who were refused together.

    >>> [pause_seconds(tried=n, retry_after_seconds=None, chance=1.0) for n in (1, 2, 3, 4, 5)]
    [0.25, 0.5, 1.0, 2.0, 2.0]
    >>> pause_seconds(tried=2, retry_after_seconds=None, chance=0.0)  # from the half up
    0.25
    >>> pause_seconds(tried=1, retry_after_seconds=1.0, chance=0.0)  # never before it said
    1.0
    >>> pause_seconds(tried=1, retry_after_seconds=30.0, chance=0.5) is None
    True
    """
    if retry_after_seconds is not None:
        if retry_after_seconds > LONGEST_PAUSE_SECONDS:
            return None
        return retry_after_seconds * (1.0 + chance / 4)
    backoff: float = min(FIRST_PAUSE_SECONDS * 2 ** (tried - 1), LONGEST_PAUSE_SECONDS)
    return backoff * (0.5 + chance / 2)
