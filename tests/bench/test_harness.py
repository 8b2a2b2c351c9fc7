"""How the harness judges: medians, ratios, limits, what makes a run worthless; and what it reads from /proc."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

import sdk
from harness.measure import Round
from harness.process import Cores, cpu_s, rss_kb, stop, tree
from harness.report import ratio, verdict
from harness.runner import Result, broken, runs, subtract_direct
from harness.scenarios import SCENARIOS, Scenario
from harness.targets import TARGETS, Place, Streamward
from streamward.gateway.config import parse

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the harness reads /proc")

SCENARIO = {scenario.name: scenario for scenario in SCENARIOS}


def rounds(*values: float | None, p99: float | None = None, opened: int = 0, **errors: int) -> list[Round]:
    load: dict[str, Any] = {"errors_total": sum(errors.values()), "errors": errors, "bad_status": 0, "requests": 20_000}
    return [Round(value, p99, load, None, opened, None) for value in values]


def result(target: str, scenario: str = "small", *values: float | None, **more: Any) -> Result:
    return Result(SCENARIO[scenario], TARGETS[target], rounds(*values, **more))


def test_the_median_round_counts() -> None:
    """One disturbed round does not move the figure."""
    assert result("nginx", "small", 80.0, 900.0, 82.0).value == 82.0


def test_a_ratio_compares_with_nginx_in_the_same_scenario() -> None:
    ours = result("streamward", "small", 120.0)
    results = [ours, result("nginx", "small", 80.0), result("nginx", "json", 20.0)]

    assert ratio(ours, results) == 1.5


def test_without_nginx_a_ratio_limit_is_neither_kept_nor_missed() -> None:
    ours = result("streamward", "small", 120.0)

    assert verdict(ours, [ours]) == ("ratio <= 1.6", None)


@pytest.mark.parametrize(("ours", "kept"), [(128.0, True), (129.0, False)])
def test_a_ratio_limit(ours: float, kept: bool) -> None:
    measured = result("streamward", "small", ours)

    assert verdict(measured, [measured, result("nginx", "small", 80.0)])[1] is kept


@pytest.mark.parametrize(("p50", "p99", "kept"), [(299.0, 1999.0, True), (301.0, 100.0, False), (100.0, 2001.0, False)])
def test_a_limit_on_both_quantiles(p50: float, p99: float, kept: bool) -> None:
    measured = result("streamward", "ttft", p50, p99=p99)

    assert verdict(measured, [measured])[1] is kept


def test_limits_are_ours_only() -> None:
    nginx = result("nginx", "small", 80.0)

    assert verdict(nginx, [nginx]) == ("", None)


def test_time_to_first_token_is_counted_from_direct_of_the_same_round() -> None:
    direct = Result(SCENARIO["ttft"], TARGETS["direct"], rounds(100.0, 500.0, p99=600.0))
    ours = Result(SCENARIO["ttft"], TARGETS["streamward"], rounds(180.0, 590.0, p99=700.0))

    subtract_direct([direct, ours])

    assert [(one.value, one.p99) for one in ours.rounds] == [(80.0, 100.0), (90.0, 100.0)]


def test_failed_responses_make_a_result_worthless() -> None:
    assert broken(result("nginx", "small", 80.0, no_terminal=3)) == "responses failed: 3 x no_terminal"


def test_streamward_is_held_to_reusing_connections() -> None:
    """One connection for each request is a bug the figures alone would only hint at."""
    assert broken(result("streamward", "small", 80.0, opened=64)) is None
    assert broken(result("streamward", "small", 80.0, opened=65)) is not None
    assert broken(result("starlette-httpx", "small", 80.0, opened=65)) is None


def test_a_share_of_the_load_keeps_what_it_is_about() -> None:
    """Flat out: fewer requests from the same clients. Paced and held: fewer streams at the same pace."""
    flat, paced = SCENARIO["small"].scaled(0.1), SCENARIO["paced"].scaled(0.1)

    assert (flat.connections, flat.requests) == (64, 2_000)
    assert (paced.connections, paced.requests, paced.model) == (50, 50, "bench-250-20")


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_bodies_are_requests_with_the_model_of_the_target(scenario: Scenario) -> None:
    body = json.loads(scenario.body("mock/" + scenario.model))

    assert body["model"] == "mock/" + scenario.model
    assert body.get("stream", False) is scenario.stream


@contextmanager
def parent_with_busy_child() -> Iterator[subprocess.Popen[bytes]]:
    """A process whose child used more than 0.2 s of CPU, then says so and waits."""
    child = "import sys, time\nwhile time.process_time() < 0.25: pass\nprint(flush=True)\nsys.stdin.read()"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process
        assert process.stdin is not None
        process.stdin.close()


def test_cpu_and_memory_are_those_of_the_whole_tree() -> None:
    """nginx and multi-worker gateways do their work in children."""
    with parent_with_busy_child() as process:
        members, used, memory = tree(process.pid), cpu_s(process.pid), rss_kb(process.pid)

    assert len(members) == 2
    assert used >= 0.2
    assert memory > 1000


def test_cpu_of_children_that_ended_stays_counted() -> None:
    child = "import time\nwhile time.process_time() < 0.25: pass"
    parent = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {child!r}])\nprint(flush=True)\nsys.stdin.read()"
    with subprocess.Popen([sys.executable, "-c", parent], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        members, used = tree(process.pid), cpu_s(process.pid)
        stop(process)

    assert len(members) == 1
    assert used >= 0.2


def test_durable_streams_are_compared_with_our_own_plain_path() -> None:
    """nginx keeps nothing, so its figure says nothing here."""
    ours = result("streamward", "durable_sqlite", 30.0)
    results = [ours, result("streamward-plain", "durable_sqlite", 16.0), result("nginx", "durable_sqlite", 1.0)]

    assert ratio(ours, results) == 30.0 / 16.0
    assert verdict(ours, results) == ("ratio <= 2", True)


def test_time_to_first_token_of_durable_streams_is_counted_from_the_plain_path() -> None:
    plain = Result(SCENARIO["durable_redis_ttft"], TARGETS["streamward-plain"], rounds(300.0, p99=900.0))
    ours = Result(SCENARIO["durable_redis_ttft"], TARGETS["streamward"], rounds(950.0, p99=2_000.0))

    subtract_direct([ours, plain])

    assert (ours.value, ours.p99) == (650.0, 1_100.0)


def test_a_scenario_that_needs_redis_says_so_where_there_is_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "apt-get install redis-server" in (SCENARIO["durable_redis"].missing() or "")
    assert SCENARIO["durable_sqlite"].missing() is None


def test_the_plain_gateway_runs_only_where_it_is_compared_with() -> None:
    with_plain = {scenario.name for scenario in SCENARIOS if runs(TARGETS["streamward-plain"], scenario)}

    assert {"durable_memory", "durable_sqlite", "durable_redis"} <= with_plain
    assert not with_plain & {"small", "long", "paced", "json", "idle", "ttft"}
    assert not any(runs(TARGETS["nginx"], SCENARIO[name]) for name in with_plain)


@pytest.mark.parametrize("store", ["memory", "sqlite", "redis"])
def test_the_gateway_takes_the_configuration_of_durable_scenarios(store: str, tmp_path: Path) -> None:
    place = Place(Cores(frozenset(), frozenset()), tmp_path, 1)
    target = TARGETS["streamward"]
    assert isinstance(target, Streamward)

    config = parse(target.config(place, SCENARIO[f"durable_{store}"], "unix:///x"), "bench.toml", {})

    urls = {"memory": "memory", "sqlite": f"sqlite:{tmp_path}/streams.db", "redis": "unix:///x"}
    assert (config.streams.store, config.streams.durable) == (urls[store], "always")


def test_other_sdks_that_are_nowhere_are_skipped_with_the_reason(tmp_path: Path):
    nowhere = str(tmp_path / "python")

    assert sdk.python_for("streamward", "") == (sys.executable, "")
    assert sdk.python_for("no_such_sdk", "") == (
        "", "skipped: no_such_sdk is not installed here; give --python PATH, or --install",
    )  # fmt: skip
    assert sdk.python_for("no_such_sdk", nowhere) == ("", f"skipped: there is no {nowhere}")
    assert "neither installed here nor in" in sdk.python_for("no_such_sdk", sys.executable)[1]
