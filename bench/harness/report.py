"""Results for people (a table with ratios to nginx) and for machines (JSON with the facts of the machine)."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

from harness.process import Cores
from harness.runner import Result
from harness.scenarios import UNIT_NAMES
from harness.targets import BENCH, Target

COLUMNS = (
    "min .. max",
    "ratio",
    "limit",
    "requests/s",
    "first token ms p50 / p99",
    "gap ms p50 / p99",
    "clients",
    "new upstream conns",
)


def baseline_of(result: Result, results: Sequence[Result]) -> float | None:
    scenario = result.scenario
    same = (one for one in results if one.scenario.name == scenario.name and one.target.name == scenario.baseline)
    return next((one.value for one in same if not one.failure), None)


def ratio(result: Result, results: Sequence[Result]) -> float | None:
    if result.scenario.unit == "added_ttft_us":  # a difference of noisy values: its ratio says nothing
        return None
    base = baseline_of(result, results)
    return result.value / base if result.value is not None and base else None


def verdict(result: Result, results: Sequence[Result]) -> tuple[str, bool | None]:
    """The limit in words and whether it is kept; (\"\", None) where none applies or it cannot be told."""
    limit = result.scenario.limit
    if limit is None or result.target.name != "streamward":
        return "", None
    if limit.ratio is not None:
        found = ratio(result, results)
        return f"ratio <= {limit.ratio:g}", None if found is None else found <= limit.ratio
    words, kept = f"<= {limit.value:g}", None if result.value is None else result.value <= (limit.value or 0)
    if limit.p99 is not None:
        words += f", p99 <= {limit.p99:g}"
        kept = None if kept is None or result.p99 is None else kept and result.p99 <= limit.p99
    return words, kept


def number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.0f}" if abs(value) >= 100 else f"{value:.1f}"


def spread(result: Result) -> str:
    values = [one.value for one in result.rounds if one.value is not None]
    return f"{number(min(values))} .. {number(max(values))}" if len(values) > 1 else ""


def load_columns(result: Result) -> tuple[str, str, str]:
    """Requests per second, p50 / p99 of the time to first token, p50 / p99 of the gap between tokens."""
    rate = result.median(lambda one: one.load["ok"] / one.load["elapsed_s"] if one.load["ok"] else None)
    paced = not result.scenario.model.endswith("-0") and not result.scenario.hold
    return number(rate), quantiles_ms(result, "ttft_us"), quantiles_ms(result, "gap_us") if paced else ""


def quantiles_ms(result: Result, histogram: str) -> str:
    return " / ".join(
        decimal(median(one.load[histogram][quantile] / 1000 for one in result.rounds) if result.rounds else None)
        for quantile in ("p50", "p99")
    )


def decimal(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def print_tables(results: Sequence[Result], console: Console) -> None:
    for name in dict.fromkeys(result.scenario.name for result in results):
        group = [result for result in results if result.scenario.name == name]
        scenario = group[0].scenario
        title = f"{name}: {scenario.about} (ratio: to {scenario.baseline})"
        table = Table(title=title, title_justify="left", title_style="bold")
        table.add_column("target")
        for column in (UNIT_NAMES[scenario.unit], *COLUMNS):
            table.add_column(column, justify="right")
        for result in group:
            table.add_row(*row(result, results))
        console.print(table)
        for result in group:
            if result.failure:
                console.print(f"[red]{result.target.name}: {result.failure}[/red]")


def row(result: Result, results: Sequence[Result]) -> list[str]:
    words, kept = verdict(result, results)
    colour = {True: "green", False: "red", None: "yellow"}[kept]
    value = number(result.value) + (f" (p99 {number(result.p99)})" if result.p99 is not None else "")
    times = ratio(result, results)
    opened = result.median(lambda one: one.upstream_connections)
    is_direct = result.target.name == "direct"
    return [
        result.target.name,
        f"failed ({value})" if result.failure and result.rounds else "failed" if result.failure else value,
        spread(result),
        "-" if times is None else f"{times:.2f}",
        f"[{colour}]{words}[/{colour}]" if words else "",
        *load_columns(result),
        str(result.scenario.connections),
        "" if is_direct or opened is None else f"{opened:.0f}",
    ]


def machine() -> dict[str, Any]:
    model = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    cores = Cores.split()
    head = ["git", "rev-parse", "--short", "HEAD"]
    commit = subprocess.run(head, cwd=BENCH, capture_output=True, text=True, check=False)
    return {
        "cpu": model[1] if model else platform.machine(),
        "cores": os.cpu_count(),
        "pinned": {"gateway": sorted(cores.gateway), "load_and_mock": sorted(cores.others)} if cores.pinned else None,
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "kernel": platform.release(),
        "python": sys.version.split()[0],
        "load_average": os.getloadavg(),
        "commit": commit.stdout.strip(),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def print_summary(results: Sequence[Result], console: Console) -> None:
    """One line per target, one column per scenario, as Markdown: ready for docs/reference/benchmarks.md.

    Scenarios with a baseline of their own come after, one line each.
    """
    own = [result for result in results if result.scenario.baseline != "nginx"]
    results = [result for result in results if result not in own]
    if own:
        print_own_baselines(own, console)
    if not results:
        return
    scenarios = {result.scenario.name: result.scenario for result in results}
    console.print("\n| target | " + " | ".join(f"{name}: {UNIT_NAMES[one.unit]}" for name, one in scenarios.items()) + " |")
    console.print("|---|" + "---:|" * len(scenarios))
    for target in dict.fromkeys(result.target.name for result in results):
        cells = {result.scenario.name: cell(result, results) for result in results if result.target.name == target}
        console.print(f"| {target} | " + " | ".join(cells.get(name, "") for name in scenarios) + " |")


def print_own_baselines(results: Sequence[Result], console: Console) -> None:
    console.print("\n| scenario | unit | baseline | measured | limit |\n|---|---|---:|---:|---|")
    for result in results:
        if result.target.name != "streamward":
            continue
        words, kept = verdict(result, results)
        base = baseline_of(result, results)
        mark = {True: ", kept", False: ", missed", None: ""}[kept]
        console.print(
            f"| {result.scenario.name} | {UNIT_NAMES[result.scenario.unit]} | {number(base)} | {cell(result, results)} "
            f"| {words}{mark} |"
        )


def cell(result: Result, results: Sequence[Result]) -> str:
    if result.failure:
        return "failed"
    times = ratio(result, results)
    tail = f" / p99 {number(result.p99)}" if result.p99 is not None else ""
    return number(result.value) + tail + (f" ({times:.2f}x)" if times is not None else "")


def to_json(
    results: Sequence[Result], targets: Sequence[Target], skipped: dict[str, str], *, rounds: int, quick: bool
) -> dict[str, Any]:
    return {
        "machine": machine(),
        "rounds": rounds,
        "quick": quick,
        "targets": {target.name: {"about": target.about, "version": target.version()} for target in targets},
        "skipped": skipped,
        "results": [
            {
                "scenario": result.scenario.name,
                "target": result.target.name,
                "unit": result.scenario.unit,
                "value": result.value,
                "p99": result.p99,
                "baseline": result.scenario.baseline,
                "ratio": ratio(result, results),
                "limit_kept": verdict(result, results)[1],
                "clients": result.scenario.connections,
                "failure": result.failure,
                "rounds": [asdict(one) for one in result.rounds],
            }
            for result in results
        ],
    }
