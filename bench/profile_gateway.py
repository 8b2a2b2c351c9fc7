"""Where the gateway's CPU goes: run one scenario against it under a profiler, and print what to look at.

    python bench/profile_gateway.py --scenario paced --with perf
    python bench/profile_gateway.py --scenario small --with cprofile

perf      needs `perf` and the right to use it; kernel and C functions, no Python names: how much is system calls
py-spy    needs `py-spy` on PATH; Python lines with C below them, a flame graph in bench/results/
cprofile  needs nothing; calls and times by function, two to four times slower: counts are exact, shares are not
strace    needs `strace`; system calls by number: one read and one write per paced event is the floor

Figures under a profiler are never figures for the table.
"""

from __future__ import annotations

import argparse
import pstats
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from harness.measure import build_tools, load_command, mock_upstream, run_load, warm_up
from harness.process import Cores, cpu_s, stop, tree
from harness.scenarios import SCENARIOS
from harness.targets import BENCH, TARGETS, Place, Streamward

SCENARIO_NAMES = [one.name for one in SCENARIOS if not one.hold]
CPROFILE_LINES = 45


class ProfiledStreamward(Streamward):
    """The gateway started under cProfile; the file is written when it ends."""

    interrupt = True  # uvicorn passes the signal on after its shutdown: SIGTERM would end Python before the file is written

    def __init__(self, output: Path) -> None:
        self.output = output

    def command(self) -> tuple[str | Path, ...]:
        return (sys.executable, "-m", "cProfile", "-o", self.output, *super().command())


def attach(tool: str, pids: list[int], output: Path) -> list[str]:
    """The command that watches the running gateway until it gets SIGINT."""
    joined = ",".join(map(str, pids))
    return {
        "perf": ["perf", "record", "-q", "-g", "-p", joined, "-o", f"{output}.perf"],
        "py-spy": ["py-spy", "record", "--native", "-r", "500", "-p", str(pids[-1]), "-o", f"{output}.svg"],
        "strace": ["strace", "-c", "-f", "-o", f"{output}.strace", *(part for pid in pids for part in ("-p", str(pid)))],
    }[tool]


def show_perf(output: Path) -> None:
    subprocess.run(
        ["perf", "report", "-i", f"{output}.perf", "--stdio", "--no-children", "-g", "none", "--percent-limit", "0.7"],
        check=False,
        stderr=subprocess.DEVNULL,
    )


def show_strace(output: Path) -> None:
    print(Path(f"{output}.strace").read_text())


def show_cprofile(output: Path) -> None:
    pstats.Stats(str(output)).sort_stats("tottime").print_stats(CPROFILE_LINES)


SHOW: dict[str, Callable[[Path], None]] = {
    "perf": show_perf,
    "py-spy": lambda output: print(f"open {output}.svg in a browser"),
    "strace": show_strace,
    "cprofile": show_cprofile,
}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--scenario", choices=SCENARIO_NAMES, default="paced")
    parser.add_argument("--target", choices=[name for name in TARGETS if name != "direct"], default="streamward")
    parser.add_argument("--with", dest="tool", choices=sorted(SHOW), default="cprofile")
    arguments = parser.parse_args()
    if arguments.tool != "cprofile" and shutil.which(arguments.tool) is None:
        parser.error(f"{arguments.tool} is not on PATH")
    if arguments.tool == "cprofile" and arguments.target != "streamward":
        parser.error("cprofile starts streamward only")
    build_tools()
    output = BENCH / "results" / f"profile-{arguments.target}-{arguments.scenario}-{arguments.tool}"
    output.parent.mkdir(exist_ok=True)
    target = ProfiledStreamward(output) if arguments.tool == "cprofile" else TARGETS[arguments.target]
    if reason := target.missing():
        parser.error(reason)
    scenario = next(one for one in SCENARIOS if one.name == arguments.scenario).scaled(target.share)

    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        cores, directory = Cores.split(), Path(scratch)
        mock_port = stack.enter_context(mock_upstream(cores, directory))
        running = stack.enter_context(target.start(Place(cores, directory, mock_port), scenario))
        warm_up(scenario, target, running, directory)
        if running.pid is None:
            raise AssertionError("the gateway is a process")
        command = load_command(scenario, target, running, directory, warmup=False)
        watcher = None
        if arguments.tool != "cprofile":
            watcher = subprocess.Popen(attach(arguments.tool, tree(running.pid), output))
        start = cpu_s(running.pid)
        load = run_load(command)
        used = cpu_s(running.pid) - start
        if watcher:
            stop(watcher, interrupt=True)
    SHOW[arguments.tool](output)
    count, unit = (load["ok"], "request") if scenario.unit == "us_per_request" else (load["events"], "event")
    print(f"{scenario.name}: {used * 1e6 / count:.1f} us per {unit} under {arguments.tool}, {load['errors_total']} errors")
    return 0


if __name__ == "__main__":
    sys.exit(main())
