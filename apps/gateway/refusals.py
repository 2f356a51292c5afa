"""Of what kind a refusal is: the client's fault everywhere, or only too much or too delicate for this one model.

| what the upstream says | error | what `dispatch` does |
|---|---|---|
| 408, 409, 429, 503, 529; closed without an answer | `UpstreamBusy` | once more here after a pause, then the next target |
| no connection, any other 5xx, 404, no JSON, an error in the answer's place | `UpstreamDown` | the next target |
| 401, 403; 429 because the account has no money left | `UpstreamUnauthorized`, `UpstreamDown` | the next target |
| silence | `FirstByteTimeout`, `AnswerTimeout` | the next target |
| `context_length_exceeded`, or the same in words; 413 | `ContextTooLong` | the next target: its window may be longer |
| `content_filter`, `content_policy_violation` | `ContentFiltered` | the next target: it may be of another mind |
| any other 400, 415, 422 | `UpstreamRefused` | stop |
| the route's time for everything is over | `TotalTimeout` | stop |
"""

from __future__ import annotations

import re
from http import HTTPStatus

from apps.gateway.errors import ContentFiltered, ContextTooLong, UpstreamRefused

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
