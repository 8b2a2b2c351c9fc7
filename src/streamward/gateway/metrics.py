"""Prometheus metrics of the gateway.

Counting a request is one dictionary lookup and a few additions to the :class:`Series` found there; the prometheus client
only renders. Labels come from what we resolved, never from raw request text, and their number is bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from typing import TypeAlias

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric

from streamward.gateway.records import Ending, Record

MAX_SERIES = 2000
"""Distinct label sets per metric; more are counted as ``other``."""

TTFT_BUCKETS = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0, 30.0, 60.0)
GAP_BUCKETS = (0.001, 0.005, 0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1.0, 5.0)
DURATION_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0)


SeriesKey: TypeAlias = tuple[str, int, str, Ending | None]
"""Route, status, target, ending."""


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

    def of(self, label: str) -> list[float]:
        """The counts of *label*: one for each bucket, one above the last, and the sum of what was observed."""
        counts = self.counts.get(label)
        if counts is None:
            label = label if len(self.counts) < MAX_SERIES else "other"
            counts = self.counts.setdefault(label, [0.0] * (len(self.buckets) + 2))
        return counts

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


def observe(counts: list[float], buckets: tuple[float, ...], value: float) -> None:
    """Count *value* in *counts*, which are :meth:`Histogram.of` a label."""
    counts[bisect_left(buckets, value)] += 1
    counts[-1] += value


class Series:
    """What is counted of the requests that share route, status, target and ending; the counters sum over these."""

    __slots__ = ("cost_usd", "duration", "fallbacks", "gap", "input_tokens", "output_tokens", "requests", "retries", "ttft")

    def __init__(self, duration: list[float], ttft: list[float], gap: list[float]) -> None:
        self.requests = self.retries = self.fallbacks = 0
        self.input_tokens = self.output_tokens = 0
        self.cost_usd = 0.0
        self.duration, self.ttft, self.gap = duration, ttft, gap


class Metrics:
    """All of the gateway's metrics; also a prometheus collector."""

    def __init__(self) -> None:
        self.series: dict[SeriesKey, Series] = {}
        self.upstream_errors = Counter("streamward_upstream_errors", "Failed tries by target.", ("target", "code"))
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
        key = (record.route, record.status, record.target, record.ending)
        series = self.series.get(key) or self.new_series(key)
        series.requests += 1
        observe(series.duration, DURATION_BUCKETS, record.duration_ms / 1000)
        if not record.target:
            return
        if record.ttft_ms is not None:
            observe(series.ttft, TTFT_BUCKETS, record.ttft_ms / 1000)
            if record.stream and record.events > 1:
                observe(series.gap, GAP_BUCKETS, max(record.duration_ms - record.ttft_ms, 0.0) / 1000 / (record.events - 1))
        series.retries += max(record.attempts - 1 - record.fallbacks, 0)
        if record.fallbacks and record.status < 400:
            series.fallbacks += 1
        series.input_tokens += record.input_tokens or 0
        series.output_tokens += record.output_tokens or 0
        series.cost_usd += record.cost_usd or 0.0

    def new_series(self, key: SeriesKey) -> Series:
        if len(self.series) >= MAX_SERIES:
            key = ("other", key[1], "other" if key[2] else "", key[3])
            if key in self.series:
                return self.series[key]
        route, _, target, _ = key
        ttft, gap = (self.ttft.of(target), self.gap.of(target)) if target else ([], [])
        series = self.series[key] = Series(self.duration.of(route), ttft, gap)
        return series

    def totals(self) -> list[Counter]:
        """The counters that sum over the series, as they stand."""
        requests = Counter("streamward_requests", "Requests by route and status.", ("route", "status"))
        endings = Counter("streamward_endings", "Calls by target and how they ended.", ("target", "ending"))
        retries = Counter("streamward_retries", "Tries beyond the first.", ("target",))
        fallbacks = Counter("streamward_fallbacks", "Calls answered by another target than the first.", ("target",))
        tokens = Counter("streamward_tokens", "Tokens as accounted.", ("target", "kind"))
        cost = Counter("streamward_cost_usd", "Cost by target, where prices are known.", ("target",))
        for (route, status, target, ending), series in self.series.items():
            requests.add(route, str(status), by=series.requests)
            if not target:
                continue
            endings.add(target, ending or "", by=series.requests)
            for counter, labels, value in (
                (retries, (target,), series.retries), (fallbacks, (target,), series.fallbacks),
                (tokens, (target, "input"), series.input_tokens), (tokens, (target, "output"), series.output_tokens),
                (cost, (target,), series.cost_usd),
            ):  # fmt: skip
                if value:
                    counter.add(*labels, by=value)
        return [requests, endings, retries, fallbacks, tokens, cost]

    def collect(self) -> Iterable[Metric]:
        families: list[Counter | Histogram] = [*self.totals(), self.upstream_errors, self.ttft, self.gap, self.duration]
        yield from (metric.family() for metric in families)
        for name, (text, read) in self.gauges.items():
            yield GaugeMetricFamily(name, text, value=read())

    def describe(self) -> Iterable[Metric]:
        return ()

    def render(self) -> bytes:
        """The exposition format, text 0.0.4."""
        return generate_latest(self.registry)
