"""Redis replies as values of the store, and the small commands that several places send. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from streamward.durable import redis_scripts as lua
from streamward.durable.redis_wire import Command
from streamward.durable.store import (
    MAX_TAIL_BYTES,
    Batch,
    Offset,
    StoreUnavailable,
    StreamState,
    frames_gone,
    not_found,
)
from streamward.errors import StreamwardError

PAGE = 500  # commands in one pipeline of the sweep


def notice(worker: str, kind: str, stream_id: str) -> Command:
    return ("XADD", lua.control_key(worker), "MAXLEN", "~", 1000, "*", kind, stream_id)


def ended_commands(stream_id: str, worker: str, forget_at: float) -> list[Command]:
    return [("ZADD", lua.ENDED, forget_at, stream_id), ("SREM", lua.live_key(worker), stream_id)]


def batch_of(stream_id: str, first: Offset, entries: Sequence[Any], state: Sequence[Any]) -> Batch | StreamwardError:
    if state[0] is None:
        return not_found(stream_id)
    stored, ending, earliest = int(state[0]), state[1].decode() if state[1] else None, int(state[2])
    if first < earliest:
        return frames_gone(first, earliest)
    frames: list[bytes] = []
    room = MAX_TAIL_BYTES
    for entry_id, fields in entries:
        if fields[0] != b"d":
            break
        if not frames and entry_id != b"0-%d" % (first + 1):  # a hole: entries were deleted behind our back
            return frames_gone(first, int(entry_id[2:]) - 1)
        room -= len(fields[1])
        if room < 0 and frames:
            break
        frames.append(fields[1])
    return Batch(first, frames, stored, ending)


def state_of(stream_id: str, fields: Sequence[bytes]) -> StreamState | None:
    if not fields:
        return None
    of = dict(zip(fields[::2], fields[1::2], strict=True))
    if b"epoch" not in of:
        return None
    ending = of.get(b"ending")
    return StreamState(
        id=stream_id, tenant=of[b"tenant"].decode(), dialect=of[b"dialect"].decode(), meta=of[b"meta"],
        chat=of[b"chat"].decode() if b"chat" in of else None, retention_s=float(of[b"retention"]),
        created=float(of[b"created"]), owner=of[b"owner"].decode(), epoch=int(of[b"epoch"]),
        earliest=int(of[b"earliest"]), next=int(of[b"next"]), stop_requested=of.get(b"stop") == b"1",
        ending=ending.decode() if ending else None,  # type: ignore[arg-type]
        ended=float(of[b"ended"]) if b"ended" in of else None, result=of.get(b"result", b""),
    )  # fmt: skip


def pages_of(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[start : start + PAGE] for start in range(0, len(ids), PAGE)]


def as_ms(seconds: float) -> int:
    return max(1, int(seconds * 1000))


def unavailable(exc: BaseException) -> StoreUnavailable:
    error = StoreUnavailable(f"Redis does not answer or refused a command: {exc!r:.200}")
    error.__cause__ = exc
    return error
