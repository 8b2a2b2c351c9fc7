"""Ids of requests."""

from __future__ import annotations

import os
import time

RANDOM_BYTES = 10
IDS_AT_ONCE = 128


class Ids:
    """Request ids as a ULID has them: 48 bits of milliseconds, 80 random bits, in hexadecimal.

    They grow with time, so that the rows and index entries of one batch lie side by side on disk: with ids at random
    each row costs the database a page of its own. Random bits are read in batches: a system call per request adds up.
    """

    def __init__(self) -> None:
        self.pool: list[str] = []

    def next(self) -> str:
        if not self.pool:
            text = os.urandom(RANDOM_BYTES * IDS_AT_ONCE).hex()
            start = f"sw_{time.time_ns() // 1_000_000:012x}"
            self.pool = [start + text[i : i + 2 * RANDOM_BYTES] for i in range(0, len(text), 2 * RANDOM_BYTES)]
        return self.pool.pop()
