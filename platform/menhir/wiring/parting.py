"""How long a process takes to go, said once for itself and for all who wait for it.

From the signal on: it drains, it lets end what is under way, and it leaves. Leaving is cut so that whatever hangs, the ledger has its time
to write: what makes calls comes first and is broken off if need be, then the ledger, then the rest.
"""

from __future__ import annotations

from typing import Final

from django.conf import settings

PARTS_SECONDS: Final = 5.0
"""For all together that make calls or write beside the ledger."""
LEAST_SECONDS: Final = 0.25
"""For a part whose turn comes too late."""
LEDGER_SECONDS: Final = 12.0
"""What the ledger takes at most, while the database is away."""
REST_SECONDS: Final = 2.0
LEAVE_SECONDS: Final = 20.0
WORKER_GRACE_SECONDS: Final = 20.0
MARGIN_SECONDS: Final = 3.0
"""For a machine that has much to do."""


def web_seconds() -> float:
    """How long `web` takes at most from the signal on."""
    return float(settings.MENHIR_DRAIN_SECONDS + settings.MENHIR_GRACE_SECONDS) + LEAVE_SECONDS


def worker_seconds() -> float:
    """How long `worker` takes at most from the signal on."""
    return WORKER_GRACE_SECONDS + LEAVE_SECONDS


def patience_seconds() -> float:
    """How long `up` waits for its roles before it ends them."""
    return max(web_seconds(), worker_seconds()) + MARGIN_SECONDS
