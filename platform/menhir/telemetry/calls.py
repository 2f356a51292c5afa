"""What is measured of each model call. It is on the path of every one: a look into a dict, and a few additions.

Whoever wants to hear of each finished call (a log line, a span) puts himself into `watchers`; while nobody does, nothing is made for him.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec

from menhir.telemetry import meters

OVERHEAD_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0015, 0.002, 0.003, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0)
ARRIVED = "menhir.arrived"
"""Where the server says in a request's scope when it had read its head, on the clock of `time.perf_counter()`."""
LABELS = ("operation", "outcome", "kind", "status")

FINISHED = meters.counter("menhir_calls_total", "Model calls that ended, by how.", *LABELS)
DURATION = meters.histogram("menhir_call_duration_seconds", "From a call's entry to its settlement.", meters.SECONDS, *LABELS)
OVERHEAD = meters.histogram("menhir_call_overhead_seconds", "The part of it not spent waiting for upstreams.", OVERHEAD_SECONDS, *LABELS)
FIRST_TOKEN = meters.histogram("menhir_call_first_token_seconds", "From a stream's entry to its first token.", meters.SECONDS, *LABELS)
INPUT = meters.counter("menhir_input_tokens_total", "Tokens that models read.", *LABELS)
OUTPUT = meters.counter("menhir_output_tokens_total", "Tokens that models wrote.", *LABELS)
QUEUED = meters.histogram("menhir_queue_wait_seconds", "From a request's head being read to its turn on the loop.", OVERHEAD_SECONDS).of()
RESPONSES = meters.counter("menhir_responses_total", "Answers of the data plane, by HTTP status.", "status")
_responses: dict[int, meters.Count] = {}


class Finished(msgspec.Struct):
    """A call that has ended, for those who watch."""

    call: Any
    """The gateway's own value."""
    kind: str
    provider: str
    upstream_model: str
    base_url: str
    outcome: str
    status: int
    error_code: str | None
    seconds: float
    overhead: float
    first_token_seconds: float | None
    input_tokens: int
    output_tokens: int
    attempts: int
    response_id: Any = None
    """What the upstream said of its answer, where a trace is kept."""
    response_model: Any = None
    finish_reasons: list[Any] = []


watchers: list[Callable[[Finished], None]] = []


class _Series:
    """Everything that is measured of calls of one set of labels, found by one look."""

    __slots__ = ("duration", "finished", "first_token", "input", "output", "overhead")

    def __init__(self, values: tuple[str, ...]) -> None:
        self.finished, self.input, self.output = FINISHED.of(*values), INPUT.of(*values), OUTPUT.of(*values)
        self.duration, self.overhead, self.first_token = DURATION.of(*values), OVERHEAD.of(*values), FIRST_TOKEN.of(*values)


_series: dict[tuple[str, str, str, int], _Series] = {}


def finished(
    operation: str,
    outcome: str,
    kind: str,
    status: int,
    *,
    seconds: float,
    overhead: float,
    first_token_ms: int | None,
    input_tokens: int,
    output_tokens: int,
) -> None:
    """Measure a call that has ended. `kind` is the provider's, empty when none was asked."""
    spot = (operation, outcome, kind, status)
    found = _series.get(spot)
    if found is None:
        found = _Series((operation, outcome, kind or "none", f"{status // 100}xx"))
        if len(_series) < meters.MOST_SERIES:
            _series[spot] = found
    found.finished.value += 1
    found.input.value += input_tokens
    found.output.value += output_tokens
    found.duration.observe(seconds)
    found.overhead.observe(overhead)
    if first_token_ms is not None:
        found.first_token.observe(first_token_ms / 1000)


def answered(status: int) -> None:
    """Count an answer of the data plane, whether a call came of it or not."""
    found = _responses.get(status)
    if found is None:
        found = _responses[status] = RESPONSES.of(str(status))
    found.value += 1
