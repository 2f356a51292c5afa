"""Spans, metrics and log lines of calls: exported to a real collector, by a real process."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx2
import pytest

from apps.gateway.models import Provider, Route
from menhir.telemetry import tracing
from menhir.tenancy.transaction import tenant_transaction

from peers.collector import Collector, attributes
from stage.servers import eventually

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OK_STATUS, ERROR_STATUS = 0, 2


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture
def ask(alice, upstream):
    """Alice's question to a process, by way of a route that works or one that does not."""
    with tenant_transaction(alice.tenant):
        for name, model in (("good", "fake"), ("bad", "fake?status=400")):
            provider = Provider(tenant=alice.tenant, slug=f"far-{name}", kind="openai", base_url=upstream.base_url)
            provider.set_credential("sk-upstream")
            provider.save()
            Route.objects.create(tenant=alice.tenant, name=name).lead_to((provider, model))
    key = alice.key()

    def asked(server, model: str = "good", *, trace: str = "", **more: object) -> httpx2.Response:
        body = {"model": model, "messages": [{"role": "user", "content": "a secret of Alice's"}], **more}
        headers = {"authorization": f"Bearer {key}", **({"traceparent": trace} if trace else {})}
        return httpx2.post(f"{server.base_url}/v1/chat/completions", json=body, headers=headers, timeout=20)

    return asked


def test_calls_are_spans_and_metrics_of_the_genai_conventions(web, ask, alice, collector, upstream):
    server = web(
        OTEL_EXPORTER_OTLP_ENDPOINT=collector.url,
        OTEL_EXPORTER_OTLP_HEADERS="x-collector-key=abc",
        OTEL_RESOURCE_ATTRIBUTES="deployment.environment=test",
        OTEL_BSP_SCHEDULE_DELAY="100",
    )
    assert ask(server, trace=f"00-{TRACE}-{CALLER}-01", temperature=0.5, max_tokens=50).status_code == 200
    sent_on = upstream.stats.headers[-1]["traceparent"]
    assert "[DONE]" in ask(server, stream=True).text
    assert ask(server, "bad").status_code == 400
    eventually(lambda: len(collector.spans) == 3, what="three spans")
    server.stop()

    spans = {(span.trace_id.hex() == TRACE, span.status.code): span for span in collector.spans}
    traced, alone, failed = spans[True, OK_STATUS], spans[False, OK_STATUS], spans[False, ERROR_STATUS]
    assert traced.name == "chat good"
    assert traced.parent_span_id.hex() == CALLER
    assert sent_on == f"00-{TRACE}-{traced.span_id.hex()}-01"
    assert (alone.parent_span_id, len(alone.trace_id), len({span.span_id for span in collector.spans})) == (b"", 16, 3)
    said = attributes(traced.attributes)
    expected = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "openai",
        "gen_ai.request.model": "good",
        "gen_ai.response.model": "fake",
        "gen_ai.request.temperature": 0.5,
        "gen_ai.request.max_tokens": 50,
        "server.address": "127.0.0.1",
        "menhir.tenant": alice.tenant.slug,
        "menhir.outcome": "completed",
        "http.response.status_code": 200,
    }
    assert {name: said.get(name) for name in expected} == expected
    assert said["gen_ai.usage.input_tokens"] > 0
    assert said["gen_ai.usage.output_tokens"] > 0
    assert 0 < traced.end_time_unix_nano - traced.start_time_unix_nano < 20e9
    for span in (traced, alone):
        answered = attributes(span.attributes)
        assert answered["gen_ai.response.finish_reasons"] == ["stop"]
        assert answered["gen_ai.response.id"].startswith("chatcmpl-")
    assert attributes(alone.attributes)["gen_ai.server.time_to_first_token"] >= 0
    assert attributes(failed.attributes)["error.type"] == failed.status.message != ""
    assert "secret" not in str(collector.spans)
    assert {"service.name": "menhir", "deployment.environment": "test"}.items() <= collector.resources[0].items()
    assert collector.headers[0]["x-collector-key"] == "abc"

    durations = collector.metrics["gen_ai.client.operation.duration"].histogram.data_points
    assert sum(point.count for point in durations) == 3
    assert durations[0].explicit_bounds[0] == 0.01
    usage = collector.metrics["gen_ai.client.token.usage"].histogram.data_points
    assert {attributes(point.attributes)["gen_ai.token.type"] for point in usage} == {"input", "output"}
    assert collector.metrics["gen_ai.server.time_to_first_token"].histogram.data_points[0].count == 1


def test_whoever_does_not_keep_his_trace_gets_no_span_and_a_dead_collector_hurts_nobody(web, ask, collector):
    server = web(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, OTEL_BSP_SCHEDULE_DELAY="100", OTEL_METRICS_EXPORTER="none")
    assert ask(server, trace=f"00-{TRACE}-{CALLER}-00").status_code == 200
    collector.status = 503
    assert ask(server).status_code == 200
    eventually(lambda: collector.spans, what="a span")
    assert ask(server).status_code == 200
    assert TRACE not in {span.trace_id.hex() for span in collector.spans}
    assert collector.metrics == {}


def test_without_an_exporter_the_callers_trace_travels_on(web, ask, upstream):
    server = web(MENHIR_LOG_CALLS="yes", MENHIR_LOG_LEVEL="INFO")
    assert ask(server, trace=f"00-{TRACE}-{CALLER}-01").status_code == 200
    assert upstream.stats.headers[-1]["traceparent"] == f"00-{TRACE}-{CALLER}-01"
    assert ask(server, trace="00-zz").status_code == 200
    assert "traceparent" not in upstream.stats.headers[-1]
    answer = ask(server, "bad")
    server.stop()
    lines = [json.loads(line) for line in server.log.read_text().splitlines() if '"call.finished"' in line]
    assert [(line["outcome"], line["status"], line["route"]) for line in lines] == [
        ("completed", 200, "good"),
        ("completed", 200, "good"),
        ("failed", 400, "bad"),
    ]
    assert lines[2]["request_id"] == answer.headers["x-request-id"]
    assert lines[0]["trace_id"] == TRACE
    assert lines[0]["ms"] > 0
    assert "secret" not in json.dumps(lines)
    assert "sk-upstream" not in server.log.read_text()


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"00",
        f"00-{'0' * 32}-{CALLER}-01".encode(),
        f"00-{TRACE}-{'0' * 16}-01".encode(),
        f"ff-{TRACE}-{CALLER}-01".encode(),
        f"00-{TRACE.upper()}-{CALLER}-01".encode(),
        f"00-{TRACE}-{CALLER}-01\r\nx: y".encode(),
    ],
)
def test_what_is_no_trace_is_none(said: bytes):
    assert tracing.begin(said) is None


def test_a_later_version_of_the_header_is_read():
    assert tracing.begin(f"01-{TRACE}-{CALLER}-09-what-comes-later".encode()).header == f"00-{TRACE}-{CALLER}-01"
