"""Sending on SEQPACKET sockets from the event loop, descriptors included; what does not fit now waits."""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections import deque
from collections.abc import Callable

from streamward.functions import link

PACKETS_PER_TURN = 64  # then the loop gets a turn
TRY_LATER = frozenset((errno.EAGAIN, errno.ENOBUFS, errno.ETOOMANYREFS))


class Packets:
    """One end of a control socket, registered with the loop."""

    def __init__(
        self, sock: socket.socket, loop: asyncio.AbstractEventLoop, heard: Callable[[bytes], None],
        lost: Callable[[], None],
    ) -> None:  # fmt: skip
        sock.setblocking(False)
        self.sock = sock
        self.loop = loop
        self.heard = heard
        self.lost = lost
        self.waiting: deque[tuple[bytes, list[int]]] = deque()
        self.closed = False
        loop.add_reader(sock.fileno(), self.readable)

    def send(self, data: bytes, fds: list[int] | None = None) -> None:
        """Send one packet; the descriptors are closed here once they are on their way."""
        if self.closed:
            close_all(fds or [])
            return
        if self.waiting or not self.try_send(data, fds or []):
            self.waiting.append((data, fds or []))
            self.loop.add_writer(self.sock.fileno(), self.writable)

    def try_send(self, data: bytes, fds: list[int]) -> bool:
        try:
            if fds:
                socket.send_fds(self.sock, [data], fds)
            else:
                self.sock.send(data)
        except OSError as exc:
            if exc.errno in TRY_LATER:
                return False
        close_all(fds)  # sent, or the peer is gone and will never need them
        return True

    def writable(self) -> None:
        while self.waiting:
            if not self.try_send(*self.waiting[0]):
                return
            self.waiting.popleft()
        self.loop.remove_writer(self.sock.fileno())

    def readable(self) -> None:
        for _ in range(PACKETS_PER_TURN):
            try:
                data = self.sock.recv(link.PACKET_SIZE)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                self.lost()
                return
            self.heard(data)
            if self.closed:
                return

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        self.loop.remove_reader(self.sock.fileno())
        self.loop.remove_writer(self.sock.fileno())
        self.sock.close()
        while self.waiting:
            close_all(self.waiting.popleft()[1])


def close_all(fds: list[int]) -> None:
    for fd in fds:
        os.close(fd)


def packet_pair() -> tuple[socket.socket, socket.socket]:
    """A SEQPACKET pair with the largest buffers the system allows."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for sock in (ours, theirs):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4 << 20)
    return ours, theirs
