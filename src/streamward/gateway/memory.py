"""How much memory this process has, and how much it may have before new calls are refused.

A container that runs over its limit is killed, with every stream in it. Refusing calls before that costs only these calls,
and they may be sent elsewhere.
"""

from __future__ import annotations

import os
from pathlib import Path

SHARE = 0.9
"""Of a container's limit: what runs needs room to end in."""

NO_LIMIT = 1 << 60
"""cgroup v1 says "none" by a number of this size."""

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
STATM = Path("/proc/self/statm")


def resident_bytes(statm: Path = STATM) -> int:
    """Resident memory of this process; 0 where the system does not tell (anywhere but Linux)."""
    try:
        return int(statm.read_bytes().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, ValueError, IndexError):
        return 0


def allowed_bytes(stated: int, workers: int, limits: tuple[Path, ...] = LIMITS) -> int:
    """What one of *workers* processes may have: *stated*, or its part of SHARE of the container's limit; 0 is no bound."""
    if stated:
        return stated
    for path in limits:
        try:
            limit = int(path.read_bytes())
        except (OSError, ValueError):  # not there, or "max"
            continue
        if limit < NO_LIMIT:
            return int(limit * SHARE) // workers
    return 0
