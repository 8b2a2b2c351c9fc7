"""The health of targets as Prometheus figures; read when they are asked for."""

from __future__ import annotations

import time
from collections.abc import Iterable

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from streamward.upstream.health import TROUBLES, Health

STATES = {"closed": 0, "half-open": 1, "open": 2}
MAX_SHOWN = 1000
"""Targets with figures of their own; those used last come first."""


class HealthMetrics(Collector):
    """A prometheus collector over one :class:`~streamward.upstream.health.Health`."""

    def __init__(self, health: Health) -> None:
        self.health = health

    def collect(self) -> Iterable[Metric]:
        now = time.monotonic()
        state = GaugeMetricFamily("streamward_target_state", "Circuit: 0 closed, 1 half-open, 2 open.", labels=("target",))
        ttft = GaugeMetricFamily("streamward_target_ttft_seconds", "Recent time to first token.", labels=("target",))
        p95 = GaugeMetricFamily("streamward_target_ttft_p95_seconds", "Its recent 95th percentile.", labels=("target",))
        tps = GaugeMetricFamily("streamward_target_tokens_per_second", "Recent speed of answers.", labels=("target",))
        rate = GaugeMetricFamily(
            "streamward_target_failure_ratio", "Share of recent calls that ended so.", labels=("target", "kind")
        )
        count = CounterMetricFamily("streamward_target_failures", "Failures since start.", labels=("target", "kind"))
        shown = sorted(self.health.targets.items(), key=lambda item: -item[1].seen_at)[:MAX_SHOWN]
        for name, found in shown:
            state.add_metric((name,), STATES[found.state(now)])
            for family, value in ((ttft, found.latency_s(now)), (p95, found.percentile_s(0.95)), (tps, found.tps)):
                if value is not None:
                    family.add_metric((name,), value)
            for kind in TROUBLES:
                rate.add_metric((name, kind), found.rate(kind))
                count.add_metric((name, kind), found.totals[kind])
        yield from (state, ttft, p95, tps, rate, count)

    def describe(self) -> Iterable[Metric]:
        return ()
