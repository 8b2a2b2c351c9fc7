"""A TCP hop in threads of its own, for tests that have no event loop: ``cut`` resets every connection that is open."""

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

RESET = struct.pack("ii", 1, 0)


class Hop:
    """Listens on ``port`` and passes everything on to *target*, both on loopback."""

    def __init__(self, target: int) -> None:
        self.target = target
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self.listener.getsockname()[1]
        self.open: set[socket.socket] = set()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.accept, name="hop")]
        self.threads[0].start()

    def accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:  # closed
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            with self.lock:
                self.open |= {client, server}
            for source, sink in ((client, server), (server, client)):
                thread = threading.Thread(target=self.copy, args=(source, sink), name="hop copy")
                self.threads.append(thread)
                thread.start()

    def copy(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(1 << 16):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        with self.lock:
            cut, self.open = self.open, set()
        for one in cut:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def close(self) -> None:
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.cut()
        for thread in self.threads:
            thread.join()


@contextlib.contextmanager
def hop(target: int) -> Iterator[Hop]:
    one = Hop(target)
    try:
        yield one
    finally:
        one.close()
