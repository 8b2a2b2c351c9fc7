"""One measured round: run the load tool against a running target and read what it cost."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harness.process import Cores, cpu_s, rss_kb, spawn, wait_ready
from harness.scenarios import Scenario
from harness.targets import BENCH, CLIENT_KEY, Running, Target

BIN = BENCH / "bin"


@dataclass(frozen=True)
class Round:
    """Figures of one round; *value* in the scenario's unit, None where there is none (direct has no CPU)."""

    value: float | None
    p99: float | None  # of the same unit, where the unit has one
    load: dict[str, Any]  # what the load tool printed
    cpu_s: float | None
    upstream_connections: int  # opened during the round: near zero when the target reuses them
    rss_kb: int | None

    @property
    def errors(self) -> int:
        return int(self.load["errors_total"])


def build_tools() -> None:
    """Compile the C tools when their sources are newer.

    Raises:
        RuntimeError: make or the compiler failed; holds what it said.
    """
    result = subprocess.run(["make", "-s", "-C", BENCH / "load"], capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"the load tools do not compile (Linux, make and a C compiler are needed):\n{result.stderr}")


@contextmanager
def mock_upstream(cores: Cores, directory: Path) -> Iterator[int]:
    """Run the mock; yields its port."""
    log = directory / "mock.log"
    with spawn([BIN / "mock_upstream"], cores=cores.others, log=log) as process:
        wait_ready(process, lambda: log.read_text().endswith("\n"), log=log)
        yield int(json.loads(log.read_text())["port"])


def mock_stats(port: int) -> dict[str, int]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/stats")
        stats: dict[str, int] = json.loads(connection.getresponse().read())
        return stats
    finally:
        connection.close()


def load_command(scenario: Scenario, target: Target, running: Running, directory: Path, *, warmup: bool) -> list[str]:
    if target.name == scenario.baseline and scenario.baseline_load is not None:
        scenario = scenario.baseline_load
    model = target.model_prefix + (scenario.warmup_model if warmup else scenario.model)
    body = directory / "body.json"
    body.write_bytes(scenario.body(model))
    # A warm-up for held streams must not open 5,000 connections: the pool's growth is part of what is measured.
    connections = min(scenario.connections, 64) if warmup and scenario.hold else scenario.connections
    command = [
        str(BIN / "load"), "--port", str(running.port), "--path", scenario.path, "--body", str(body),
        "--header", f"Authorization: Bearer {CLIENT_KEY}", "--connections", str(connections),
        "--ramp-ms", str(scenario.ramp_ms), "--terminal", scenario.terminal, "--content", scenario.content,
    ]  # fmt: skip
    for header in scenario.headers:
        command += ["--header", header]
    if warmup:
        return [*command, "--requests", str(scenario.warmup_requests)]
    if scenario.hold:
        return [*command, "--hold"]
    return [
        *command, "--requests", str(scenario.requests), "--think-ms", str(scenario.think_ms),
        "--events", str(scenario.events),
    ]  # fmt: skip


def warm_up(scenario: Scenario, target: Target, running: Running, directory: Path) -> None:
    """Fill pools, caches and lazily made objects.

    Raises:
        RuntimeError: a request failed; measuring would be pointless.
    """
    result = run_load(load_command(scenario, target, running, directory, warmup=True))
    if result["errors_total"]:
        raise RuntimeError(f"{target.name} failed in the warm-up of {scenario.name}: {causes(result)}")


def measure(scenario: Scenario, target: Target, running: Running, mock_port: int, directory: Path) -> Round:
    command = load_command(scenario, target, running, directory, warmup=False)
    before = mock_stats(mock_port)["connections_accepted"]
    if scenario.hold:
        return hold_round(scenario, command, running, mock_port, before)
    start = cpu_s(running.pid) if running.pid else None
    load = run_load(command)
    used = cpu_s(running.pid) - start if running.pid and start is not None else None
    value, p99 = figures(scenario, load, used)
    return Round(value, p99, load, used, opened_since(before, mock_port), rss_kb(running.pid) if running.pid else None)


def opened_since(before: int, mock_port: int) -> int:
    """Connections the mock accepted since, less the one that asks."""
    return mock_stats(mock_port)["connections_accepted"] - before - 1


def figures(scenario: Scenario, load: dict[str, Any], used_s: float | None) -> tuple[float | None, float | None]:
    if scenario.unit == "added_ttft_us":  # direct is taken off later, by whoever knows it
        return load["ttft_us"]["p50"], load["ttft_us"]["p99"]
    count = load["ok"] if scenario.unit == "us_per_request" else load["events"]
    return (used_s * 1e6 / count if used_s is not None and count else None), None


def hold_round(scenario: Scenario, command: list[str], running: Running, mock_port: int, before: int) -> Round:
    idle_kb = rss_kb(running.pid) if running.pid else 0
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        if process.stdin is None or process.stdout is None:
            raise AssertionError("pipes were asked for")
        line = process.stdout.readline()
        held = int(json.loads(line)["holding"]) if line else 0
        full_kb = rss_kb(running.pid) if running.pid else 0
        process.stdin.close()
        load = json.loads(process.stdout.read())
    value = (full_kb - idle_kb) / held if running.pid and held else None
    return Round(value, None, load, None, opened_since(before, mock_port), full_kb or None)


def run_load(command: list[str]) -> dict[str, Any]:
    """Exit code 1 means that responses failed: the caller judges the counts. 2 means that the tool could not run."""
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1):
        raise RuntimeError(f"load failed: {result.stderr.strip()}")
    output: dict[str, Any] = json.loads(result.stdout)
    return output


def causes(load: dict[str, Any]) -> str:
    """The error counts that are not zero, for people."""
    counts = [f"{count} x {cause}" for cause, count in load["errors"].items() if count]
    return ", ".join(counts) + (f" (status {load['bad_status']})" if load["bad_status"] else "")
