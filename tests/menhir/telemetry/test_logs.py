"""Log lines: one JSON object each, with the request's id, and without secrets."""

from __future__ import annotations

import io
import json
import logging

import pytest
import structlog

from menhir.telemetry import logs
from menhir.telemetry.requests import accept, request_id


@pytest.fixture
def lines():
    """What the process says, as parsed JSON; the configuration before is restored."""
    root = logging.getLogger()
    before, level, structlog_before = root.handlers, root.level, structlog.get_config()
    stream = io.StringIO()
    logs.configure(stream=stream)
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    root.handlers, root.level = before, level
    structlog.configure(**structlog_before)


def test_an_event_is_one_json_line_with_the_request_it_belongs_to(lines):
    token = request_id.set("req_1")
    structlog.get_logger("menhir.test").info("ledger.swept", calls=3)
    request_id.reset(token)
    logging.getLogger("django.request").warning("Not Found: %s", "/x")
    first, second = lines()
    assert (first["event"], first["calls"], first["request_id"], first["level"]) == ("ledger.swept", 3, "req_1", "info")
    assert (second["event"], second["logger"]) == ("Not Found: /x", "django.request")
    assert "request_id" not in second


def test_an_exception_keeps_its_frames_and_loses_its_locals(lines):
    password = "correct horse battery"  # noqa: F841
    try:
        raise RuntimeError("upstream said no to sk-abcdefghijklmnop1234")
    except RuntimeError:
        structlog.get_logger("menhir.test").exception("relay.failed")
    (line,) = lines()
    assert line["exception"][0]["frames"][-1]["name"] == "test_an_exception_keeps_its_frames_and_loses_its_locals"
    said = json.dumps(line)
    assert "correct horse" not in said
    assert "abcdefghijklmnop" not in said
    assert "1234" in said


def test_a_secret_is_blotted_out_wherever_it_stands(lines):
    structlog.get_logger().warning("key.refused", header={"authorization": "Bearer mh_live_0123456789abcdefghijKLMN"})
    assert "0123456789abcdef" not in json.dumps(lines())


def test_at_a_terminal_a_traceback_loses_its_secrets_too(lines):
    stream = io.StringIO()
    logs.configure(stream=stream, as_json=False)
    try:
        raise RuntimeError("upstream said no to sk-abcdefghijklmnop1234")
    except RuntimeError:
        structlog.get_logger("menhir.test").exception("relay.failed")
        logging.getLogger("menhir.test").exception("relay failed")
    said = stream.getvalue()
    assert said.count("RuntimeError: upstream said no to sk-…1234") == 2
    assert "abcdefghijklmnop" not in said


@pytest.mark.parametrize("offered", ["", "short", "a" * 129, "with space here", 'quote"quote"', "new\nline-here", None])
def test_a_request_id_that_could_forge_a_line_is_replaced(offered):
    assert accept(offered).startswith("req_")
