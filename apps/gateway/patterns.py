r"""Regular expressions that tenants write: in RE2, whose time grows with the text alone.

Python's own engine can take hours for thirty characters (`(a+)+$`), and would stop the whole process for everybody. RE2 never
backtracks; so it has no look-around and no back-references, and `\w`, `\d` and `\b` mean ASCII.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from menhir.errors import Invalid

MEMORY_BYTES = 8 << 20
"""A pattern that needs more to be compiled is refused; one that needs more to run falls back to a slower walk."""
BRANCH_MEMORY_BYTES = 1 << 20


class BadPattern(Invalid):
    """The regular expression is not valid."""

    code = "invalid_pattern"


@lru_cache(maxsize=1024)
def compiled(pattern: str, *, ignore_case: bool = False, memory_bytes: int = MEMORY_BYTES) -> Any:
    """Compile a pattern; raises BadPattern that says what is wrong, and where.

    >>> compiled("(a+)+$").search("a" * 50_000 + "b") is None
    True
    >>> compiled("(")
    Traceback (most recent call last):
    apps.gateway.patterns.BadPattern: The pattern is not valid at position 0: missing ): (.
    """
    import re2  # 10 MB: only where there are patterns

    options = re2.Options()
    options.max_mem = memory_bytes
    options.log_errors = False
    options.case_sensitive = not ignore_case
    try:
        return re2.compile(pattern, options)
    except re2.error as e:
        said = e.args[0].decode("utf-8", "replace") if e.args and isinstance(e.args[0], bytes) else str(e)
        where = _position(pattern, said)
        raise BadPattern(f"The pattern is not valid at position {where}: {said}.", param=f"position {where}") from e


def branching(pattern: str) -> Any:
    r"""Compile what a classifier's branch looks for in a question, blind to case; raises BadPattern.

    >>> branching(r"\bsql\b").search("Write me some SQL.") is not None
    True
    """
    return compiled(pattern, ignore_case=True, memory_bytes=BRANCH_MEMORY_BYTES)


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
