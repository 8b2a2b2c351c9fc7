"""In which order a model's targets are tried.

A strategy is a function from targets to targets; the first of the result is asked first, the rest are its fallbacks.
Whatever the strategy, targets with an open circuit go last, and one call probes a target whose cool-down is over.
Randomness comes in as an argument.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Literal

from msgspec import Struct

from streamward.upstream.attempts import Target
from streamward.upstream.health import Health

Strategy = Literal["order", "weighted", "latency", "hedge"]
Sort = Literal["ttft", "tps", "cost"]

EXPLORE = 0.05
"""Share of calls that ask another target than the fastest first: one that became fast is found again."""


class Policy(Struct, frozen=True, kw_only=True):
    """How one configured model is routed, where that is more than trying its targets in order."""

    strategy: Strategy = "order"
    weights: tuple[float, ...] = ()
    """One per target; missing ones are 1."""
    hedge_after_s: float = 0.0
    """0: after the recent 95th percentile of the first target's time to first token."""
    continue_midstream: bool = False


PLAIN = Policy()


def arrange(
    targets: Sequence[Target], policy: Policy, health: Health, now: float, chance: random.Random
) -> list[Target]:  # fmt: skip
    """*targets* in the order to try them."""
    if policy.strategy == "weighted":
        ordered = weighted(targets, policy.weights, chance)
    elif policy.strategy == "latency":
        ordered = fastest(targets, health, now, chance)
    else:
        ordered = list(targets)
    return healthy_first(ordered, health, now)


def healthy_first(targets: list[Target], health: Health, now: float) -> list[Target]:
    """Targets with an open circuit last, the one that comes back soonest first among them.

    A half-open target keeps its place for one call, which probes it, if it would be asked first.
    """
    if not health.troubled or len(targets) == 1 or not any(target.name in health.troubled for target in targets):
        return targets
    able: list[Target] = []
    unable: list[Target] = []
    for target in targets:
        found = health.targets.get(target.name)
        (able if found is None or found.may_be_asked(now) else unable).append(target)
    unable.sort(key=lambda target: health.of(target.name).open_until)
    first = (able or unable)[0]
    if first.name in health.troubled:
        health.of(first.name).probe(now)
    return able + unable


def weighted(targets: Sequence[Target], weights: Sequence[float], chance: random.Random) -> list[Target]:
    """A random order in which each place goes to a remaining target with the odds of its weight; weight 0 comes last."""
    pairs = [(weights[i] if i < len(weights) else 1.0, target) for i, target in enumerate(targets)]
    # Efraimidis and Spirakis: sorting by u ** (1 / w) draws without replacement by weight.
    keyed = [(chance.random() ** (1 / weight) if weight > 0 else -1.0, target) for weight, target in pairs]
    return [target for _, target in sorted(keyed, key=lambda pair: pair[0], reverse=True)]


def fastest(targets: Sequence[Target], health: Health, now: float, chance: random.Random) -> list[Target]:
    """By recent time to first token, unknown ones first; sometimes another one leads, to keep the figures true."""
    ordered = sorted(targets, key=lambda target: expected_wait(target, health, now))
    if len(ordered) > 1 and chance.random() < EXPLORE:
        ordered.insert(0, ordered.pop(chance.randrange(1, len(ordered))))
    return ordered


def expected_wait(target: Target, health: Health, now: float) -> float:
    """Time to first token with failures priced in: a target that fails half of its calls has to be asked twice."""
    found = health.targets.get(target.name)
    latency = found.latency_s(now) if found is not None else None
    if found is None or latency is None:
        return 0.0
    return latency / max(1.0 - found.failure_rate(), 0.1)


def sorted_by(
    targets: Sequence[Target], sort: Sort, health: Health, now: float, cost_of: Callable[[Target], float | None]
) -> list[Target]:  # fmt: skip
    """As ``providerOptions.gateway.sort`` asks. What is not known comes last, in the order it had."""
    far = float("inf")
    if sort == "ttft":
        waits = {id(t): (found.latency_s(now) if (found := health.targets.get(t.name)) else None) for t in targets}
        return sorted(targets, key=lambda target: far if (wait := waits[id(target)]) is None else wait)
    if sort == "tps":
        return sorted(targets, key=lambda target: -(found.tps or 0.0) if (found := health.targets.get(target.name)) else 0.0)
    return sorted(targets, key=lambda target: far if (cost := cost_of(target)) is None else cost)
