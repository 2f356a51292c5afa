"""What a caller is told who may not have more.

* LimitReached
  x RateLimitExceeded ..... later: when the window turns over, or another call has ended
  x QuotaExceeded ......... the budget is spent: trying again soon will not help
"""

from __future__ import annotations

from menhir.errors import LimitReached


class RateLimitExceeded(LimitReached):
    """The rate limit is reached."""

    code = "rate_limit_exceeded"


class QuotaExceeded(LimitReached):
    """The budget is spent."""

    code = "insufficient_quota"
