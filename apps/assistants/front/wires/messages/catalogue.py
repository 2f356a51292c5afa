"""`/v1/models` as Anthropic's clients read it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from apps.assistants.errors import MalformedRequest

MOST = 1_000


def page(names: Sequence[tuple[str, datetime]], query: bytes) -> dict[str, Any]:
    """Give the page that the query asks for by `limit`, `after_id` and `before_id`: everything, when it does not.

    >>> from datetime import UTC
    >>> page([("a", datetime(2026, 1, 1, tzinfo=UTC)), ("b", datetime(2026, 1, 1, tzinfo=UTC))], b"limit=1")["has_more"]
    True
    """
    asked = {name: values[-1] for name, values in parse_qs(query.decode("latin-1")).items()}
    limit = asked.get("limit", str(MOST))
    if not limit.isascii() or not limit.isdigit() or len(limit) > len(str(MOST)) or not 1 <= int(limit) <= MOST:
        raise MalformedRequest(f"`limit` is a number from 1 to {MOST}.", param="limit")
    known = [name for name, _ in names]
    first, last = 0, len(known)
    if asked.get("after_id") in known:
        first = known.index(asked["after_id"]) + 1
    elif asked.get("before_id") in known:
        last = known.index(asked["before_id"])
        first = max(0, last - int(limit))
    shown = [described(name, since) for name, since in names[first:last][: int(limit)]]
    return {
        "data": shown,
        "has_more": first > 0 if "before_id" in asked else first + len(shown) < last,
        "first_id": shown[0]["id"] if shown else None,
        "last_id": shown[-1]["id"] if shown else None,
    }


def described(name: str, since: datetime) -> dict[str, Any]:
    """Describe one model."""
    return {"type": "model", "id": name, "display_name": name, "created_at": since.isoformat().replace("+00:00", "Z")}
