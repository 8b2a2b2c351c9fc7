"""In which order targets are tried."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from streamward.errors import ErrorInfo
from streamward.upstream.attempts import Target
from streamward.upstream.demo import DemoUpstream
from streamward.upstream.health import COOL_DOWN_S, FAILURES_TO_OPEN, Health
from streamward.upstream.strategies import EXPLORE, Policy, arrange, healthy_first, sorted_by

UPSTREAM = DemoUpstream()
A, B, C = (Target(UPSTREAM, name) for name in "abc")
ALL = [A, B, C]
RESET = ErrorInfo("upstream_reset", "x", 502)


class Never(random.Random):
    """Chance that never explores."""

    def random(self) -> float:
        return 0.999


def models(targets: list[Target]) -> str:
    return "".join(target.model for target in targets)


def break_circuit(health: Health, target: Target, now: float = 0.0) -> None:
    for _ in range(FAILURES_TO_OPEN):
        health.failed(target.name, now, RESET)


def test_order_is_kept():
    assert models(arrange(ALL, Policy(), Health(), 0.0, random.Random(1))) == "abc"


def test_weighted_leads_by_weight_and_keeps_everybody_as_fallback():
    chance, firsts = random.Random(7), Counter[str]()
    for _ in range(4000):
        ordered = arrange(ALL, Policy(strategy="weighted", weights=(6, 3, 1)), Health(), 0.0, chance)
        assert sorted(models(ordered)) == ["a", "b", "c"]
        firsts[ordered[0].model] += 1

    assert [round(firsts[name] / 4000, 1) for name in "abc"] == [0.6, 0.3, 0.1]


def test_weight_nothing_is_a_fallback_only():
    chance = random.Random(7)
    orders = {models(arrange(ALL, Policy(strategy="weighted", weights=(1, 0)), Health(), 0.0, chance)) for _ in range(200)}

    assert orders == {"acb", "cab"}  # a weight that is not written is 1


def test_latency_asks_the_fastest_first():
    health = Health()
    for target, ttft in ((A, 0.9), (B, 0.1), (C, 0.5)):
        health.succeeded(target.name, 0.0, ttft)

    assert models(arrange(ALL, Policy(strategy="latency"), health, 1.0, Never())) == "bca"


def test_latency_tries_what_it_does_not_know():
    health = Health()
    health.succeeded(A.name, 0.0, 0.1)
    health.succeeded(B.name, 0.0, 0.2)

    assert models(arrange(ALL, Policy(strategy="latency"), health, 1.0, Never())) == "cab"


def test_latency_prices_failures_in():
    """0.2 s that works half of the time loses against 0.3 s that always works."""
    health = Health()
    for _ in range(4):
        health.succeeded(A.name, 0.0, 0.2)
        health.failed(A.name, 0.0, RESET)
        health.succeeded(B.name, 0.0, 0.3)

    assert models(arrange([A, B], Policy(strategy="latency"), health, 1.0, Never())) == "ba"


def test_latency_explores_now_and_then():
    health = Health()
    for target, ttft in ((A, 0.1), (B, 0.2), (C, 0.3)):
        health.succeeded(target.name, 0.0, ttft)
    chance = random.Random(3)

    firsts = Counter(arrange(ALL, Policy(strategy="latency"), health, 1.0, chance)[0].model for _ in range(4000))

    assert 0.5 * EXPLORE < (firsts["b"] + firsts["c"]) / 4000 < 2 * EXPLORE
    assert firsts["b"] > 0
    assert firsts["c"] > 0


@pytest.mark.parametrize("strategy", ["order", "latency", "hedge"])
def test_an_open_circuit_goes_last(strategy: str):
    """It is still tried when nobody else can."""
    health = Health()
    break_circuit(health, A)

    assert models(arrange(ALL, Policy(strategy=strategy), health, 1.0, Never())) == "bca"  # type: ignore[arg-type]


def test_one_call_probes_after_the_cool_down():
    health = Health()
    break_circuit(health, A)

    first = models(healthy_first(list(ALL), health, COOL_DOWN_S))
    second = models(healthy_first(list(ALL), health, COOL_DOWN_S))

    assert (first, second) == ("abc", "bca")


def test_with_all_circuits_open_the_next_to_come_back_is_asked():
    health = Health()
    for target, now in ((A, 3.0), (B, 1.0), (C, 2.0)):
        break_circuit(health, target, now)

    assert models(healthy_first(list(ALL), health, 4.0)) == "bca"


def test_a_probe_is_only_spent_on_the_target_asked_first():
    """B, half-open behind A, is not asked by this call: its probe is left for one that does."""
    health = Health()
    break_circuit(health, B)

    assert models(healthy_first(list(ALL), health, COOL_DOWN_S)) == "abc"
    assert health.of(B.name).may_be_asked(COOL_DOWN_S)


def test_sorted_by_what_is_known():
    health = Health()
    health.succeeded(B.name, 0.0, 0.5, 30.0)
    health.succeeded(C.name, 0.0, 0.2, 10.0)
    prices = {"b": 3.0, "a": 9.0}

    assert models(sorted_by(ALL, "ttft", health, 1.0, lambda _: None)) == "cba"
    assert models(sorted_by(ALL, "tps", health, 1.0, lambda _: None)) == "bca"
    assert models(sorted_by(ALL, "cost", health, 1.0, lambda target: prices.get(target.model))) == "bac"
