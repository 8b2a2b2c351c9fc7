"""The order of a run: for each scenario start its targets, warm up, alternate them over the rounds, take medians."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from statistics import median

from harness.measure import Round, causes, measure, mock_upstream, warm_up
from harness.process import Cores
from harness.scenarios import Scenario
from harness.targets import Place, Running, Target

Say = Callable[[str], None]


@dataclass
class Result:
    """All rounds of one target in one scenario."""

    scenario: Scenario
    target: Target
    rounds: list[Round] = field(default_factory=list)
    failure: str | None = None

    def median(self, pick: Callable[[Round], float | None]) -> float | None:
        values = [value for value in map(pick, self.rounds) if value is not None]
        return median(values) if values else None

    @property
    def value(self) -> float | None:
        return self.median(lambda one: one.value)

    @property
    def p99(self) -> float | None:
        return self.median(lambda one: one.p99)


def run_all(scenarios: Sequence[Scenario], targets: Sequence[Target], *, rounds: int, say: Say) -> list[Result]:
    cores = Cores.split()
    results: list[Result] = []
    with tempfile.TemporaryDirectory(prefix="streamward-bench-") as scratch, ExitStack() as stack:
        mock_port = stack.enter_context(mock_upstream(cores, Path(scratch)))
        for scenario in scenarios:
            chosen = [target for target in targets if runs(target, scenario)]
            if scenario.hold:  # memory of nothing is nothing
                chosen = [target for target in chosen if target.name != "direct"]
            results += run_scenario(scenario, chosen, Path(scratch), cores, mock_port, rounds=rounds, say=say)
    return results


def runs(target: Target, scenario: Scenario) -> bool:
    return target.everywhere if scenario.targets is None else target.name in scenario.targets


def run_scenario(
    scenario: Scenario, targets: Sequence[Target], scratch: Path, cores: Cores, mock_port: int, *, rounds: int, say: Say
) -> list[Result]:
    results = [Result(scenario.scaled(target.share), target) for target in targets]
    with ExitStack() as stack:
        running: dict[str, tuple[Running, Path]] = {}
        for number in range(scenario.rounds or rounds):
            # Another order each round: what the machine does meanwhile should not fall on the same target each time.
            turn = number % len(results) if results else 0
            for result in results[turn:] + results[:turn]:
                if result.failure:
                    continue
                say(f"{scenario.name}: {result.target.name}, round {number + 1}")
                try:
                    with ExitStack() as this_round:
                        if scenario.hold or result.target.name not in running:
                            keep = this_round if scenario.hold else stack
                            running[result.target.name] = started(result, scratch, cores, mock_port, keep)
                        process, directory = running[result.target.name]
                        result.rounds.append(measure(result.scenario, result.target, process, mock_port, directory))
                except RuntimeError as exc:
                    result.failure = str(exc)
    subtract_direct(results)
    for result in results:
        result.failure = result.failure or broken(result)
    return results


def broken(result: Result) -> str | None:
    """What makes the figures of a target that ran worthless: responses that failed, connections not reused."""
    allowed = min(result.scenario.connections, result.scenario.requests // 2)  # the pool may still grow a little
    for one in result.rounds:
        if one.errors:
            return f"responses failed: {causes(one.load)}"
        if result.target.reuses_connections and not result.scenario.hold and one.upstream_connections > allowed:
            return f"{one.upstream_connections} upstream connections opened for {one.load['requests']} requests: not reused"
    return None


def started(result: Result, scratch: Path, cores: Cores, mock_port: int, stack: ExitStack) -> tuple[Running, Path]:
    """Start the target in a directory of its own and warm it up; *stack* stops it."""
    directory = Path(tempfile.mkdtemp(prefix=f"{result.target.name}-", dir=scratch))
    running = stack.enter_context(result.target.start(Place(cores, directory, mock_port), result.scenario))
    warm_up(result.scenario, result.target, running, directory)
    return running, directory


def subtract_direct(results: Sequence[Result]) -> None:
    """Turn times to first token into times added to those of direct (or of our own baseline), round by round."""
    name = next((result.scenario.baseline for result in results), "")
    zero_point = "direct" if name == "nginx" else name
    direct = next((result for result in results if result.target.name == zero_point), None)
    if direct is None or direct.scenario.unit != "added_ttft_us":
        return
    base = list(direct.rounds)
    for result in results:
        pairs = zip(result.rounds, base, strict=False)  # a target that failed has fewer
        result.rounds = [
            replace(one, value=(one.value or 0) - (zero.value or 0), p99=(one.p99 or 0) - (zero.p99 or 0))
            for one, zero in pairs
        ]
