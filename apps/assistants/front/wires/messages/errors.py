"""Errors as Anthropic's clients expect them: a type of a fixed list, and the request's id beside it."""

from __future__ import annotations

from typing import Any, Final

from apps.gateway.errors import UpstreamBusy, UpstreamLimited
from menhir.errors import MenhirError, status_of

OVERLOADED: Final = 529
TYPES: Final = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    415: "invalid_request_error",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
OTHERS: Final = "api_error"
SAID: Final = {
    "authentication_error": "authentication_error",
    "permission_error": "permission_error",
    "rate_limit_error": "rate_limit_error",
    "overloaded_error": "overloaded_error",
    "invalid_request_error": "invalid_request_error",
}
"""Types that mean the same in a chat stream's error."""


def status(error: MenhirError) -> int:
    """Give the status: Anthropic has one of its own for an upstream that is busy.

    >>> status(UpstreamBusy()), status(UpstreamLimited())
    (529, 429)
    """
    return OVERLOADED if isinstance(error, UpstreamBusy) and not isinstance(error, UpstreamLimited) else status_of(error)


def body(error: MenhirError, request_id: str) -> dict[str, Any]:
    """Give the envelope; `code` and `param` are ours, and tell an upstream's error from one of Menhir's."""
    kind = TYPES.get(status(error), OTHERS)
    return envelope(kind, error.message, code=error.code, param=error.param, request_id=request_id)


def broken(said: dict[str, Any], request_id: str) -> dict[str, Any]:
    """Give the same for the error that a chat stream ended with.

    >>> broken({"message": "fell over", "type": "upstream_error", "code": "upstream_cut"}, "req_1")["error"]["type"]
    'api_error'
    """
    kind = SAID.get(str(said.get("type")), OTHERS)
    if said.get("code") == UpstreamBusy.code:
        kind = TYPES[OVERLOADED]
    return envelope(
        kind, str(said.get("message") or "The stream broke."), code=said.get("code"), param=said.get("param"), request_id=request_id
    )


def envelope(kind: str, message: str, *, code: object, param: object, request_id: str) -> dict[str, Any]:
    """Give an error in its envelope; what it does not say is left out."""
    error = {"type": kind, "message": message, "code": code, "param": param}
    return {"type": "error", "error": {name: value for name, value in error.items() if value is not None}, "request_id": request_id}
