"""Connections passed from process to process: nothing lost of what was read, nothing left open of what was not taken."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import pytest

from streamward.dataplane import handover
from streamward.dataplane.handover import SIZE, Taker, give

Taken = tuple[socket.socket, bytes]


def pair() -> tuple[socket.socket, socket.socket]:
    """A client and its connection as a server has it."""
    return socket.socketpair()


async def test_the_taker_has_the_connection_and_what_was_read(tmp_path: Path):
    taken: asyncio.Queue[Taken] = asyncio.Queue()
    taker = Taker(tmp_path / "s", lambda *what: taken.put_nowait(what))
    early = os.urandom(3 << 20)
    client, connection = pair()
    with client:
        client.sendall(b"later")
        with connection:
            await asyncio.to_thread(give, tmp_path / "s", connection, early)
        got, read = await taken.get()
        with got:
            assert read == early
            assert got.recv(9) == b"later"
            got.sendall(b"answer")
        assert client.recv(9) == b"answer"
        assert client.recv(9) == b"", "nobody else holds it"
    taker.close()


CUT = {"nothing": b"", "cut": b"\0" * 3, "short": SIZE.pack(10) + b"12345", "huge": SIZE.pack(1 << 60)}


@pytest.mark.parametrize("sent", CUT.values(), ids=CUT)
async def test_what_is_cut_is_not_taken_and_not_kept_open(tmp_path: Path, sent: bytes):
    taken: list[Taken] = []
    taker = Taker(tmp_path / "s", lambda *what: taken.append(what))
    client, connection = pair()
    with client, socket.socket(socket.AF_UNIX) as channel:
        channel.connect(str(tmp_path / "s"))
        if sent:
            socket.send_fds(channel, [sent], [connection.fileno()])
        connection.close()
        channel.shutdown(socket.SHUT_WR)
        assert await asyncio.to_thread(channel.recv, 1) == b""
        assert await asyncio.to_thread(client.recv, 1) == b""
    taker.close()
    assert not taken


async def test_who_gives_to_nobody_keeps_the_connection(tmp_path: Path):
    client, connection = pair()
    with client, connection:
        with pytest.raises(FileNotFoundError):
            give(tmp_path / "s", connection, b"")
        taker = Taker(tmp_path / "s", lambda *_: None)
        taker.close()
        with pytest.raises(FileNotFoundError):
            give(tmp_path / "s", connection, b"")
        connection.sendall(b"still here")
        assert client.recv(20) == b"still here"


async def test_a_taker_that_hangs_is_waited_for_a_bounded_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(handover, "GIVE_S", 0.05)
    client, connection = pair()
    with client, connection, socket.socket(socket.AF_UNIX) as deaf:
        deaf.bind(str(tmp_path / "s"))
        deaf.listen()
        with pytest.raises(TimeoutError):
            await asyncio.to_thread(give, tmp_path / "s", connection, b"x" * 100)


async def test_a_socket_left_by_a_killed_process_is_replaced(tmp_path: Path):
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "s"))
    taken: asyncio.Queue[Taken] = asyncio.Queue()
    taker = Taker(tmp_path / "s", lambda *what: taken.put_nowait(what))
    client, connection = pair()
    with client, connection:
        await asyncio.to_thread(give, tmp_path / "s", connection, b"x")
        (await taken.get())[0].close()
    taker.close()
