"""The worker's end of one request: the link socket, for the event loop and for threads.

Writes go straight to the socket from whoever writes; there is no queue between user code and the socket, so a full
socket stops the producer. The socket stays non-blocking; threads wait with ``poll``.
"""

from __future__ import annotations

import asyncio
import select
import socket
from collections import deque
from collections.abc import Callable, Iterable

from streamward.functions import link

Pairs = Iterable[tuple[bytes, bytes]]


class Channel:
    """One request's link. ``closed`` is set when the front has closed its end."""

    def __init__(self, sock: socket.socket, loop: asyncio.AbstractEventLoop, *, has_body: bool) -> None:
        self.sock = sock
        self.loop = loop
        self.reader = link.FrameReader()
        self.arrived: list[bytes] = []
        self.body_ended = not has_body
        self.closed = False
        self.unsent: deque[bytes] = deque()
        self.unsent_bytes = 0
        self.waiting: list[Callable[[], None]] = []
        self.head_sent = False
        self.ended = False
        self.body_bytes = 0
        self.unpaced = 0

    def close(self) -> None:
        self.closed = True
        if self.unsent:
            self.stop_flushing()
        self.sock.close()

    # -- writing, from the loop

    def write(self, data: bytes) -> None:
        """Send *data* now; what the socket does not take is sent as it drains. Raises BrokenPipeError."""
        if self.closed:
            raise BrokenPipeError("the client has gone")
        if self.unsent:
            self.unsent.append(data)
            self.unsent_bytes += len(data)
            return
        try:
            sent = self.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            self.closed = True
            raise BrokenPipeError("the client has gone") from None
        if sent < len(data):
            self.unsent.append(data[sent:])
            self.unsent_bytes = len(data) - sent
            self.loop.add_writer(self.sock.fileno(), self.flush)

    def flush(self) -> None:
        """The socket takes bytes again."""
        while self.unsent and not self.closed:
            try:
                sent = self.sock.send(self.unsent[0])
            except BlockingIOError:
                return
            except OSError:
                self.closed = True
                break
            self.unsent_bytes -= sent
            if sent < len(self.unsent[0]):
                self.unsent[0] = self.unsent[0][sent:]
                return
            self.unsent.popleft()
        self.stop_flushing()

    def stop_flushing(self) -> None:
        if self.sock.fileno() >= 0:
            self.loop.remove_writer(self.sock.fileno())
        self.unsent.clear()
        self.unsent_bytes = 0
        waiting, self.waiting = self.waiting, []
        for callback in waiting:
            callback()

    def when_sent(self, callback: Callable[[], None]) -> None:
        """Call *callback* once nothing is left to send (or nobody to send it to)."""
        self.waiting.append(callback)

    async def drain(self) -> None:
        """Return once everything written has been taken by the socket. Raises BrokenPipeError."""
        if self.unsent:
            future = self.loop.create_future()
            self.when_sent(lambda: wake(future))
            await future
        if self.closed and not self.ended:
            raise BrokenPipeError("the client has gone")

    async def pace(self) -> None:
        """Between two chunks: wait for the socket if it is full, and let the loop run now and then.

        A generator that never waits would otherwise keep cancellation, and everybody else, from being heard.
        """
        self.unpaced += 1
        if self.unsent:
            await self.drain()
        elif self.unpaced >= PACE_CHUNKS:
            self.unpaced = 0
            await asyncio.sleep(0)

    # -- writing, from a thread

    def write_blocking(self, data: bytes) -> None:
        """Send all of *data*, waiting while the client does not read. Raises BrokenPipeError."""
        view = memoryview(data)
        while view:
            if self.closed:
                raise BrokenPipeError("the client has gone")
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                self.wait(select.POLLOUT)
            except OSError:
                self.closed = True
                raise BrokenPipeError("the client has gone") from None

    def wait(self, event: int) -> None:
        fd = self.sock.fileno()
        if fd < 0:
            raise BrokenPipeError("the client has gone")
        poll = select.poll()
        poll.register(fd, event)
        poll.poll(POLL_MS)

    # -- what is written

    def head(self, status: int, headers: Pairs, length: int | None = None) -> bytes:
        """The head frame; the caller sends it, alone or together with what follows."""
        self.head_sent = True
        return link.frame(link.HEAD, link.pack(link.Head(status, list(headers), length)))

    def body(self, data: bytes) -> bytes:
        self.body_bytes += len(data)
        return link.body_frames(data)

    def end(self) -> bytes:
        self.ended = True
        return link.frame(link.END)

    def whole(self, status: int, headers: Pairs, data: bytes) -> bytes:
        """A complete answer in one write."""
        return self.head(status, headers, len(data)) + (self.body(data) if data else b"") + self.end()

    # -- the request's body

    def take(self, data: bytes) -> None:
        """Sort what was read from the link into body pieces."""
        if not data:
            self.closed = True
            return
        for kind, payload in self.reader.feed(data):
            if kind == link.BODY:
                self.arrived.append(payload)
            elif kind == link.END:
                self.body_ended = True

    async def read(self) -> bytes:
        """The next piece of the body, b"" at its end. Raises ConnectionResetError when the client left."""
        while not self.arrived:
            if self.body_ended:
                return b""
            if self.closed:
                raise ConnectionResetError("the client left before its request was complete")
            try:
                self.take(self.sock.recv(link.READ_SIZE))
            except BlockingIOError:
                await self.readable()
            except OSError:
                self.closed = True
        return self.arrived.pop(0)

    async def readable(self) -> None:
        future = self.loop.create_future()
        fd = self.sock.fileno()
        if fd < 0:
            raise ConnectionResetError("the client left before its request was complete")
        self.loop.add_reader(fd, wake, future)
        try:
            await future
        finally:
            self.loop.remove_reader(fd)

    def read_blocking(self) -> bytes:
        """:meth:`read` for threads."""
        while not self.arrived:
            if self.body_ended:
                return b""
            if self.closed:
                raise ConnectionResetError("the client left before its request was complete")
            try:
                self.take(self.sock.recv(link.READ_SIZE))
            except BlockingIOError:
                self.wait(select.POLLIN)
            except OSError:
                self.closed = True
        return self.arrived.pop(0)

    async def read_all(self) -> bytes:
        pieces: list[bytes] = []
        while piece := await self.read():
            pieces.append(piece)
        return b"".join(pieces)


def wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


PACE_CHUNKS = 16
POLL_MS = 1000  # a thread looks again this often whether its channel was closed under it
