"""The form that Prometheus reads, made when it asks. prometheus-client is imported with the first scrape, and not before."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import TYPE_CHECKING

import structlog

from menhir.telemetry import gauges, meters

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.metrics_core import Metric

log = structlog.get_logger(__name__)


def render(accept: str = "") -> tuple[bytes, str]:
    """Everything this process knows of itself, and the content type that it is in."""
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(_registry()), content_type


@cache
def _registry() -> CollectorRegistry:
    from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector

    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    registry.register(_Ours())
    return registry


class _Ours:
    def collect(self) -> Iterable[Metric]:
        for family in tuple(meters.families.values()):
            yield _of_family(family)
        for gauge in tuple(gauges.registered.values()):
            if (found := _of_gauge(gauge)) is not None:
                yield found

    def describe(self) -> Iterable[Metric]:
        return ()


def _of_family(family: meters.Family[meters.Count] | meters.Family[meters.Buckets]) -> Metric:
    from prometheus_client.metrics_core import CounterMetricFamily, HistogramMetricFamily

    if family.name.endswith("_total"):
        counter = CounterMetricFamily(family.name.removesuffix("_total"), family.help, labels=family.labels)
        for values, series in tuple(family.series.items()):
            if isinstance(series, meters.Count):
                counter.add_metric(values, series.value)
        return counter
    histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
    for values, series in tuple(family.series.items()):
        if isinstance(series, meters.Buckets):
            histogram.add_metric(values, list(_cumulated(series)), series.total)
    return histogram


def _cumulated(series: meters.Buckets) -> Iterator[tuple[str, float]]:
    so_far = 0
    for bound, count in zip((*map(_written, series.bounds), "+Inf"), tuple(series.counts), strict=True):
        so_far += count
        yield bound, so_far


def _written(bound: float) -> str:
    return str(float(bound))


def _of_gauge(gauge: gauges.Gauge) -> Metric | None:
    from prometheus_client.metrics_core import GaugeMetricFamily

    try:
        reading = gauge.read()
    except Exception:
        log.exception("telemetry.gauge", name=gauge.name)
        return None
    family = GaugeMetricFamily(gauge.name, gauge.help, labels=gauge.labels)
    if isinstance(reading, Mapping):
        for values, value in reading.items():
            family.add_metric(values, value)
    else:
        family.add_metric((), reading)
    return family
