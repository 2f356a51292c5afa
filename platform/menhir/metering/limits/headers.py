"""What the caller is told of his limits: headers on every answer, and the refusal."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from menhir.errors import LimitReached
from menhir.metering.errors import QuotaExceeded, RateLimitExceeded
from menhir.metering.limits.meters import METRICS, MONEY, PARALLEL, REQUESTS, TOKENS, Amount, Slice

Headers = list[tuple[bytes, bytes]]

PARALLEL_RETRY_SECONDS: Final = 0.5
DAY, HOUR, MINUTE = 86_400, 3_600, 60
NAMES: Final = {
    kind: tuple(f"x-ratelimit-{part}-{METRICS[kind]}".encode() for part in ("limit", "remaining", "reset")) for kind in (REQUESTS, TOKENS)
}
WORDS: Final = {"requests": "requests", "tokens": "tokens", "parallel": "calls at the same time", "money": "USD"}
WHOSE: Final = {"tenant": "this organisation", "key": "this API key", "user": "this user", "route": "this model"}


def duration(seconds: float) -> str:
    """A duration as OpenAI's clients read it.

    >>> duration(360), duration(0.0124), duration(1), duration(86_400 + 61), duration(2.5), duration(-1)
    ('6m0s', '13ms', '1s', '1d0h1m1s', '3s', '0ms')
    """
    return f"{max(0, math.ceil(seconds * 1000))}ms" if seconds < 1 else _seconds(math.ceil(seconds))


@lru_cache(maxsize=4_096)
def _seconds(left: int) -> str:
    said = ""
    for size, letter in ((DAY, "d"), (HOUR, "h"), (MINUTE, "m")):
        if left >= size or said:
            said += f"{left // size}{letter}"
            left %= size
    return f"{said}{left}s"


def of(slices: Sequence[Slice], now: float) -> Headers:
    """Give what is left of requests and tokens, of several limits the one with the least; as far as this process knows."""
    tightest: dict[int, tuple[Amount, Slice]] = {}
    for piece in slices:
        kind = piece.kind
        if kind in NAMES:
            remaining = max(0, piece.room + piece.free) if now < piece.ends else piece.amount
            if kind not in tightest or remaining < tightest[kind][0]:
                tightest[kind] = (remaining, piece)
    headers: Headers = []
    for kind, (remaining, piece) in tightest.items():
        limit, left, reset = NAMES[kind]
        headers += ((limit, b"%d" % piece.amount), (left, b"%d" % remaining), (reset, duration(piece.ends - now).encode()))
    return headers


def refusal(slices: Sequence[Slice], short: Slice, amount: Amount, whose: str, now: float) -> LimitReached:
    """Give the error for a caller who wants so much of a meter that has too little."""
    metric = METRICS[short.kind]
    span = f" a {short.period}" if short.period else ""
    bound = f"{short.amount.normalize() if short.kind == MONEY else short.amount:f} {WORDS[metric]}{span}"  # type: ignore[union-attr]
    headers = of(slices, now)
    error: LimitReached
    if amount > short.amount:
        error = _kind(short)(f"This call may need {amount:f} {WORDS[metric]}, and the limit of {WHOSE[whose]} is {bound}.")
        headers.append((b"x-should-retry", b"false"))
    else:
        wait = PARALLEL_RETRY_SECONDS if short.kind == PARALLEL or short.ends <= now else short.ends - now
        said = "has spent its budget of" if short.kind == MONEY else "has reached its limit of"
        error = _kind(short)(f"{WHOSE[whose].capitalize()} {said} {bound}. Try again in {duration(wait)}.")
        headers += [(b"retry-after", b"%d" % max(1, math.ceil(wait))), (b"retry-after-ms", b"%d" % max(1, math.ceil(wait * 1000)))]
        if short.kind == MONEY:
            headers.append((b"x-should-retry", b"false"))
    error.headers = headers
    return error


def _kind(short: Slice) -> type[LimitReached]:
    return QuotaExceeded if short.kind == MONEY else RateLimitExceeded
