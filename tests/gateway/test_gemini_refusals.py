"""What a refusal of Gemini's means."""

from __future__ import annotations

import orjson
import pytest

from apps.gateway.errors import (
    ContextTooLong,
    UpstreamBusy,
    UpstreamDown,
    UpstreamError,
    UpstreamLimited,
    UpstreamRefused,
    UpstreamUnauthorized,
    UpstreamUnusable,
)
from apps.gateway.upstreams.gemini.errors import error_of


def refusal(code, word, message, *details):
    return orjson.dumps({"error": {"code": code, "status": word, "message": message, "details": list(details)}})


KEY = {"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID"}
WAIT = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "34.07s"}
TOO_LONG = "The input token count (1200000) exceeds the maximum number of tokens allowed (1048576)."


@pytest.mark.parametrize(
    ("status", "body", "error", "code"),
    [
        (400, refusal(400, "INVALID_ARGUMENT", "Unknown name"), UpstreamRefused, "INVALID_ARGUMENT"),
        (400, refusal(400, "INVALID_ARGUMENT", TOO_LONG), ContextTooLong, "context_length_exceeded"),
        (400, refusal(400, "INVALID_ARGUMENT", "API key not valid: sk-secret", KEY), UpstreamUnauthorized, None),
        (400, refusal(400, "FAILED_PRECONDITION", "User location is not supported"), UpstreamUnusable, "FAILED_PRECONDITION"),
        (403, refusal(403, "PERMISSION_DENIED", "no"), UpstreamUnauthorized, None),
        (404, refusal(404, "NOT_FOUND", "models/x is not found"), UpstreamUnusable, "NOT_FOUND"),
        (429, refusal(429, "RESOURCE_EXHAUSTED", "quota", WAIT), UpstreamLimited, "RESOURCE_EXHAUSTED"),
        (500, refusal(500, "INTERNAL", "oh"), UpstreamDown, "INTERNAL"),
        (503, b"[" + refusal(503, "UNAVAILABLE", "overloaded", WAIT) + b"]", UpstreamBusy, "UNAVAILABLE"),
        (504, refusal(504, "DEADLINE_EXCEEDED", "oh"), UpstreamDown, "DEADLINE_EXCEEDED"),
    ],
)
def test_what_a_refusal_means(status, body, error, code):
    raised = error_of(status, {}, body, provider="google")
    assert type(raised) is error
    assert raised.upstream_code == code
    assert raised.upstream_status == status
    assert "sk-secret" not in raised.message
    assert raised.retry_after_seconds == (34.07 if issubclass(error, UpstreamBusy) else None)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"[5]", b'{"error": "text"}', b'{"error": {"details": 7, "status": []}}'])
def test_a_refusal_in_another_shape_is_one_all_the_same(body):
    assert isinstance(error_of(503, {}, body, provider="google"), UpstreamError)
