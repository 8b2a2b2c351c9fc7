"""Prometheus metrics of the gateway.

Counting is a dictionary and a list increment (well below a microsecond); the prometheus client only renders. Labels
come from what we resolved, never from raw request text, and their number is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from streamward.gateway.records import Record

MAX_SERIES = 2000
"""Distinct label sets per metric; more are counted as ``other``."""

TTFT_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
GAP_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)
DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


class Counter:
    """Counts by label values."""

    def __init__(self, name: str, text: str, labels: tuple[str, ...]) -> None:
        self.name, self.text, self.labels = name, text, labels
        self.values: dict[tuple[str, ...], float] = {}

    def add(self, *labels: str, by: float = 1.0) -> None:
        values = self.values
        if labels not in values and len(values) >= MAX_SERIES:
            labels = ("other",) * len(labels)
        values[labels] = values.get(labels, 0.0) + by

    def family(self) -> Metric:
        family = CounterMetricFamily(self.name, self.text, labels=self.labels)
        for labels, value in self.values.items():
            family.add_metric(labels, value)
        return family


class Histogram:
    """A histogram per label value."""

    def __init__(self, name: str, text: str, label: str, buckets: tuple[float, ...]) -> None:
        self.name, self.text, self.label, self.buckets = name, text, label, buckets
        self.counts: dict[str, list[float]] = {}

    def observe(self, label: str, value: float) -> None:
        counts = self.counts.get(label)
        if counts is None:
            label = label if len(self.counts) < MAX_SERIES else "other"
            counts = self.counts.setdefault(label, [0.0] * (len(self.buckets) + 2))
        counts[bisect_left(self.buckets, value)] += 1
        counts[-1] += value

    def family(self) -> Metric:
        family = HistogramMetricFamily(self.name, self.text, labels=(self.label,))
        for label, counts in self.counts.items():
            total = 0.0
            buckets = []
            for bound, count in zip((*map(str, self.buckets), "+Inf"), counts, strict=False):
                total += count
                buckets.append((bound, total))
            family.add_metric((label,), buckets, counts[-1])
        return family


class Metrics:
    """All of the gateway's metrics; also a prometheus collector."""

    def __init__(self) -> None:
        self.requests = Counter("streamward_requests", "Requests by route and status.", ("route", "status"))
        self.endings = Counter("streamward_endings", "Calls by target and how they ended.", ("target", "ending"))
        self.upstream_errors = Counter("streamward_upstream_errors", "Failed tries by target.", ("target", "code"))
        self.retries = Counter("streamward_retries", "Tries beyond the first.", ("target",))
        self.fallbacks = Counter("streamward_fallbacks", "Calls answered by another target than the first.", ("target",))
        self.tokens = Counter("streamward_tokens", "Tokens as accounted.", ("target", "kind"))
        self.cost = Counter("streamward_cost_usd", "Cost by target, where prices are known.", ("target",))
        self.ttft = Histogram("streamward_time_to_first_token_seconds", "Request to first token.", "target", TTFT_BUCKETS)
        self.gap = Histogram("streamward_inter_token_gap_seconds", "Mean gap of each stream.", "target", GAP_BUCKETS)
        self.duration = Histogram("streamward_request_duration_seconds", "Whole request.", "route", DURATION_BUCKETS)
        self.gauges: dict[str, tuple[str, Callable[[], float]]] = {}
        self.registry = CollectorRegistry()
        self.registry.register(self)

    def gauge(self, name: str, text: str, read: Callable[[], float]) -> None:
        """A figure that is read when it is asked for."""
        self.gauges[name] = (text, read)

    def book(self, record: Record) -> None:
        """Count one finished request."""
        self.requests.add(record.route, str(record.status))
        self.duration.observe(record.route, record.duration_ms / 1000)
        target = record.target
        if not target:
            return
        self.endings.add(target, record.ending or "")
        if record.ttft_ms is not None:
            self.ttft.observe(target, record.ttft_ms / 1000)
            if record.stream and record.events > 1:
                self.gap.observe(target, max(record.duration_ms - record.ttft_ms, 0.0) / 1000 / (record.events - 1))
        if record.attempts > 1 + record.fallbacks:
            self.retries.add(target, by=record.attempts - 1 - record.fallbacks)
        if record.fallbacks and record.status < 400:
            self.fallbacks.add(target)
        if record.input_tokens:
            self.tokens.add(target, "input", by=record.input_tokens)
        if record.output_tokens:
            self.tokens.add(target, "output", by=record.output_tokens)
        if record.cost_usd:
            self.cost.add(target, by=record.cost_usd)

    def collect(self) -> Iterable[Metric]:
        for metric in vars(self).values():
            if isinstance(metric, (Counter, Histogram)):
                yield metric.family()
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=read())

    def describe(self) -> Iterable[Metric]:
        return ()

    def render(self) -> bytes:
        """The exposition format, text 0.0.4."""
        return generate_latest(self.registry)
