"""The channels that are rung. Sharded, so that a process wakes only for runs and groups near those it cares about."""

from __future__ import annotations

from uuid import UUID
from zlib import crc32

SHARDS = 16
STOP = "menhir_journal_stop"


def of_run(run_id: UUID) -> str:
    """The channel of a run's news; `menhir.journal_bell` in the migration computes the same.

    >>> of_run(UUID("00000000-0000-0000-0000-00000000001f"))
    'menhir_journal_15'
    """
    return f"menhir_journal_{run_id.bytes[-1] % SHARDS}"


def of_group(group: str) -> str:
    """The channel of a group's messages.

    >>> of_group("conversation")
    'menhir_layer_9'
    """
    return f"menhir_layer_{crc32(group.encode()) % SHARDS}"


def of_process(process: str) -> str:
    """The channel of messages to one process's own channels."""
    return f"menhir_layer_{process}"


WORK = "menhir_layer_work"
"""The channel of messages that any one process may take."""
