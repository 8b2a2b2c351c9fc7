"""`make bench`: what streamward costs beside nginx and beside nothing, measured in one run on this machine.

    python bench/run.py [--quick] [--only small,paced] [--targets direct,nginx,streamward] [--rounds 3] [--check]

Exit codes: 0 measured (limits kept or not), 1 responses failed, a target broke, or, with --check, a limit was missed;
2 wrong usage or the tools cannot be built. What cannot run here is skipped and said. See README.md beside this file.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console

from harness.measure import build_tools
from harness.process import Cores
from harness.report import machine, print_summary, print_tables, to_json, verdict
from harness.runner import run_all
from harness.scenarios import SCENARIOS
from harness.targets import BENCH, TARGETS, Target

QUICK_SHARE = 0.1  # of the requests and open streams; enough to see a factor, not a per cent


SCENARIO_NAMES = [one.name for one in SCENARIOS]


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", type=names, metavar="SCENARIO,...", help=f"of {', '.join(SCENARIO_NAMES)}")
    parser.add_argument("--targets", type=names, metavar="TARGET,...", help=f"of {', '.join(TARGETS)}; direct always")
    parser.add_argument("--rounds", type=int, default=None, help="medians are taken over these (default 3, quick 1)")
    parser.add_argument("--quick", action="store_true", help="a tenth of the load, one round: a look, not a figure")
    parser.add_argument("--check", action="store_true", help="exit 1 when streamward misses a limit")
    parser.add_argument("--output", type=Path, default=BENCH / "results" / "latest.json")
    arguments = parser.parse_args()
    for chosen, known in ((arguments.only, set(SCENARIO_NAMES)), (arguments.targets, set(TARGETS))):
        if unknown := set(chosen or ()) - known:
            parser.error(f"unknown {', '.join(sorted(unknown))}; known: {', '.join(sorted(known))}")
    return arguments


def names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def available(chosen: list[str] | None) -> tuple[list[Target], dict[str, str]]:
    """The targets that can run, and for the others why not."""
    wanted = [target for name, target in TARGETS.items() if chosen is None or name in chosen or name == "direct"]
    reasons = {target.name: target.missing() for target in wanted}
    skipped = {name: reason for name, reason in reasons.items() if reason}
    return [target for target in wanted if target.name not in skipped], skipped


def main() -> int:
    arguments = parse_arguments()
    console = Console(width=None if sys.stdout.isatty() else 160)
    try:
        build_tools()
    except (RuntimeError, OSError) as exc:
        console.print(f"[red]{exc}[/red]")
        return 2
    targets, skipped = available(arguments.targets)
    for name, reason in skipped.items():
        console.print(f"[yellow]skipped {name}: {reason}[/yellow]")
    if not Cores.split().pinned:
        console.print("[yellow]one core only: gateway, mock and load share it, figures are not comparable[/yellow]")
    wanted = [one for one in SCENARIOS if arguments.only is None or one.name in arguments.only]
    absent = {one.name: reason for one in wanted if (reason := one.missing())}
    for name, reason in absent.items():
        console.print(f"[yellow]skipped {name}: {reason}[/yellow]")
    skipped |= absent
    scenarios = [one for one in wanted if one.name not in absent]
    if arguments.quick:
        scenarios = [one.scaled(QUICK_SHARE) for one in scenarios]
    rounds = arguments.rounds or (1 if arguments.quick else 3)

    with console.status("") as status:
        results = run_all(scenarios, targets, rounds=rounds, say=status.update)

    facts = machine()
    console.print("{cpu}, {cores} cores, Linux {kernel}, Python {python}, commit {commit}, {date}".format(**facts))
    for target in targets:
        console.print(f"  [bold]{target.name}[/bold] {target.version()}: {target.about}")
    print_tables(results, console)
    print_summary(results, Console(width=1000, highlight=False))
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    report = to_json(results, targets, skipped, rounds=rounds, quick=arguments.quick)
    arguments.output.write_text(json.dumps(report, indent=1) + "\n")
    console.print(f"written to {arguments.output}")

    missed = [result for result in results if verdict(result, results)[1] is False]
    return 1 if any(result.failure for result in results) or (arguments.check and missed) else 0


if __name__ == "__main__":
    sys.exit(main())
