"""The log of the SQLite store: what is in it and what has moved is one stream to every reader, at every moment."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from streamward.durable import sqlite_file as sql
from streamward.durable.sqlite_log import Contents, settle
from streamward.durable.store import Limits, NewStream, Offset, Write


def writer(path: Path, log_bytes: int = 1 << 20) -> sql.FrameWriter:
    return sql.FrameWriter(sql.connect(str(path)), Limits(), log_bytes)


def create(frames: sql.FrameWriter, stream_id: str) -> None:
    frames.begin()
    sql.insert_stream(frames.con, NewStream(id=stream_id, tenant="t", dialect="d"), "w", 1.0)
    frames.created(stream_id)
    frames.commit()


def append(frames: sql.FrameWriter, stream_id: str, at: Offset, *data: bytes, epoch: int = 1) -> object:
    frames.begin()
    outcome = frames.add(Write(stream_id, epoch, at, list(data), len(b"".join(data)), lambda *_: None), 1.0)
    frames.commit()
    return outcome


@pytest.fixture
def path(tmp_path: Path) -> Path:
    sql.create_schema(str(tmp_path / "s.db"))
    return tmp_path / "s.db"


def read(contents: Contents, stream_id: str, first: Offset) -> list[bytes]:
    batch = sql.read_frames(contents, stream_id, first)
    assert isinstance(batch, sql.Batch), batch
    assert (batch.first, batch.next) == (first, 6)
    return batch.frames


@pytest.mark.parametrize("settled_after", range(7))
@pytest.mark.parametrize("looks_after", range(7))
def test_a_reader_sees_every_frame_wherever_it_is(path: Path, settled_after: int, looks_after: int):
    frames, contents = writer(path), Contents(sql.connect(str(path)))
    create(frames, "a")
    create(frames, "b")
    for number in range(6):
        append(frames, "a", number, b"%d" % number)
        append(frames, "b", number, b"other")
        if number + 1 == looks_after:
            sql.read_frames(contents, "a", 0)  # it keeps what it has read of the log
        if number + 1 == settled_after:
            frames.begin()
            frames.settle()
            frames.commit()
    for first in range(7):
        assert [b"%d" % number for number in range(first, 6)] == read(contents, "a", first)


def test_a_commit_is_one_row_and_settling_puts_a_streams_tokens_together(path: Path):
    frames = writer(path)
    for stream_id in ("a", "b"):
        create(frames, stream_id)
    for number in range(10):
        frames.begin()
        for stream_id in ("a", "b"):
            frames.add(Write(stream_id, 1, number, [b"token"], 5, lambda *_: None), 1.0)
        frames.commit()
    assert rows(frames.con, "SELECT COUNT(*) FROM log", "SELECT COUNT(*) FROM frames") == [(10,), (0,)]

    settle(frames.con, row_bytes=1000)

    assert rows(frames.con, "SELECT COUNT(*) FROM log", "SELECT COUNT(*) FROM frames") == [(0,), (2,)]
    assert rows(frames.con, "SELECT n FROM frames") == [(10,)]


def test_rows_are_cut_at_the_bound_given(path: Path):
    frames = writer(path)
    create(frames, "a")
    append(frames, "a", 0, b"12345", b"12345", b"123456789012", b"1")

    settle(frames.con, row_bytes=10)

    counts = frames.con.execute("SELECT n FROM frames ORDER BY key").fetchall()
    assert counts == [(2,), (1,), (1,)]


def test_the_log_settles_by_itself_past_its_bound(path: Path):
    frames = writer(path, log_bytes=100)
    create(frames, "a")
    for number in range(50):
        append(frames, "a", number, b"ten bytes.")
        assert len(b"".join(data for (data,) in frames.con.execute("SELECT data FROM log"))) <= 100


def test_another_connections_commit_does_not_make_a_writer_forget_where_it_is(path: Path):
    one, two = writer(path), writer(path)
    create(one, "a")
    create(two, "b")
    for number in range(3):
        assert append(one, "a", number, b"x") is None
        assert append(two, "b", number, b"y") is None
    two.begin()
    assert sql.update_claim(two.con, "a", 1, "w2")
    two.commit()

    assert "claimed by another" in str(append(one, "a", 3, b"late"))
    assert append(two, "a", 3, b"on", epoch=2) is None


def test_a_transaction_that_fails_leaves_no_trace_in_what_the_writer_remembers(path: Path):
    frames = writer(path)
    create(frames, "a")
    append(frames, "a", 0, b"0")
    frames.begin()
    frames.add(Write("a", 1, 1, [b"lost"], 4, lambda *_: None), 1.0)
    frames.flush()
    frames.contents.refresh()
    frames.rollback()

    assert append(frames, "a", 1, b"1") is None
    batch = sql.read_frames(Contents(sql.connect(str(path))), "a", 0)
    assert isinstance(batch, sql.Batch)
    assert batch.frames == [b"0", b"1"]


def test_a_file_of_the_version_before_is_read_on(tmp_path: Path):
    path = tmp_path / "old.db"
    con = sqlite3.connect(path)
    con.executescript(sql.SCHEMA + "CREATE TABLE frames (key INTEGER PRIMARY KEY, n INTEGER NOT NULL, data BLOB NOT NULL);")
    con.execute("PRAGMA user_version=1")
    con.execute(
        "INSERT INTO streams (no, id, tenant, dialect, meta, retention_s, created, owner, epoch) "
        "VALUES (1, 'a', 't', 'd', x'', 60, 1, 'w', 1)"
    )
    con.execute("INSERT INTO frames VALUES (?, 2, ?)", (1 << 32, sql.pack([b"0", b"1"])))
    con.commit()
    con.close()
    sql.create_schema(str(path))
    frames = writer(path)

    assert append(frames, "a", 2, b"2") is None
    batch = sql.read_frames(Contents(sql.connect(str(path))), "a", 1)
    assert isinstance(batch, sql.Batch)
    assert (batch.frames, batch.next) == ([b"1", b"2"], 3)


def rows(con: sqlite3.Connection, *queries: str) -> list[tuple[int, ...]]:
    return [con.execute(query).fetchone() for query in queries]
