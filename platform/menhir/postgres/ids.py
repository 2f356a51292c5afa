"""Identifiers: UUIDv7 (RFC 9562 §5.7), made by the application so that Citus never has to."""

from __future__ import annotations

from uuid import UUID

from uuid_utils.compat import uuid7 as _uuid7


def uuid7() -> UUID:
    """A new time-ordered UUID."""
    return _uuid7()
