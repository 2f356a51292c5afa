"""structlog and the standard library's logging, through one chain to one stream: JSON for machines, colours at a terminal."""

from __future__ import annotations

import logging
import re
import sys
from typing import Any, TextIO

import structlog
from structlog.types import EventDict, Processor, WrappedLogger

from menhir.telemetry.requests import request_id

# Keys and bearer tokens, ours and the upstreams': the last four characters are enough to tell which it was.
SECRET = re.compile(r"\b(mh_live_|sk-|Bearer\s+)[A-Za-z0-9_\-.]{8,}([A-Za-z0-9_\-.]{4})")

# Each request has its own line by those who serve it; theirs say the same again.
QUIET = ("uvicorn.access", "httpx", "httpx2", "httpcore", "httpcore2", "openai", "procrastinate", "sentence_transformers")


def configure(*, stream: TextIO | None = None, level: int = logging.INFO, as_json: bool | None = None) -> None:
    """Send every log line of this process to `stream` (stderr); as JSON unless it is a terminal or `as_json` says so.

    May be called again: the last call holds.
    """
    stream = stream or sys.stderr
    as_json = not stream.isatty() if as_json is None else as_json
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        _with_request_id,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
    ]
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *_rendered(as_json=as_json)],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    root = logging.getLogger()
    root.handlers = [handler]
    root.setLevel(level)
    for name in QUIET:
        logging.getLogger(name).setLevel(max(level, logging.WARNING))
    for name in ("uvicorn", "uvicorn.error", "django", "django.server"):
        logger = logging.getLogger(name)
        logger.handlers = []
        logger.propagate = True


def _rendered(*, as_json: bool) -> list[Processor]:
    if not as_json:
        # The traceback becomes text first: there are secrets in messages of errors, too.
        return [structlog.processors.format_exc_info, _without_secrets, structlog.dev.ConsoleRenderer()]
    # Frames without their locals: there the passwords are.
    trace = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    return [trace, _without_secrets, structlog.processors.JSONRenderer(default=str, ensure_ascii=False)]


def _with_request_id(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    if (current := request_id.get()) is not None:
        event.setdefault("request_id", current)
    return event


def _without_secrets(logger: WrappedLogger, method: str, event: EventDict) -> EventDict:
    return {key: without_secrets(value) for key, value in event.items()}


def without_secrets(value: Any) -> Any:
    """The value with every key and bearer token in it blotted out but for its last four characters.

    >>> without_secrets("refused mh_live_0123456789abcdefXYZ9 twice")
    'refused mh_live_…XYZ9 twice'
    """
    if isinstance(value, str):
        return SECRET.sub(r"\1…\2", value)
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_secrets(item) for item in value]
    return value
