"""How each test begins. A plugin, not a part of conftest: doctests outside of this folder begin so, too."""

from __future__ import annotations

import pytest


@pytest.fixture(autouse=True)
def _as_a_request_begins() -> None:
    """A test may have cut every connection to the database, or spoken German: the next one begins afresh, as a request does."""
    from asgiref.sync import SyncToAsync
    from django.db import connection, connections
    from django.utils import translation

    connections.close_all()
    stats = connection.pool.get_stats()
    if stats.get("connections_errors") or stats.get("connections_lost"):
        connection.close_pool()  # one that has met an outage waits before it tries again; a new one does not
    SyncToAsync.single_thread_executor.submit(connections.close_all).result()  # where the ORM of async tests runs
    translation.deactivate()
