"""Log entries waiting for their drains, on disk, so that they survive a restart. SQLite; used from one thread.

Entries are numbered and kept once, some hundred to a row; each drain has a cursor. Rows that every drain has taken are
deleted; beyond the bounds the oldest go.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

MAX_AGE_MS = 24 * 3_600_000
MAX_SPOOLS = 64  # server workers sharing one state folder

SCHEMA = """
CREATE TABLE IF NOT EXISTS packs (
    seq INTEGER PRIMARY KEY, last INTEGER NOT NULL, at_ms INTEGER NOT NULL, size INTEGER NOT NULL, bodies BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS cursors (drain TEXT PRIMARY KEY, seq INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS counter (last INTEGER NOT NULL);
"""


class Spool:
    """The spool of one server process. A second process on the same folder gets a file of its own.

    ``last`` is the number of the newest entry ever stored; a row holds the entries ``seq`` to ``last``.
    """

    def __init__(self, folder: Path, max_bytes: int, drains: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.max_bytes = max_bytes
        self.lock, path = take_file(folder)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)
        self.last = self.db.execute("SELECT COALESCE(MAX(last), 0) FROM counter").fetchone()[0]
        self.cursors: dict[str, int] = {}
        known = dict(self.db.execute("SELECT drain, seq FROM cursors").fetchall())
        for drain in drains:
            self.cursors[drain] = known.get(drain, self.last)
            self.db.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?)", (drain, self.last))
        for gone in set(known) - set(self.cursors):
            self.db.execute("DELETE FROM cursors WHERE drain = ?", (gone,))
        self.bytes = self.db.execute("SELECT COALESCE(SUM(size), 0) FROM packs").fetchone()[0]

    def append(self, at_ms: int, packs: list[tuple[int, bytes]]) -> dict[str, int]:
        """Store *packs* in one transaction, each some entries and their number: one a line, each with its line feed.

        *at_ms* is the time of the newest. Returns how many entries each drain lost to the bounds.
        """
        rows: list[tuple[int, int, int, int, bytes]] = []
        for count, lines in packs:
            rows.append((self.last + 1, self.last + count, at_ms, len(lines), lines))
            self.last += count
            self.bytes += len(lines)
        self.db.execute("BEGIN")
        self.db.executemany("INSERT INTO packs VALUES (?, ?, ?, ?, ?)", rows)
        self.db.execute("DELETE FROM counter")
        self.db.execute("INSERT INTO counter VALUES (?)", (self.last,))
        self.db.execute("COMMIT")
        lost: dict[str, int] = {}
        oldest = at_ms - MAX_AGE_MS
        while (row := self.db.execute("SELECT seq, last, at_ms, size FROM packs ORDER BY seq LIMIT 1").fetchone()) is not None:
            seq, last, stored_at, row_size = row
            if self.bytes <= self.max_bytes and stored_at >= oldest:
                break
            for drain, cursor in self.cursors.items():
                if cursor < last:
                    lost[drain] = lost.get(drain, 0) + last - max(cursor, seq - 1)
            self.db.execute("DELETE FROM packs WHERE seq = ?", (seq,))
            self.bytes -= row_size
        return lost

    def read(self, drain: str, count: int) -> list[tuple[int, bytes]]:
        """The next *count* (number, body) of *drain*, oldest first."""
        cursor = self.cursors[drain]
        found: list[tuple[int, bytes]] = []
        query = "SELECT seq, bodies FROM packs WHERE last > ? ORDER BY seq"
        for seq, bodies in self.db.execute(query, (cursor,)):
            lines = bodies.split(b"\n")[:-1]
            skipped = max(0, cursor + 1 - seq)
            found.extend(enumerate(lines[skipped:], seq + skipped))
            if len(found) >= count:
                break
        return found[:count]

    def advance(self, drain: str, seq: int) -> None:
        """*drain* has taken everything up to *seq*; rows that all have taken are deleted."""
        self.cursors[drain] = seq
        done = min(self.cursors.values())
        self.db.execute("BEGIN")
        self.db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (drain, seq))
        row = self.db.execute("SELECT COALESCE(SUM(size), 0) FROM packs WHERE last <= ?", (done,)).fetchone()
        self.db.execute("DELETE FROM packs WHERE last <= ?", (done,))
        self.db.execute("COMMIT")
        self.bytes -= row[0]

    def backlog(self, drain: str) -> int:
        """How many entries wait for *drain*."""
        cursor = self.cursors[drain]
        query = "SELECT seq, last FROM packs WHERE last > ?"
        return sum(last - max(cursor, seq - 1) for seq, last in self.db.execute(query, (cursor,)))

    def close(self) -> None:
        self.db.close()
        os.close(self.lock)


def take_file(folder: Path) -> tuple[int, Path]:
    """(lock, path) of the first spool file of *folder* that no other process uses."""
    for number in range(MAX_SPOOLS):
        path = folder / (f"drains-{number}.db" if number else "drains.db")
        lock = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            continue
        return lock, path
    raise OSError(f"{folder} holds {MAX_SPOOLS} spools that are all in use")
