"""A client's connection given to another process on this machine, with what was read from it.

For one listening socket shared by several processes of which only one can serve some of the requests: whoever gets such a
request first passes the connection on, and is out of it; the client notices nothing. The file descriptor travels over a
Unix socket (``SCM_RIGHTS``); the other process answers one byte when it has taken over.

    client ── worker 2 ──(descriptor, head, start of the body)──> worker 1
      └──────────────────────────────────────────────────────────────┘
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Callable
from pathlib import Path

SIZE = struct.Struct("!Q")
GIVE_S = 5.0
BACKLOG = 1024
MAX_EARLY_BYTES = 64 << 20
TAKEN = b"+"


def give(path: Path, connection: socket.socket, early: bytes) -> None:
    """Pass *connection* and the bytes read from it to the process that listens at *path*; blocks, up to GIVE_S.

    Raises:
        FileNotFoundError, ConnectionError: nobody is there, or it has just ended: another try is due.
        OSError: it is not known to have been taken.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(GIVE_S)
        channel.connect(str(path))
        socket.send_fds(channel, [SIZE.pack(len(early))], [connection.fileno()])
        channel.sendall(early)
        if channel.recv(1) != TAKEN:
            raise ConnectionResetError("the process that serves this did not take the connection")


class Taker:
    """Takes connections at *path*: *take* is called on the event loop with each and the bytes read from it."""

    def __init__(self, path: Path, take: Callable[[socket.socket, bytes], None]) -> None:
        self.path = path
        self.take = take
        self.loop = asyncio.get_running_loop()
        path.unlink(missing_ok=True)  # of a process that was killed
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(str(path))
        self.listener.listen(BACKLOG)
        self.thread = threading.Thread(target=self.run, name="streamward-handover", daemon=True)
        self.thread.start()

    def run(self) -> None:
        while True:
            try:
                channel, _ = self.listener.accept()
            except OSError:
                return  # closed
            with channel, contextlib.suppress(OSError, RuntimeError):  # the giver keeps what was not taken
                channel.settimeout(GIVE_S)
                self.receive(channel)

    def receive(self, channel: socket.socket) -> None:
        head, descriptors, _, _ = socket.recv_fds(channel, SIZE.size, 1)
        if not descriptors:
            return
        connection = socket.socket(fileno=descriptors[0])
        try:
            size = SIZE.unpack(head)[0] if len(head) == SIZE.size else MAX_EARLY_BYTES + 1
            if size > MAX_EARLY_BYTES:
                raise OSError("not our protocol")
            early = bytearray()
            while len(early) < size:
                piece = channel.recv(min(size - len(early), 1 << 18))
                if not piece:
                    raise OSError("cut")
                early += piece
            connection.setblocking(False)
            self.loop.call_soon_threadsafe(self.take, connection, bytes(early))
        except BaseException:
            connection.close()
            raise
        channel.sendall(TAKEN)

    def close(self) -> None:
        """Take no more. Blocks shortly."""
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.listener.close()
        self.path.unlink(missing_ok=True)
        self.thread.join(GIVE_S)
