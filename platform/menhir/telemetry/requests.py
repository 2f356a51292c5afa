"""The id of the request that is being served: in each log line, in each answer's `x-request-id`."""

from __future__ import annotations

import re
from contextvars import ContextVar

from uuid_utils import uuid7

PREFIX = "req_"
ACCEPTABLE = re.compile(r"[A-Za-z0-9_.:\-]{8,128}")

request_id: ContextVar[str | None] = ContextVar("request_id", default=None)


def new_request_id() -> str:
    """A new id, ordered by time."""
    return PREFIX + uuid7().hex


def accept(offered: str | None) -> str:
    r"""The id a caller or a proxy offers, when it is one that may stand in a log line and a header; else a new one.

    >>> accept("3f2b8a7c-trace")
    '3f2b8a7c-trace'
    >>> accept("x\r\nset-cookie: a=b").startswith("req_")
    True
    """
    return offered if offered is not None and ACCEPTABLE.fullmatch(offered) else new_request_id()
