"""Log entries waiting for their drains, on disk, so that they survive a restart. SQLite; used from one thread.

Entries are kept once, each drain has a cursor. What every drain has taken is deleted; beyond the bounds the oldest go.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from collections.abc import Iterable
from pathlib import Path

MAX_AGE_MS = 24 * 3_600_000
TRIM_ROWS = 1000  # rows deleted at a time when the spool is full
MAX_SPOOLS = 64  # server workers sharing one state folder

SCHEMA = """
CREATE TABLE IF NOT EXISTS entries (seq INTEGER PRIMARY KEY AUTOINCREMENT, at_ms INTEGER, size INTEGER, body BLOB);
CREATE TABLE IF NOT EXISTS cursors (drain TEXT PRIMARY KEY, seq INTEGER NOT NULL);
"""


class Spool:
    """The spool of one server process. A second process on the same folder gets a file of its own."""

    def __init__(self, folder: Path, max_bytes: int, drains: Iterable[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.max_bytes = max_bytes
        self.lock, path = take_file(folder)
        self.db = sqlite3.connect(path, isolation_level=None)
        self.db.execute("PRAGMA journal_mode=WAL")
        self.db.execute("PRAGMA synchronous=NORMAL")
        self.db.executescript(SCHEMA)
        self.cursors: dict[str, int] = {}
        newest = self.newest()
        known = dict(self.db.execute("SELECT drain, seq FROM cursors").fetchall())
        for drain in drains:
            self.cursors[drain] = known.get(drain, newest)
            self.db.execute("INSERT OR IGNORE INTO cursors VALUES (?, ?)", (drain, newest))
        for gone in set(known) - set(self.cursors):
            self.db.execute("DELETE FROM cursors WHERE drain = ?", (gone,))
        self.bytes = self.db.execute("SELECT COALESCE(SUM(size), 0) FROM entries").fetchone()[0]

    def newest(self) -> int:
        """The highest number ever given out."""
        row = self.db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'entries'").fetchone()
        return int(row[0]) if row else 0

    def append(self, entries: list[tuple[int, bytes]]) -> dict[str, int]:
        """Store (timestamp in ms, body) pairs in one transaction; returns how many each drain lost to the bounds."""
        self.db.execute("BEGIN")
        self.db.executemany(
            "INSERT INTO entries (at_ms, size, body) VALUES (?, ?, ?)", ((at, len(body), body) for at, body in entries)
        )
        self.db.execute("COMMIT")
        self.bytes += sum(len(body) for _, body in entries)
        lost: dict[str, int] = {}
        while self.bytes > self.max_bytes:
            if not self.drop("seq <= (SELECT MIN(seq) FROM entries) + ?", TRIM_ROWS - 1, lost):
                break
        if entries:
            self.drop("at_ms < ?", entries[-1][0] - MAX_AGE_MS, lost)
        return lost

    def drop(self, where: str, argument: int, lost: dict[str, int]) -> int:
        """Delete old rows; count for each drain those it had not taken. *where* is one of the two texts above."""
        count, size = self.db.execute(
            f"SELECT COUNT(*), COALESCE(SUM(size), 0) FROM entries WHERE {where}",  # noqa: S608
            (argument,),
        ).fetchone()
        if not count:
            return 0
        for drain, cursor in self.cursors.items():
            query = f"SELECT COUNT(*) FROM entries WHERE {where} AND seq > ?"  # noqa: S608
            missed = self.db.execute(query, (argument, cursor)).fetchone()[0]
            if missed:
                lost[drain] = lost.get(drain, 0) + missed
        self.db.execute(f"DELETE FROM entries WHERE {where}", (argument,))  # noqa: S608
        self.bytes -= size
        return int(count)

    def read(self, drain: str, count: int) -> list[tuple[int, int, bytes]]:
        """The next *count* (number, timestamp, body) of *drain*, oldest first."""
        query = "SELECT seq, at_ms, body FROM entries WHERE seq > ? ORDER BY seq LIMIT ?"
        return self.db.execute(query, (self.cursors[drain], count)).fetchall()

    def advance(self, drain: str, seq: int) -> None:
        """*drain* has taken everything up to *seq*; what all have taken is deleted."""
        before = min(self.cursors.values())
        self.cursors[drain] = seq
        self.db.execute("BEGIN")
        self.db.execute("INSERT OR REPLACE INTO cursors VALUES (?, ?)", (drain, seq))
        done = min(self.cursors.values())
        if done > before:
            row = self.db.execute("SELECT COALESCE(SUM(size), 0) FROM entries WHERE seq <= ?", (done,)).fetchone()
            self.db.execute("DELETE FROM entries WHERE seq <= ?", (done,))
            self.bytes -= row[0]
        self.db.execute("COMMIT")

    def backlog(self, drain: str) -> int:
        return int(self.db.execute("SELECT COUNT(*) FROM entries WHERE seq > ?", (self.cursors[drain],)).fetchone()[0])

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
