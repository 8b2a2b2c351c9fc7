"""How each target has been doing lately, and whether it should be asked at all.

Figures are per target (``provider/model``), decay with time and are fed once per call, never per token. The circuit of
a target opens after FAILURES_TO_OPEN failures in a row, or when a good part of many recent calls failed, and for a
limit the provider set itself (Retry-After). An open target is not refused: it is tried after all others. After its
cool-down one call probes it (half-open); success closes the circuit, failure opens it again for twice as long.

Pure but for its dictionaries: the time comes in as an argument (seconds of one monotonic clock).
"""

from __future__ import annotations

import math
from collections import deque
from typing import Literal

from streamward.errors import ErrorInfo

State = Literal["closed", "open", "half-open"]
Trouble = Literal["error", "stall", "truncation"]

FAILURES_TO_OPEN = 5
"""In a row. Single failures are what retries are for."""

RATE_TO_OPEN = 0.5
CALLS_FOR_RATE = 10.0
"""Recent calls before a share of failures means anything."""

COOL_DOWN_S = 10.0
COOL_DOWN_MAX_S = 300.0
PROBE_S = 120.0
"""A probe that has not been heard of for this long is forgotten, and the next one may go."""

HALF_LIFE_S = 120.0
"""Of counts and averages: what happened two minutes ago weighs half."""

WEIGH_S = 1.0
"""Younger figures are not decayed yet: a busy target is not worth a power per call."""

CLOSED = -math.inf
"""``open_until`` of a closed circuit."""

STALE_S = 600.0
"""A latency nobody has confirmed for this long counts as unknown, so that the target is tried again."""

RECENT = 64
"""Times to first token that are kept for percentiles."""

FEW = 8
"""Below this number of times a percentile says nothing."""

MAX_HEALTH = 4096
"""Targets watched; clients can invent model names. The least recently used make room."""

ANSWER_WEIGHT = 0.3
"""Weight of the newest time to first token in the average, when it follows closely on the last one."""


class TargetHealth:
    """One target's recent past."""

    __slots__ = (
        "calls", "cool_down_s", "failed", "failures", "in_a_row", "open_until", "probe_until", "recent", "seen_at",
        "timed_at", "totals", "tps", "ttft_s", "weighed_at",
    )  # fmt: skip

    def __init__(self) -> None:
        self.ttft_s: float | None = None
        self.tps: float | None = None
        self.timed_at = CLOSED
        self.seen_at = CLOSED
        self.recent: deque[float] = deque(maxlen=RECENT)
        self.calls = 0.0  # these three decay
        self.failures = 0.0
        self.failed = dict.fromkeys(TROUBLES, 0.0)
        self.weighed_at = 0.0
        self.totals = dict.fromkeys(TROUBLES, 0)
        self.in_a_row = 0
        self.open_until = CLOSED
        self.probe_until = CLOSED
        self.cool_down_s = 0.0

    # -- what happened

    def succeeded(self, now: float, ttft_s: float | None = None, tps: float | None = None) -> None:
        """A call came to its end; *ttft_s* of the try that answered, *tps* its output tokens per second."""
        if now - self.weighed_at > WEIGH_S:
            self.weigh(now)
        self.calls += 1
        self.in_a_row = 0
        if self.open_until != CLOSED:
            self.cool_down_s = 0.0
            self.open_until = self.probe_until = CLOSED
        if ttft_s is not None:
            self.timed(now, ttft_s)
        if tps is not None:
            self.tps = tps if self.tps is None else self.tps + ANSWER_WEIGHT * (tps - self.tps)

    def timed(self, now: float, ttft_s: float) -> None:
        self.recent.append(ttft_s)
        known, age = self.ttft_s, now - self.timed_at
        weight = ANSWER_WEIGHT if age < WEIGH_S else 1 - (1 - ANSWER_WEIGHT) * 0.5 ** (age / HALF_LIFE_S)
        self.ttft_s = ttft_s if known is None else known + weight * (ttft_s - known)
        self.timed_at = now

    def failed_once(self, now: float, error: ErrorInfo) -> None:
        """A try failed, or a stream broke off."""
        self.weigh(now)
        trouble = trouble_of(error)
        self.calls += 1
        self.failures += 1
        self.failed[trouble] += 1
        self.totals[trouble] += 1
        self.in_a_row += 1
        if self.probe_until > now:
            self.open(now, 2 * self.cool_down_s)
        elif error.code == "rate_limit_exceeded" and error.retry_after_s is not None:
            self.open_until = max(self.open_until, now + min(error.retry_after_s, COOL_DOWN_MAX_S))
        elif self.open_until == CLOSED and self.fails_often():
            self.open(now, COOL_DOWN_S)

    def fails_often(self) -> bool:
        often = self.calls >= CALLS_FOR_RATE and self.failures / self.calls >= RATE_TO_OPEN
        return often or self.in_a_row >= FAILURES_TO_OPEN

    def open(self, now: float, cool_down_s: float) -> None:
        self.cool_down_s = min(max(cool_down_s, COOL_DOWN_S), COOL_DOWN_MAX_S)
        self.open_until = now + self.cool_down_s
        self.probe_until = CLOSED

    def weigh(self, now: float) -> None:
        self.seen_at = now
        share = 0.5 ** ((now - self.weighed_at) / HALF_LIFE_S)
        self.weighed_at = now
        self.calls *= share
        if self.failures:
            self.failures *= share
            for trouble in TROUBLES:
                self.failed[trouble] *= share

    # -- what follows from it

    def state(self, now: float) -> State:
        if self.open_until == CLOSED:
            return "closed"
        return "open" if now < self.open_until else "half-open"

    def may_be_asked(self, now: float) -> bool:
        """Closed, or half-open with no probe under way."""
        if self.open_until == CLOSED:
            return True
        return now >= self.open_until and self.probe_until <= now

    def probe(self, now: float) -> None:
        """The call that is sent now is the probe."""
        self.probe_until = now + PROBE_S

    def latency_s(self, now: float) -> float | None:
        """Decayed time to first token; None when nothing recent is known."""
        return self.ttft_s if now - self.timed_at <= STALE_S else None

    def percentile_s(self, share: float) -> float | None:
        """Percentile of recent times to first token; None when there are too few."""
        if len(self.recent) < FEW:
            return None
        ordered = sorted(self.recent)
        return ordered[min(int(share * len(ordered)), len(ordered) - 1)]

    def rate(self, trouble: Trouble) -> float:
        """Share of recent calls that ended so."""
        return min(self.failed[trouble] / max(self.calls, 1.0), 1.0)

    def failure_rate(self) -> float:
        return min(self.failures / max(self.calls, 1.0), 1.0)


class Health:
    """The health of all targets of one process. Outlives reloads of the configuration."""

    def __init__(self) -> None:
        self.targets: dict[str, TargetHealth] = {}
        self.troubled: set[str] = set()
        """Names of targets whose circuit is not closed: empty on a good day, and then nothing more is looked at."""

    def of(self, name: str) -> TargetHealth:
        found = self.targets.get(name)
        if found is None:
            if len(self.targets) >= MAX_HEALTH:
                self.forget()
            found = self.targets[name] = TargetHealth()
        return found

    def forget(self) -> None:
        """Make room: the quarter that was used longest ago goes."""
        oldest = sorted(self.targets, key=lambda name: self.targets[name].seen_at)
        for name in oldest[: MAX_HEALTH // 4]:
            del self.targets[name]
            self.troubled.discard(name)

    def succeeded(self, name: str, now: float, ttft_s: float | None = None, tps: float | None = None) -> None:
        (self.targets.get(name) or self.of(name)).succeeded(now, ttft_s, tps)
        if self.troubled:
            self.troubled.discard(name)

    def released(self, name: str) -> None:
        """A call to *name* ended without saying anything about it: if it was a probe, the next one may go."""
        found = self.targets.get(name)
        if found is not None:
            found.probe_until = CLOSED

    def failed(self, name: str, now: float, error: ErrorInfo) -> None:
        """Book a failure, if it is the target's and not the call's own."""
        if error.code not in TARGETS_FAULT:
            return
        found = self.of(name)
        found.failed_once(now, error)
        if found.open_until != CLOSED:
            self.troubled.add(name)


def trouble_of(error: ErrorInfo) -> Trouble:
    if error.code == "upstream_timeout":
        return "stall"
    return "truncation" if error.code == "stream_truncated" else "error"


TROUBLES: tuple[Trouble, ...] = ("error", "stall", "truncation")
TARGETS_FAULT = frozenset(
    {
        "upstream_error", "upstream_reset", "upstream_timeout", "upstream_invalid", "upstream_auth", "stream_truncated",
        "rate_limit_exceeded", "overloaded", "server_error",
    }
)  # fmt: skip
"""Failures that say something about the target. A bad request, an unknown model or a refusal do not."""
