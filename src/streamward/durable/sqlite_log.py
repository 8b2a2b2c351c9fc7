"""What was written since the last settling: a log in the order of commits, beside the frames in the order of streams.

A commit of fifty streams that each get a token would touch fifty places of ``frames``, a page of 4 KB for 200 bytes each.
So a commit is one row at the end of ``log``; once the log is ``LOG_BYTES`` long all of it moves into ``frames`` in one go,
a stream's tokens together. Readers look in both. Which rows of the log are new is told by their ``seq``, that all of it
has moved by the ``generation``: a reader keeps what it has read of the current one.

    log.data = MessagePack array of [stream number, first offset, [frame, ...]]
"""

from __future__ import annotations

import sqlite3
from typing import TypeAlias

import msgspec

from streamward.durable.store import MAX_TAIL_BYTES, MAX_TAIL_FRAMES, Offset

LOG_BYTES = 4 << 20  # settled past this: some 20,000 tokens, 20 ms of the writer thread; two pages of each of 500 streams
OFFSET_BITS = 32  # four billion frames a stream, two billion streams a file
MAX_ROWS = 64  # rows per INSERT: one statement gives up the interpreter lock once, not once a row

LOG_SCHEMA = """
CREATE TABLE IF NOT EXISTS frames (key INTEGER PRIMARY KEY, n INTEGER NOT NULL, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS log (seq INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS settled (generation INTEGER NOT NULL);
INSERT INTO settled SELECT 0 WHERE NOT EXISTS (SELECT * FROM settled);
"""

Part: TypeAlias = tuple[int, Offset, list[bytes]]
"""Number of a stream, offset of the first of these frames, the frames."""

pack = msgspec.msgpack.Encoder().encode
unpack = msgspec.msgpack.Decoder(list[bytes]).decode
unpack_log = msgspec.msgpack.Decoder(list[Part]).decode


class Contents:
    """The frames of all streams as one connection sees them. Call :meth:`refresh` first in every transaction."""

    def __init__(self, con: sqlite3.Connection) -> None:
        self.con = con
        self._generation = -1
        self._seen = 0
        self._parts: dict[int, list[tuple[Offset, list[bytes]]]] = {}  # of the log, by stream, in order

    def refresh(self) -> None:
        """Read what the log got since the last look. Costs what is new: at most about ``LOG_BYTES``."""
        (generation,) = self.con.execute("SELECT generation FROM settled").fetchone()
        if generation != self._generation:
            self.forget()
            self._generation = generation
        for seq, data in self.con.execute("SELECT seq, data FROM log WHERE seq > ?", (self._seen,)):
            self._seen = seq
            for no, first, frames in unpack_log(data):
                self._parts.setdefault(no, []).append((first, frames))

    def forget(self) -> None:
        """The transaction that was read in has not taken place."""
        self._generation = -1
        self._seen = 0
        self._parts.clear()

    def end(self, no: int) -> Offset:
        """The offset after the last frame of stream *no*; 0 when none is held."""
        parts = self._parts.get(no)
        if parts:
            first, frames = parts[-1]
            return first + len(frames)
        row = self.con.execute(
            "SELECT key, n FROM frames WHERE key BETWEEN ? AND ? ORDER BY key DESC LIMIT 1", key_range(no)
        ).fetchone()
        return offset_of(row[0]) + row[1] if row else 0

    def size(self, no: int) -> int:
        """Bytes of content of stream *no*."""
        (settled,) = self.con.execute(
            "SELECT COALESCE(SUM(LENGTH(data)), 0) FROM frames WHERE key BETWEEN ? AND ?", key_range(no)
        ).fetchone()
        return int(settled) + sum(sum(map(len, frames)) for _, frames in self._parts.get(no, ()))

    def frames(self, no: int, first: Offset) -> list[bytes]:
        """Frames of stream *no* from offset *first* on, which is held: as many as one read may bring, but one at least."""
        found: list[bytes] = []
        room = MAX_TAIL_BYTES
        (low,) = self.con.execute(
            "SELECT MAX(key) FROM frames WHERE key BETWEEN ? AND ?", (key_of(no, 0), key_of(no, first))
        ).fetchone()
        if low is not None:
            skip = first - offset_of(low)
            cursor = self.con.execute("SELECT data FROM frames WHERE key BETWEEN ? AND ? ORDER BY key", (low, key_range(no)[1]))
            for (data,) in cursor:
                room = take(found, unpack(data)[skip:], room)
                if room <= 0:
                    cursor.close()
                    return found
                skip = 0
        for start, frames in self._parts.get(no, ()):
            at = first + len(found)
            if start + len(frames) > at:
                room = take(found, frames[at - start :], room)
                if room <= 0:
                    break
        return found


def take(found: list[bytes], frames: list[bytes], room: int) -> int:
    """Move *frames* into *found* up to the bounds of one read; the room left, 0 or less when that was all."""
    for frame in frames:
        room -= len(frame)
        if found and (room < 0 or len(found) >= MAX_TAIL_FRAMES):
            return 0
        found.append(frame)
    return room


def settle(con: sqlite3.Connection, row_bytes: int) -> None:
    """Move the log into ``frames``, inside a transaction; rows of at most *row_bytes* unless one frame is longer."""
    streams: dict[int, Part] = {}
    for (data,) in con.execute("SELECT data FROM log ORDER BY seq"):
        for part in unpack_log(data):
            known = streams.setdefault(part[0], part)
            if known is not part:
                known[2].extend(part[2])
    if not streams:
        return
    rows: list[int | bytes] = []
    for no, first, frames in streams.values():
        at = 0
        while at < len(frames):
            row: list[bytes] = []
            take(row, frames[at : at + MAX_TAIL_FRAMES], row_bytes)
            rows += (key_of(no, first + at), len(row), pack(row))
            at += len(row)
    step = 3 * MAX_ROWS
    for start in range(0, len(rows), step):
        some = rows[start : start + step]
        con.execute(f"INSERT INTO frames VALUES {','.join(['(?,?,?)'] * (len(some) // 3))}", some)  # noqa: S608
    con.execute("DELETE FROM log")
    con.execute("UPDATE settled SET generation = generation + 1")


def key_of(no: int, offset: Offset) -> int:
    return no << OFFSET_BITS | offset


def offset_of(key: int) -> Offset:
    return key & ((1 << OFFSET_BITS) - 1)


def key_range(no: int) -> tuple[int, int]:
    return no << OFFSET_BITS, ((no + 1) << OFFSET_BITS) - 1
