r"""Tenants' regular expressions, run in linear time: RE2 never backtracks, so no pattern can hold up the event loop.

It has no look-around and no back-references; `\w`, `\d` and `\b` mean ASCII.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from menhir.errors import Invalid

MEMORY_BYTES = 8 << 20
"""A pattern that needs more to be compiled is refused; one that needs more to run falls back to a slower walk."""


class BadPattern(Invalid):
    """The regular expression is not valid."""

    code = "invalid_pattern"


@lru_cache(maxsize=1024)
def compiled(pattern: str, *, ignore_case: bool = False) -> Any:
    """Compile a pattern; raises BadPattern that says what is wrong, and where.

    >>> compiled("(a+)+$").search("a" * 50_000 + "b") is None
    True
    """
    import re2  # 10 MB: only where there are patterns

    options = re2.Options()
    options.max_mem = MEMORY_BYTES
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern, options)
    except re2.error as e:
        said = e.args[0].decode("utf-8", "replace") if e.args and isinstance(e.args[0], bytes) else str(e)
        where = _position(pattern, said)
        raise BadPattern(f"The pattern is not valid at position {where}: {said}.", param=f"position {where}") from e


def _position(pattern: str, said: str) -> int:
    """Where the error is: Python's parser knows where; RE2 quotes what it stumbled over.

    >>> _position("ab(?=c)", "invalid perl operator: (?=")
    2
    """
    try:
        re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as e:
        position = getattr(e, "pos", None)
        if position is not None:
            return int(position)
    return max(0, pattern.find(said.rpartition(": ")[2]))
