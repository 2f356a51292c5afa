"""OpenTelemetry: a span for each model call and the metrics of the GenAI conventions, sent by OTLP over HTTP from a thread of its own.

It is there when `OTEL_EXPORTER_OTLP_ENDPOINT` says where to, and reads OpenTelemetry's own variables as every program does
(`OTEL_SERVICE_NAME`, `OTEL_RESOURCE_ATTRIBUTES`, `OTEL_EXPORTER_OTLP_HEADERS`, `OTEL_TRACES_SAMPLER`, …). Without it nothing of
OpenTelemetry's SDK is imported. Prompts and answers are never in it.

https://opentelemetry.io/docs/specs/semconv/gen-ai/
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

import structlog

from menhir.telemetry import calls, tracing

if TYPE_CHECKING:
    from opentelemetry.metrics import Histogram
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    from menhir.telemetry.calls import Finished

ENDPOINTS: Final = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
SCOPE: Final = "menhir.gateway"
NANOSECONDS: Final = 1_000_000_000
PROVIDERS: Final = {"gemini": "gcp.gemini", "embedder": "menhir.embedder", "extract": "menhir.extract", "cache": "menhir.cache"}
PARAMETERS: Final = {
    "max_tokens": "gen_ai.request.max_tokens",
    "max_completion_tokens": "gen_ai.request.max_tokens",
    "temperature": "gen_ai.request.temperature",
    "top_p": "gen_ai.request.top_p",
    "frequency_penalty": "gen_ai.request.frequency_penalty",
    "presence_penalty": "gen_ai.request.presence_penalty",
    "seed": "gen_ai.request.seed",
    "n": "gen_ai.request.choice.count",
}
# As the conventions advise.
DURATION_BOUNDS: Final = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
TOKEN_BOUNDS: Final = tuple(4**power for power in range(14))
FIRST_TOKEN_BOUNDS: Final = (0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

log = structlog.get_logger(__name__)


class Otel:
    """The exporter of one process. Wiring starts and stops it."""

    def __init__(self) -> None:
        self._end: Callable[[], None] | None = None
        self._watch: Callable[[Finished], None] | None = None

    async def start(self) -> None:
        """Export from now on, where somebody has said where to."""
        if self._end is not None or not any(os.environ.get(name) for name in ENDPOINTS) or _is("OTEL_SDK_DISABLED", "true"):
            return
        try:
            self._begin()
        except ImportError:
            log.exception("telemetry.otel_missing", hint="pip install 'menhir[otel]'")

    async def stop(self) -> None:
        """Send what is left, and export no more."""
        end, self._end = self._end, None
        if end is not None:
            if self._watch in calls.watchers:
                calls.watchers.remove(self._watch)
            tracing.sampler.clear()
            await asyncio.to_thread(end)

    def _begin(self) -> None:
        from opentelemetry.sdk.resources import Resource

        own = {"service.name": os.environ.get("OTEL_SERVICE_NAME") or "menhir"}
        resource = Resource(own).merge(Resource.create(own))
        spans = None if _is("OTEL_TRACES_EXPORTER", "none") else _Spans(resource)
        metrics = None if _is("OTEL_METRICS_EXPORTER", "none") else _Metrics(resource)

        def watch(finished: Finished) -> None:
            if spans is not None:
                spans.add(finished)
            if metrics is not None:
                metrics.add(finished)

        def end() -> None:
            for part in (spans, metrics):
                if part is not None:
                    part.shutdown()

        self._watch, self._end = watch, end
        calls.watchers.append(watch)


class _Spans:
    def __init__(self, resource: Resource) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.util.instrumentation import InstrumentationScope

        self._resource = resource
        self._scope = InstrumentationScope(SCOPE)
        self._processor: BatchSpanProcessor = BatchSpanProcessor(OTLPSpanExporter())
        tracing.sampler[:] = [_sampler(TracerProvider(resource=resource, shutdown_on_exit=False))]

    def shutdown(self) -> None:
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def add(self, finished: Finished) -> None:
        """Make the span of a call that has ended, with the id that it has had from its beginning."""
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

        call = finished.call
        trace: tracing.Trace | None = call.trace
        if trace is None or not trace.sampled:
            return
        if call.parent_id is not None:
            trace = tracing.below(trace)
        flags = TraceFlags(TraceFlags.SAMPLED)
        ended = time.time_ns()
        failed = finished.outcome in {"failed", "interrupted"}
        self._processor.on_end(
            ReadableSpan(
                f"{call.operation} {call.model}",
                context=SpanContext(trace.trace_id, trace.span_id, is_remote=False, trace_flags=flags),
                parent=None if trace.parent_id is None else SpanContext(trace.trace_id, trace.parent_id, is_remote=True, trace_flags=flags),
                resource=self._resource,
                attributes=_attributes(finished),
                kind=SpanKind.CLIENT,
                status=Status(StatusCode.ERROR, finished.error_code) if failed else Status(StatusCode.UNSET),
                start_time=ended - int(finished.seconds * NANOSECONDS),
                end_time=ended,
                instrumentation_scope=self._scope,
            )
        )


class _Metrics:
    def __init__(self, resource: Resource) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader

        self._provider: MeterProvider = MeterProvider(
            [PeriodicExportingMetricReader(OTLPMetricExporter())], resource=resource, shutdown_on_exit=False
        )
        self._duration = self._histogram("gen_ai.client.operation.duration", "s", "GenAI operation duration.", DURATION_BOUNDS)
        self._tokens = self._histogram("gen_ai.client.token.usage", "{token}", "Number of input and output tokens used.", TOKEN_BOUNDS)
        self._first = self._histogram("gen_ai.server.time_to_first_token", "s", "Time to generate first token.", FIRST_TOKEN_BOUNDS)

    def shutdown(self) -> None:
        self._provider.shutdown()

    def _histogram(self, name: str, unit: str, description: str, bounds: tuple[float, ...]) -> Histogram:
        meter = self._provider.get_meter(SCOPE)
        return meter.create_histogram(name, unit, description, explicit_bucket_boundaries_advisory=bounds)

    def add(self, finished: Finished) -> None:
        what = _common(finished)
        self._duration.record(finished.seconds, {**what, "error.type": finished.error_code} if finished.error_code else what)
        if finished.input_tokens:
            self._tokens.record(finished.input_tokens, {**what, "gen_ai.token.type": "input"})
        if finished.output_tokens:
            self._tokens.record(finished.output_tokens, {**what, "gen_ai.token.type": "output"})
        if finished.first_token_seconds is not None:
            self._first.record(finished.first_token_seconds, what)


def _common(finished: Finished) -> dict[str, Any]:
    """What the conventions want of spans and metrics alike; and the tenant, by whom operators tell them apart."""
    call = finished.call
    return {
        "gen_ai.operation.name": call.operation,
        "gen_ai.provider.name": PROVIDERS.get(finished.kind, finished.kind or "menhir"),
        "gen_ai.request.model": call.model,
        "gen_ai.response.model": finished.upstream_model or call.model,
        "menhir.tenant": call.principal.tenant_slug,
    }


def _attributes(finished: Finished) -> dict[str, Any]:
    call = finished.call
    found = {
        **_common(finished),
        "gen_ai.usage.input_tokens": finished.input_tokens,
        "gen_ai.usage.output_tokens": finished.output_tokens,
        "menhir.call.id": str(call.id),
        "menhir.request.id": call.request_id,
        "menhir.outcome": finished.outcome,
        "menhir.attempts": finished.attempts,
        "menhir.provider": finished.provider,
        "menhir.stream": call.stream,
        "menhir.overhead_ms": round(finished.overhead * 1000, 3),
        "http.response.status_code": finished.status,
    }
    if finished.first_token_seconds is not None:
        found["gen_ai.server.time_to_first_token"] = finished.first_token_seconds
    if isinstance(finished.response_id, str):
        found["gen_ai.response.id"] = finished.response_id
    if isinstance(finished.response_model, str):
        found["gen_ai.response.model"] = finished.response_model
    if reasons := [reason for reason in finished.finish_reasons if isinstance(reason, str)]:
        found["gen_ai.response.finish_reasons"] = reasons
    if finished.error_code:
        found["error.type"] = finished.error_code
    if finished.base_url:
        to = urlsplit(finished.base_url)
        found["server.address"] = to.hostname or ""
        found["server.port"] = to.port or (443 if to.scheme == "https" else 80)
    for name, attribute in PARAMETERS.items():
        value = call.body.get(name)
        if isinstance(value, int | float) and not isinstance(value, bool):
            found[attribute] = value
    return found


def _sampler(provider: Any) -> tracing.Sampler:
    """What `OTEL_TRACES_SAMPLER` says, in the form that `tracing` asks."""
    from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context

    def keeps(trace_id: int, parent_id: int | None, sampled: bool) -> bool:  # noqa: FBT001 - the form that tracing asks
        context = None
        if parent_id is not None:
            flags = TraceFlags(TraceFlags.SAMPLED if sampled else TraceFlags.DEFAULT)
            context = set_span_in_context(NonRecordingSpan(SpanContext(trace_id, parent_id, is_remote=True, trace_flags=flags)))
        return bool(provider.sampler.should_sample(context, trace_id, "call").decision.is_sampled())

    return keeps


def _is(name: str, value: str) -> bool:
    return os.environ.get(name, "").strip().lower() == value


otel = Otel()
