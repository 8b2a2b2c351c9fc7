"""The SQL of the SQLite store: everything that happens on its threads, synchronous and with no event loop in sight.

``frames`` has rows of a few tokens or a few hundred each. Its rowid is the number of the stream and the offset of the
row's first frame in one integer, so a stream lies together in one B-tree and the row that holds an offset is found by one
seek. What was written last is in the log beside it (``sqlite_log``), not yet in its place:

    commit -> log -> [ settle ] -> frames      key = stream number << 32 | first offset, data = MessagePack array
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from streamward.durable.sqlite_log import LOG_SCHEMA, Contents, Part, key_of, key_range, offset_of, pack, settle
from streamward.durable.store import (
    MAX_TAIL_BYTES,
    Batch,
    Ending,
    KeyReused,
    Limits,
    NewStream,
    Offset,
    StreamState,
    Write,
    check_write,
    frames_gone,
    not_found,
)
from streamward.errors import Conflict, Overloaded, StreamwardError

BUSY_S = 5.0  # how long to wait for another process's commit; they take milliseconds
TRIM_TO = 0.75  # of the bound of a stream: a quarter at a time keeps trimming linear
ROWS_PER_STREAM = 16  # at least, of a stream at its bound: trimming goes by rows
CACHE_KIB = 16 << 10  # of pages, filled as needed: live streams' last pages stay in it, whichever streams write in between
CHECKPOINT_PAGES = 4000  # 16 MB of log: a page that fills up frame by frame goes into the file once, not ten times
SCHEMA_VERSION = 2

SCHEMA = """
CREATE TABLE IF NOT EXISTS streams (
  no INTEGER PRIMARY KEY AUTOINCREMENT,  -- never used twice: a forgotten stream's readers must not meet another one
  id TEXT NOT NULL UNIQUE, tenant TEXT NOT NULL, dialect TEXT NOT NULL, meta BLOB NOT NULL, chat TEXT,
  retention_s REAL NOT NULL, created REAL NOT NULL, owner TEXT NOT NULL, epoch INTEGER NOT NULL,
  earliest INTEGER NOT NULL DEFAULT 0,
  next INTEGER NOT NULL DEFAULT 0,       -- valid once ended; of a live stream its last frames say it
  size INTEGER NOT NULL DEFAULT 0,       -- likewise
  stop INTEGER NOT NULL DEFAULT 0, ending TEXT, ended REAL, result BLOB NOT NULL DEFAULT x'');
CREATE INDEX IF NOT EXISTS streams_live ON streams (owner) WHERE ending IS NULL;
CREATE INDEX IF NOT EXISTS streams_ended ON streams (ended) WHERE ending IS NOT NULL;
CREATE INDEX IF NOT EXISTS streams_stop ON streams (owner) WHERE stop = 1 AND ending IS NULL;
CREATE TABLE IF NOT EXISTS keys (
  tenant TEXT, key TEXT, body_hash TEXT NOT NULL, id TEXT NOT NULL, PRIMARY KEY (tenant, key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS keys_id ON keys (id);
CREATE TABLE IF NOT EXISTS chats (  -- the newest stream of each: when it is forgotten, no older one takes its place
  tenant TEXT, chat TEXT, id TEXT NOT NULL, PRIMARY KEY (tenant, chat)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS chats_id ON chats (id);
CREATE TABLE IF NOT EXISTS workers (id TEXT PRIMARY KEY, until REAL NOT NULL) WITHOUT ROWID;
"""

STATE = (
    "no, id, tenant, dialect, meta, chat, retention_s, created, owner, epoch, earliest, next, stop, ending, ended, result"
)


class Head(Struct, gc=False):
    """What the writer remembers of a stream it writes."""

    no: int
    epoch: int
    next: Offset
    size: int
    ending: Ending | None
    version: int
    """``data_version`` under which the row was last read."""


def connect(path: str, *, sync: Literal["NORMAL", "FULL"] = "NORMAL") -> sqlite3.Connection:
    """A connection for one thread at a time, in WAL mode, transactions by hand."""
    con = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None, check_same_thread=False)
    con.execute("PRAGMA journal_mode=WAL")
    con.execute(f"PRAGMA synchronous={sync}")
    con.execute("PRAGMA foreign_keys=OFF")
    con.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
    con.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    return con


def create_schema(path: str) -> None:
    """Make the file and its directory.

    Raises:
        Conflict: the file was written by a newer version.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    con = connect(path)
    try:
        (version,) = con.execute("PRAGMA user_version").fetchone()
        if version > SCHEMA_VERSION:
            raise Conflict(f"{path} has schema {version}, this version of streamward knows {SCHEMA_VERSION}")
        con.executescript(f"BEGIN IMMEDIATE; {SCHEMA} {LOG_SCHEMA} PRAGMA user_version={SCHEMA_VERSION}; COMMIT;")
    finally:
        con.close()


def to_state(contents: Contents, row: Sequence[Any]) -> StreamState:
    no, sid, tenant, dialect, meta, chat, retention_s, created, owner, epoch, earliest, end, stop, ending, ended, result = row
    return StreamState(
        id=sid, tenant=tenant, dialect=dialect, meta=meta, chat=chat, retention_s=retention_s, created=created,
        owner=owner, epoch=epoch, earliest=earliest,
        next=end if ending is not None else max(contents.end(no), earliest),
        stop_requested=bool(stop), ending=ending, ended=ended, result=result,
    )  # fmt: skip


# -- reading (any connection)


@contextmanager
def moment(contents: Contents) -> Iterator[sqlite3.Connection]:
    """Everything read inside is as of one moment."""
    con = contents.con
    con.execute("BEGIN")
    try:
        contents.refresh()
        yield con
    finally:
        con.execute("COMMIT")


def read_state(contents: Contents, stream_id: str) -> StreamState | None:
    with moment(contents) as con:
        row = con.execute(f"SELECT {STATE} FROM streams WHERE id=?", (stream_id,)).fetchone()  # noqa: S608
        return to_state(contents, row) if row else None


def read_active(contents: Contents, tenant: str, chat: str) -> StreamState | None:
    row = contents.con.execute("SELECT id FROM chats WHERE tenant=? AND chat=?", (tenant, chat)).fetchone()
    state = read_state(contents, row[0]) if row else None
    return state if state is not None and state.live else None


def read_frames(contents: Contents, stream_id: str, first: Offset) -> Batch | StreamwardError:
    with moment(contents) as con:
        row = con.execute("SELECT no, earliest, next, ending FROM streams WHERE id=?", (stream_id,)).fetchone()
        if row is None:
            return not_found(stream_id)
        no, earliest, end, ending = row
        if first < earliest:
            return frames_gone(first, earliest)
        if ending is None:
            end = max(contents.end(no), earliest)
        return Batch(first, contents.frames(no, first), end, ending)


def read_orphans(contents: Contents, now: float) -> list[StreamState]:
    rows = contents.con.execute(
        "SELECT s.id FROM streams s LEFT JOIN workers w ON w.id = s.owner "
        "WHERE s.ending IS NULL AND (w.until IS NULL OR w.until <= ?) LIMIT 1000",
        (now,),
    ).fetchall()
    states = (read_state(contents, stream_id) for (stream_id,) in rows)
    return [state for state in states if state is not None and state.live]


def read_held(contents: Contents) -> tuple[int, int, int]:
    """Streams, live streams, bytes of content."""
    with moment(contents) as con:
        streams, live, size = con.execute(
        "SELECT COUNT(*), COUNT(*) FILTER (WHERE ending IS NULL), COALESCE(SUM(size), 0) FROM streams"
    ).fetchone()
        numbers = con.execute("SELECT no FROM streams WHERE ending IS NULL").fetchall()
        return streams, live, size + sum(contents.size(no) for (no,) in numbers)


News: TypeAlias = tuple[list[tuple[str, Offset, Ending | None]], list[str]]


def read_news(contents: Contents, followed: Sequence[str], owner: str) -> News:
    """How far the *followed* streams are, and which live streams of *owner* were asked to stop."""
    heads: list[tuple[str, Offset, Ending | None]] = []
    con = contents.con
    if followed:
        with moment(contents):
            for stream_id in followed:
                row = con.execute("SELECT no, next, ending FROM streams WHERE id=?", (stream_id,)).fetchone()
                if row is not None:
                    heads.append((stream_id, row[1] if row[2] is not None else contents.end(row[0]), row[2]))
    stops = con.execute("SELECT id FROM streams WHERE owner=? AND ending IS NULL AND stop=1", (owner,)).fetchall()
    return heads, [stream_id for (stream_id,) in stops]


# -- writing (the writer's connection, inside its transaction)


def insert_stream(con: sqlite3.Connection, new: NewStream, owner: str, now: float) -> tuple[str, bool]:
    """Create *new*; its id and True, or the id its idempotency key stands for and False."""
    if new.idempotency_key is not None:
        known = con.execute(
            "SELECT id, body_hash FROM keys WHERE tenant=? AND key=?", (new.tenant, new.idempotency_key)
        ).fetchone()
        if known is not None:
            if known[1] != new.body_hash:
                raise KeyReused("this idempotency key was used with another body: use a new key")
            return known[0], False
    try:
        con.execute(
            "INSERT INTO streams (id, tenant, dialect, meta, chat, retention_s, created, owner, epoch) "
            "VALUES (?,?,?,?,?,?,?,?,1)",
            (new.id, new.tenant, new.dialect, new.meta, new.chat, new.retention_s, now, owner),
        )
    except sqlite3.IntegrityError as exc:
        raise Conflict(f"stream {new.id} exists already") from exc
    if new.idempotency_key is not None:
        con.execute("INSERT INTO keys VALUES (?,?,?,?)", (new.tenant, new.idempotency_key, new.body_hash, new.id))
    if new.chat is not None:
        con.execute("INSERT OR REPLACE INTO chats VALUES (?,?,?)", (new.tenant, new.chat, new.id))
    return new.id, True


def update_claim(con: sqlite3.Connection, stream_id: str, epoch: int, owner: str) -> bool:
    return bool(
        con.execute(
            "UPDATE streams SET epoch=epoch+1, owner=? WHERE id=? AND epoch=? AND ending IS NULL",
            (owner, stream_id, epoch),
        ).rowcount
    )


def delete_due(con: sqlite3.Connection, now: float) -> int:
    """Forget streams past their retention. Everything is settled."""
    due = con.execute("SELECT no, id FROM streams WHERE ending IS NOT NULL AND ended + retention_s <= ?", (now,)).fetchall()
    for no, stream_id in due:
        con.execute("DELETE FROM frames WHERE key BETWEEN ? AND ?", key_range(no))
        con.execute("DELETE FROM keys WHERE id=?", (stream_id,))
        con.execute("DELETE FROM chats WHERE id=?", (stream_id,))
        con.execute("DELETE FROM streams WHERE no=?", (no,))
    con.execute("DELETE FROM workers WHERE until < ?", (now - 3600,))
    return len(due)


def evict_ended(con: sqlite3.Connection, excess: int) -> int:
    """Drop the content of ended streams, the longest ended first, until *excess* bytes are gone. Everything is settled."""
    evicted = 0
    rows = con.execute("SELECT no, size FROM streams WHERE ending IS NOT NULL AND size > 0 ORDER BY ended").fetchall()
    for no, size in rows:
        if excess <= 0:
            break
        con.execute("DELETE FROM frames WHERE key BETWEEN ? AND ?", key_range(no))
        con.execute("UPDATE streams SET size=0, earliest=next WHERE no=?", (no,))
        excess -= size
        evicted += 1
    return evicted


class FrameWriter:
    """Checks and stores writes. Remembers the heads of the streams it writes; where another connection has committed
    since, it looks whether they are still its own before it goes on with them."""

    def __init__(self, con: sqlite3.Connection, limits: Limits, log_bytes: int) -> None:
        self.con = con
        self.contents = Contents(con)
        self.limits = limits
        self.log_bytes = log_bytes
        self.live_bytes = 0
        self._heads: dict[str, Head] = {}
        self._version = -1
        self._parts: list[Part] = []
        self._log_bytes = 0  # written by us since all was settled

    def begin(self) -> None:
        self.con.execute("BEGIN IMMEDIATE")
        # Changes whenever another connection commits: only then can a stream of ours have been claimed.
        (self._version,) = self.con.execute("PRAGMA data_version").fetchone()

    def commit(self) -> None:
        self.flush()
        if self._log_bytes > self.log_bytes:
            self.settle()
        self.con.execute("COMMIT")

    def rollback(self) -> None:
        self._heads.clear()
        self._parts.clear()
        self.contents.forget()
        if self.con.in_transaction:
            self.con.execute("ROLLBACK")

    def forget(self) -> None:
        """Something else in this transaction may have changed streams."""
        self._heads.clear()

    def created(self, stream_id: str) -> None:
        """This transaction has made the stream: nothing needs to be read before its first frame."""
        (no,) = self.con.execute("SELECT no FROM streams WHERE id=?", (stream_id,)).fetchone()
        self._heads[stream_id] = Head(no, 1, 0, 0, None, self._version)

    def add(self, write: Write, now: float) -> StreamwardError | None:
        head = self._heads.get(write.id)
        if head is None or (head.version != self._version and not self._still(head)):
            head = self._load(write.id)
        if head is None:
            return not_found(write.id)
        verdict = check_write(write, head.epoch, head.next, head.ending)
        if verdict is not None:
            return verdict if isinstance(verdict, StreamwardError) else None
        frames = write.frames
        if frames:
            self._parts.append((head.no, head.next, frames))
            head.next += len(frames)
            head.size += write.size
            if head.size > self.limits.stream_bytes:
                self._trim(head)
        if write.ending is not None:
            head.ending = write.ending
            self.con.execute(
                "UPDATE streams SET ending=?, result=?, ended=?, next=?, size=? WHERE no=?",
                (write.ending, write.result, now, head.next, head.size, head.no),
            )
            del self._heads[write.id]
        return None

    def flush(self) -> None:
        """Put the frames gathered so far into the transaction."""
        if self._parts:
            data = pack(self._parts)
            self.con.execute("INSERT INTO log (data) VALUES (?)", (data,))
            self._log_bytes += len(data)
            self._parts.clear()

    def settle(self) -> None:
        """Put everything in its place: rows of ``frames`` are then all there is."""
        self.flush()
        settle(self.con, min(MAX_TAIL_BYTES, self.limits.stream_bytes // ROWS_PER_STREAM))
        self._log_bytes = 0

    def check_room(self) -> None:
        """Refuse a new stream when live streams alone fill the store. Looked at by the sweep's figure, not by a scan."""
        if self.live_bytes > self.limits.total_bytes:
            raise Overloaded("live streams fill the store: try again later", retry_after_s=5)

    def _still(self, head: Head) -> bool:
        """Whether nobody has claimed the stream: then nobody else has written to it either."""
        row = self.con.execute("SELECT epoch FROM streams WHERE no=? AND ending IS NULL", (head.no,)).fetchone()
        head.version = self._version
        return row is not None and row[0] == head.epoch

    def _load(self, stream_id: str) -> Head | None:
        row = self.con.execute(
            "SELECT no, epoch, next, size, ending, earliest FROM streams WHERE id=?", (stream_id,)
        ).fetchone()
        if row is None:
            return None
        no, epoch, end, size, ending, earliest = row
        if ending is None:
            self.flush()
            self.contents.refresh()
            end, size = max(self.contents.end(no), earliest), self.contents.size(no)
        head = self._heads[stream_id] = Head(no, epoch, end, size, ending, self._version)
        return head

    def _trim(self, head: Head) -> None:
        """Drop the oldest rows of a stream past its bound; never the last one, which says where the stream stands."""
        self.settle()
        target = self.limits.stream_bytes * TRIM_TO
        keep = key_of(head.no, 0)
        for key, n, size in self.con.execute(
            "SELECT key, n, LENGTH(data) FROM frames WHERE key BETWEEN ? AND ? ORDER BY key", key_range(head.no)
        ).fetchall()[:-1]:
            if head.size <= target:
                break
            head.size -= size
            keep = key + n
        self.con.execute("DELETE FROM frames WHERE key >= ? AND key < ?", (key_of(head.no, 0), keep))
        self.con.execute("UPDATE streams SET earliest=? WHERE no=?", (offset_of(keep), head.no))
