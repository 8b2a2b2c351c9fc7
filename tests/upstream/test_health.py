"""Circuits and figures of targets, on a clock of our own."""

from __future__ import annotations

import pytest

from streamward.errors import ErrorInfo
from streamward.upstream.health import (
    COOL_DOWN_MAX_S,
    COOL_DOWN_S,
    FAILURES_TO_OPEN,
    FEW,
    HALF_LIFE_S,
    MAX_HEALTH,
    PROBE_S,
    STALE_S,
    Health,
)  # fmt: skip

RESET = ErrorInfo("upstream_reset", "x", 502)
CUT = ErrorInfo("stream_truncated", "x", 502)
LATE = ErrorInfo("upstream_timeout", "x", 504)
T = "mock/a"


def broken(now: float = 100.0) -> Health:
    health = Health()
    for _ in range(FAILURES_TO_OPEN):
        health.failed(T, now, RESET)
    return health


def test_a_circuit_opens_after_failures_in_a_row():
    health = Health()
    for count in range(FAILURES_TO_OPEN):
        assert health.of(T).state(0.0) == "closed", count
        health.failed(T, 0.0, RESET)

    assert health.of(T).state(0.1) == "open"
    assert health.troubled == {T}


def test_a_success_in_between_starts_the_count_anew():
    health = Health()
    for _ in range(3):
        for _ in range(FAILURES_TO_OPEN - 1):
            health.failed(T, 0.0, RESET)
        for _ in range(FAILURES_TO_OPEN + 1):  # enough of them to keep the share of failures below half, too
            health.succeeded(T, 0.0)

    assert health.of(T).state(0.1) == "closed"


@pytest.mark.parametrize("error", [CUT, LATE, RESET])
def test_half_of_many_calls_failing_opens_it_too(error: ErrorInfo):
    """Errors, truncations and stalls alike, though never many in a row."""
    health = Health()
    for _ in range(20):
        health.succeeded(T, 0.0)
        health.failed(T, 0.0, error)
        if health.troubled:
            break

    assert health.of(T).state(0.1) == "open"


def test_old_failures_weigh_less():
    health = Health()
    for _ in range(4):
        health.failed(T, 0.0, RESET)
    for _ in range(4):
        health.succeeded(T, 10 * HALF_LIFE_S)

    assert health.of(T).failure_rate() < 0.01
    assert health.of(T).totals["error"] == 4


def test_after_the_cool_down_one_call_probes():
    found = broken(100.0).of(T)
    later = 100.0 + COOL_DOWN_S

    assert (found.state(later - 0.1), found.may_be_asked(later - 0.1)) == ("open", False)
    assert (found.state(later), found.may_be_asked(later)) == ("half-open", True)
    found.probe(later)
    assert not found.may_be_asked(later + 1)


def test_a_probe_that_succeeds_closes_the_circuit():
    health = broken(100.0)
    health.of(T).probe(120.0)
    health.succeeded(T, 121.0)

    assert (health.of(T).state(121.0), health.troubled) == ("closed", set())


def test_a_probe_that_fails_opens_it_for_twice_as_long_within_a_bound():
    health = broken(0.0)
    now, waits = 0.0, []
    for _ in range(8):
        now = health.of(T).open_until
        health.of(T).probe(now)
        health.failed(T, now, RESET)
        waits.append(health.of(T).open_until - now)

    assert waits[:3] == [2 * COOL_DOWN_S, 4 * COOL_DOWN_S, 8 * COOL_DOWN_S]
    assert waits[-1] == COOL_DOWN_MAX_S


def test_a_probe_nobody_hears_of_again_is_forgotten():
    health = broken(0.0)
    health.of(T).probe(20.0)

    assert health.of(T).may_be_asked(20.0 + PROBE_S)
    health.of(T).probe(200.0)
    health.released(T)
    assert health.of(T).may_be_asked(200.1)


def test_a_limit_the_provider_sets_itself_is_kept_to():
    """429 with Retry-After: not asked before that, whatever else; without one it is a failure like others."""
    health = Health()
    health.failed(T, 0.0, ErrorInfo("rate_limit_exceeded", "x", 429, retry_after_s=7.0))
    health.failed("mock/b", 0.0, ErrorInfo("rate_limit_exceeded", "x", 429))

    assert (health.of(T).state(6.9), health.of(T).state(7.0)) == ("open", "half-open")
    assert health.of("mock/b").state(0.0) == "closed"


@pytest.mark.parametrize("code", ["invalid_request", "context_length_exceeded", "model_not_found", "cancelled"])
def test_what_the_call_did_wrong_is_not_the_targets_fault(code: str):
    health = Health()
    for _ in range(50):
        health.failed(T, 0.0, ErrorInfo(code, "x", 400))

    assert T not in health.targets


def test_latency_follows_what_is_seen_and_becomes_unknown():
    health = Health()
    for _ in range(20):
        health.succeeded(T, 0.0, 1.0)
    for second in range(20):
        health.succeeded(T, float(second), 0.1)

    found = health.of(T)
    assert 0.1 <= (found.latency_s(20.0) or 0) < 0.12
    assert found.latency_s(20.0 + STALE_S) is None


def test_an_old_latency_gives_way_to_a_new_one():
    """After ten half-lives the average is as good as the newest time."""
    health = Health()
    health.succeeded(T, 0.0, 5.0)
    health.succeeded(T, 10 * HALF_LIFE_S, 0.1)

    assert (health.of(T).latency_s(10 * HALF_LIFE_S) or 0) < 0.11


def test_percentiles_need_enough_times():
    health = Health()
    for i in range(FEW - 1):
        health.succeeded(T, 0.0, i / 10)
    assert health.of(T).percentile_s(0.95) is None
    for i in range(100):
        health.succeeded(T, 0.0, i / 100)

    assert 0.9 <= (health.of(T).percentile_s(0.95) or 0) <= 0.99


def test_the_number_of_targets_watched_is_bounded():
    health = Health()
    for i in range(MAX_HEALTH + 10):
        health.succeeded(f"mock/{i}", float(i))

    assert len(health.targets) <= MAX_HEALTH
    assert f"mock/{MAX_HEALTH + 9}" in health.targets
    assert "mock/0" not in health.targets
