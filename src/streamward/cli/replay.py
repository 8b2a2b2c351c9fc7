"""``streamward replay``: a capture as a server, or on standard output.

The body is byte-exact. Its reads keep their times, warped by ``--speed``; ``--recut`` cuts it anew, as hostile networks
do, where every piece comes at the time of its last byte.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import sys
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from streamward.cli.lint import read_file
from streamward.dataplane.exchange import render_fields, status_line
from streamward.errors import InvalidRequest
from streamward.wire.lint import Capture, Read

DROPPED = frozenset({"content-length", "transfer-encoding", "connection", "keep-alive", "content-encoding", "date"})
"""Headers of the recorded connection that say nothing about this one. Captures hold bodies without encoding."""

MAX_PIECE = 64
"""Upper bound of a piece of ``--recut random``: small enough to cut inside frames and characters."""

HEAD_LIMIT = 64 << 10


class Cut(Struct, frozen=True):
    """How a body is cut anew: pieces of *size* bytes, or of random sizes when it is 0."""

    size: int
    seed: int = 0


def parse_cut(text: str | None, seed: int) -> Cut | None:
    """``N`` or ``random``.

    Raises:
        InvalidRequest: neither.
    """
    if text is None:
        return None
    if text == "random":
        return Cut(0, seed)
    if text.isdigit() and int(text) > 0:
        return Cut(int(text))
    raise InvalidRequest(f"--recut is a number of bytes or random, not {text!r}")


def pieces(capture: Capture, cut: Cut | None) -> Iterator[Read]:
    """The body in the pieces to send, with their times."""
    if cut is None:
        yield from capture.reads
        return
    rng = random.Random(cut.seed)  # noqa: S311 - repeatable on purpose
    body = capture.body
    ends: list[tuple[int, float]] = []
    total = 0
    for read in capture.reads:
        total += len(read.data)
        ends.append((total, read.at_s))
    at, read_at = 0, 0
    while at < total:
        size = cut.size or rng.randint(1, MAX_PIECE)
        end = min(at + size, total)
        while ends[read_at][0] < end:
            read_at += 1
        yield Read(ends[read_at][1], body[at:end])
        at = end


class Player:
    """Plays one capture to whoever connects."""

    def __init__(self, capture: Capture, *, speed: float, cut: Cut | None) -> None:
        self.capture = capture
        self.speed = speed
        self.plan = list(pieces(capture, cut))
        self.played = asyncio.Event()
        self.tasks: set[asyncio.Task[None]] = set()

    async def until(self, began: float, at_s: float) -> None:
        """Wait for the moment *at_s* of the capture; at speed 0 everything is due at once."""
        if self.speed:
            wait = began + at_s / self.speed - asyncio.get_running_loop().time()
            await asyncio.sleep(max(wait, 0))

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        try:
            await take_request(reader)
            await self.answer(writer)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, asyncio.CancelledError):
            pass  # the client left, or sent no request
        finally:
            self.tasks.discard(task)
            self.played.set()
            writer.close()

    async def answer(self, writer: asyncio.StreamWriter) -> None:
        began = asyncio.get_running_loop().time()
        capture = self.capture
        fields = [(name, value) for name, value in capture.headers.items() if name not in DROPPED]
        if not capture.headers:
            fields = [("content-type", "text/event-stream")]
        fields += [("transfer-encoding", "chunked"), ("connection", "close")]
        await self.until(began, capture.head_at_s)
        writer.write(status_line(capture.status) + render_fields(fields) + b"\r\n")
        for piece in self.plan:
            await self.until(began, piece.at_s)
            writer.write(b"%x\r\n%b\r\n" % (len(piece.data), piece.data))
            await writer.drain()
            await asyncio.sleep(0)  # one piece, one write
        await self.until(began, capture.ended_at_s)
        if capture.ending == "complete":
            writer.write(b"0\r\n\r\n")
            await writer.drain()
        else:
            await writer.drain()
            writer.transport.abort()


async def take_request(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    for line in head.lower().split(b"\r\n"):
        name, _, value = line.partition(b":")
        if name == b"content-length":
            left = int(value)
            while left > 0:
                data = await reader.read(min(left, HEAD_LIMIT))
                if not data:
                    return
                left -= len(data)


async def serve(player: Player, host: str, port: int, *, once: bool) -> None:
    server = await asyncio.start_server(player.serve, host, port, limit=HEAD_LIMIT)
    try:
        address = server.sockets[0].getsockname()
        sys.stderr.write(f"streamward: replaying on http://{address[0]}:{address[1]} (any path)\n")
        sys.stderr.flush()
        if once:
            await player.played.wait()
        else:
            await asyncio.get_running_loop().create_future()
    finally:
        server.close()
        for task in list(player.tasks):
            task.cancel()


async def print_out(player: Player) -> None:
    began = asyncio.get_running_loop().time()
    for piece in player.plan:
        await player.until(began, piece.at_s)
        sys.stdout.buffer.write(piece.data)
        sys.stdout.buffer.flush()


def run_replay(
    file: Path, *, host: str, port: int, speed: float, recut: str | None, seed: int, stdout: bool, once: bool
) -> int:
    """Serve (or print) a capture until interrupted, or until one answer was given."""
    if speed < 0:
        raise InvalidRequest("--speed is 0 (at once) or more")
    capture = read_file(file)
    cut = parse_cut(recut, seed)

    async def play() -> None:
        player = Player(capture, speed=speed, cut=cut)
        await (print_out(player) if stdout else serve(player, host, port, once=once))

    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(play())
    return 0
