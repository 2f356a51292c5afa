"""Regular expressions that tenants write: in RE2, whose time grows with the text alone.

Python's own engine can take hours for thirty characters (`(a+)+$`), and would stop the whole process for everybody.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import re2

from menhir.errors import Invalid

if TYPE_CHECKING:
    from apps.gateway.call import Pattern

MOST_MEMORY_BYTES = 1 << 20


@lru_cache(maxsize=1024)
def compiled(pattern: str) -> Pattern:
    r"""Compile a pattern, blind to case; raises Invalid with what is wrong with it.

    >>> compiled(r"\bsql\b").search("Write me some SQL.") is not None
    True
    >>> compiled("(")
    Traceback (most recent call last):
    menhir.errors.Invalid: This is no regular expression: missing ): (
    """
    options = re2.Options()
    options.case_sensitive = False
    options.max_mem = MOST_MEMORY_BYTES
    options.log_errors = False
    try:
        found: Pattern = re2.compile(pattern, options)
    except re2.error as e:
        said = e.args[0]
        raise Invalid(f"This is no regular expression: {said.decode(errors='replace') if isinstance(said, bytes) else said}") from e
    return found
