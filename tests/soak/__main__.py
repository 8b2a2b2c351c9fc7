"""``make soak SECONDS=600``: the crash test for as long as wanted, with a report. Exit code 1 when something was wrong.

    PYTHONPATH=tests python -m soak [--seconds 120] [--store redis,sqlite] [--clients 100] [--workers 3] [--seed N]
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from soak.crash import Plan, crash


def main() -> int:
    parser = argparse.ArgumentParser(prog="soak", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of load, for each store")
    parser.add_argument("--store", default="redis,sqlite")
    parser.add_argument("--clients", type=int, default=100, help="at once")
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--harm-every", type=float, default=6.0, metavar="S")
    given = parser.parse_args()
    wrong = 0
    for store in given.store.split(","):
        plan = Plan(store, given.seconds, given.clients, given.workers, given.seed, given.harm_every)
        with tempfile.TemporaryDirectory(prefix="streamward-soak-") as folder:
            report = asyncio.run(crash(plan, Path(folder)))
        print("\n".join(report.lines()), flush=True)
        wrong += len(report.problems)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
