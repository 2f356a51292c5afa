"""structlog without the friends that it loads where they are installed: rich, with pygments, and greenlet; 5 MB in each process.

We ask nothing of either: tracebacks are formatted and freed of secrets before anybody colours them. Whoever needs them still finds them.
"""

from __future__ import annotations

import sys

FRIENDS = [name for name in ("rich", "greenlet") if name not in sys.modules]

for name in FRIENDS:
    sys.modules[name] = None  # type: ignore[assignment]  # import's own way of saying that there is none
try:
    import structlog  # noqa: F401
finally:
    for name in FRIENDS:
        del sys.modules[name]
