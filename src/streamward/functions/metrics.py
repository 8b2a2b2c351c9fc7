"""Figures of the functions host as plain counters, and their Prometheus form.

Counting is a dictionary update on the event loop; rendering happens when somebody asks. Labels name the file of a
function, never a URL.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.exposition import generate_latest
from prometheus_client.registry import Collector

BOUNDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0)

COUNTERS: dict[str, tuple[str, tuple[str, ...]]] = {
    "streamward_invocations": ("Requests matched to a function, by how they ended.", ("function", "outcome")),
    "streamward_errors": ("Responses of the host with an error code.", ("function", "code")),
    "streamward_stream_chunks": ("Chunks of response bodies.", ("function",)),
    "streamward_stream_bytes": ("Bytes of response bodies.", ("function",)),
    "streamward_coldstarts": ("Workers started.", ("function",)),
    "streamward_worker_restarts": ("Workers replaced, by reason.", ("function", "reason")),
    "streamward_log_lines": ("Log entries received.", ("function",)),
    "streamward_log_dropped": ("Log lines dropped because they came faster than they could be taken.", ("function",)),
    "streamward_drain_delivered": ("Log entries delivered.", ("drain",)),
    "streamward_drain_retries": ("Deliveries tried again.", ("drain",)),
    "streamward_drain_failed": ("Log entries given up after refusals.", ("drain",)),
    "streamward_drain_dropped": ("Log entries dropped from a full or old spool.", ("drain",)),
}
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "streamward_in_flight": ("Invocations now running.", ("function",)),
    "streamward_queued": ("Requests now waiting for a worker.", ("function",)),
    "streamward_workers": ("Worker processes.", ("function",)),
    "streamward_worker_memory_bytes": ("Resident memory of workers.", ("function",)),
    "streamward_drain_backlog": ("Log entries waiting in the spool.", ("drain",)),
}
HISTOGRAMS: dict[str, str] = {
    "streamward_invoke_duration_seconds": "Whole invocations.",
    "streamward_ttfb_seconds": "From the request to the first byte of the response.",
    "streamward_init_duration_seconds": "From starting a worker to its first readiness.",
}

Labels = tuple[str, ...]
GaugeSource = Callable[[], Iterable[tuple[str, Labels, float]]]


class Histogram:
    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        self.counts[bisect_left(BOUNDS, value)] += 1
        self.total += value

    def buckets(self) -> list[tuple[str, float]]:
        out: list[tuple[str, float]] = []
        running = 0
        for bound, count in zip((*map(str, BOUNDS), "+Inf"), self.counts, strict=True):
            running += count
            out.append((bound, running))
        return out


class Metrics(Collector):
    """A Prometheus collector; register it with any registry."""

    def __init__(self) -> None:
        self.counters: defaultdict[str, defaultdict[Labels, float]] = defaultdict(lambda: defaultdict(float))
        self.histograms: defaultdict[str, defaultdict[str, Histogram]] = defaultdict(lambda: defaultdict(Histogram))
        self.gauge_sources: list[GaugeSource] = []

    def count(self, name: str, *labels: str, by: float = 1) -> None:
        self.counters[name][labels] += by

    def observe(self, name: str, function: str, value: float) -> None:
        self.histograms[name][function].observe(value)

    def collect(self) -> Iterator[Metric]:
        for name, (said, labels) in COUNTERS.items():
            counter = CounterMetricFamily(name, said, labels=labels)
            for values, number in list(self.counters[name].items()):
                counter.add_metric(values, number)
            yield counter
        found: defaultdict[str, dict[Labels, float]] = defaultdict(dict)
        for source in self.gauge_sources:
            for name, values, number in source():
                found[name][values] = found[name].get(values, 0) + number
        for name, (said, labels) in GAUGES.items():
            gauge = GaugeMetricFamily(name, said, labels=labels)
            for values, number in found[name].items():
                gauge.add_metric(values, number)
            yield gauge
        for name, said in HISTOGRAMS.items():
            family = HistogramMetricFamily(name, said, labels=("function",))
            for function, histogram in list(self.histograms[name].items()):
                family.add_metric((function,), histogram.buckets(), histogram.total)
            yield family

    def render(self) -> bytes:
        registry = CollectorRegistry()
        registry.register(self)
        return generate_latest(registry)
