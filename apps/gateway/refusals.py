"""Of what kind a refusal is: the client's fault everywhere, or only too much or too delicate for this one model.

| what the upstream says | error | what `dispatch` does |
|---|---|---|
| 408, 409, 503, 529; closed without an answer | `UpstreamBusy` | once more here after a pause, then the next target |
| 429 | `UpstreamLimited` | the same; the last one's is the client's 429 |
| no connection, any other 5xx, no JSON, an error in the answer's place | `UpstreamDown` | the next target |
| 401, 403 | `UpstreamUnauthorized` | the next target |
| 404; 402, or 429 because the account has no money left | `UpstreamUnusable` | the next target |
| (nothing: the adapter knows that this model cannot do it) | `UpstreamUnfit` | the next target |
| silence | `FirstByteTimeout`, `AnswerTimeout` | the next target |
| `context_length_exceeded`, or the same in words; 413 | `ContextTooLong` | the next target: its window may be longer |
| `content_filter`, `content_policy_violation` | `ContentFiltered` | the next target: it may be of another mind |
| any other 400, 415, 422 | `UpstreamRefused` | stop |
| the route's time for everything is over | `TotalTimeout` | stop |
"""

from __future__ import annotations

import re
from http import HTTPStatus

from apps.gateway.errors import ContentFiltered, ContextTooLong, UpstreamError, UpstreamRefused, UpstreamUnfit, UpstreamUnusable

TOO_LONG = frozenset({"context_length_exceeded", "string_above_max_length", "max_tokens_exceeded", "request_too_large"})
FILTERED = frozenset({"content_filter", "content_policy_violation", "responsibleaipolicyviolation", "safety"})
# Anthropic, Gemini, vLLM, Ollama and llama.cpp have no code for it, but each its sentence.
TOO_LONG_IN_WORDS = re.compile(
    r"maximum context length|context (?:length|window|size|limit)|prompt is too long|input token count .{0,40}exceeds|too many tokens",
    re.IGNORECASE,
)


def refused(message: str | None, *, code: str | None, param: str | None = None, status: int | None = None) -> UpstreamRefused:
    """Give the refusal that these words mean.

    >>> type(refused("No.", code="content_filter")).__name__
    'ContentFiltered'
    >>> type(refused("This model's maximum context length is 8192 tokens.", code=None)).__name__
    'ContextTooLong'
    >>> type(refused("Unknown parameter: 'temprature'.", code="unknown_parameter")).__name__
    'UpstreamRefused'
    """
    known = code.lower() if code else ""
    kind = UpstreamRefused
    if known in FILTERED:
        kind = ContentFiltered
    elif known in TOO_LONG or status == HTTPStatus.REQUEST_ENTITY_TOO_LARGE or (message and TOO_LONG_IN_WORDS.search(message)):
        kind = ContextTooLong
    return kind(message, param=param, upstream_status=status, upstream_code=code)


def telling(before: UpstreamError | None, now: UpstreamError) -> UpstreamError:
    """Give which of two targets' failures the client is told: the one that leaves most hope.

    That one model gives a single choice is no answer to who asked for two of another that is down, and may come back.

    >>> from apps.gateway.errors import UpstreamDown
    >>> down, unfit, unpaid = UpstreamDown(), UpstreamUnfit(), UpstreamUnusable()
    >>> telling(down, unfit) is down, telling(unfit, down) is down, telling(down, unpaid) is down, telling(unpaid, unfit) is unpaid
    (True, True, True, True)
    """
    return now if before is None or _hope(now) >= _hope(before) else before


def _hope(error: UpstreamError) -> int:
    return 0 if isinstance(error, UpstreamUnfit) else 1 if isinstance(error, UpstreamUnusable) else 2
