"""A functions server in a process of its own, and a client that sees the bytes.

``serve(folder, files)`` writes a project, starts ``python -m streamward.functions.server`` on a free port and waits
until it is ready. ``Server.open`` returns a raw connection; ``Server.ask`` a whole answer.
"""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 20.0


@dataclass
class Answer:
    """One response as it came: ``complete`` says whether it ended as HTTP says it must."""

    status: int
    headers: list[tuple[str, str]]
    chunks: list[bytes] = field(default_factory=list)
    complete: bool = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    @property
    def text(self) -> str:
        return self.body.decode()

    def json(self):
        return json.loads(self.body)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name.lower()), None)


class Connection:
    """One client connection, read at the level of HTTP framing."""

    def __init__(self, port: int, timeout: float = TIMEOUT_S) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.file = self.sock.makefile("rb")

    def send(self, method: str, path: str, headers: dict[str, str] | None = None, body: bytes | None = None) -> "Connection":
        lines = [f"{method} {path} HTTP/1.1", "host: localhost"]
        lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
        if body is not None and "transfer-encoding" not in (headers or {}):
            lines.append(f"content-length: {len(body)}")
        self.sock.sendall("\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b""))
        self.method = method
        return self

    def head(self) -> Answer:
        first = self.file.readline()
        if not first:
            raise ConnectionResetError("closed before a status line")
        headers = []
        while (line := self.file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode("latin-1").partition(":")
            headers.append((name.lower(), value.strip()))
        answer = Answer(int(first.split()[1]), headers)
        return self.head() if answer.status == 100 else answer

    def chunk(self) -> bytes | None:
        """The next chunk of a chunked body; b"" is its proper end, None a cut."""
        try:
            size = self.file.readline()
            if not size.strip():
                return None
            data = self.file.read(int(size, 16))
            return data if self.file.read(2) == b"\r\n" else None
        except ConnectionResetError:
            return None

    def rest(self, answer: Answer) -> Answer:
        if self.method == "HEAD" or answer.status in (204, 304):
            answer.complete = True
        elif answer.get("transfer-encoding") == "chunked":
            while data := self.chunk():
                answer.chunks.append(data)
            answer.complete = data == b""
        else:
            length = int(answer.get("content-length") or -1)
            body = self.file.read(length)
            answer.chunks = [body] if body else []
            answer.complete = length < 0 or len(body) == length
        return answer

    def close(self) -> None:
        self.file.close()
        self.sock.close()


class Server:
    """A running functions server."""

    def __init__(self, folder: Path, process: subprocess.Popen, port: int) -> None:
        self.folder = folder
        self.process = process
        self.port = port
        self.opened: list[Connection] = []
        self.url = f"http://127.0.0.1:{port}"

    def open(self, method: str, path: str, headers=None, body: bytes | None = None, timeout: float = TIMEOUT_S) -> Connection:
        connection = Connection(self.port, timeout)
        self.opened.append(connection)
        return connection.send(method, path, headers, body)

    def ask(self, method: str, path: str, headers=None, body: bytes | None = None) -> Answer:
        connection = self.open(method, path, headers, body)
        try:
            return connection.rest(connection.head())
        finally:
            connection.close()

    def get(self, path: str, headers=None) -> Answer:
        return self.ask("GET", path, headers)

    def logs(self, request_id: str | None = None, since: str = "1h") -> list[dict]:
        """Retained entries, oldest first."""
        query = f"?since={since}" + (f"&request_id={request_id}" if request_id else "")
        text = self.get("/_streamward/logs" + query).text
        return [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: ")]

    def report(self, request_id: str) -> dict:
        """The report entry of a request, waited for."""
        return self.wait(lambda: next((e for e in self.logs(request_id) if e["type"] == "report"), None))

    def metric(self, name: str, **labels: str) -> float:
        wanted = {f'{key}="{value}"' for key, value in labels.items()}
        for line in self.get("/_streamward/metrics").text.splitlines():
            found = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line)
            if found and found[1] == name and wanted <= set((found[2] or "").split(",")):
                return float(found[3])
        return 0.0

    def wait(self, condition, seconds: float = TIMEOUT_S):
        """The first true value of *condition*, asked again and again until *seconds* have passed."""
        limit = time.monotonic() + seconds
        while not (value := condition()):
            if time.monotonic() > limit:
                raise AssertionError("the condition did not come true in time")
            time.sleep(0.01)
        return value

    def workers(self) -> list[int]:
        """Process ids of the workers (children of the child of the server)."""
        return [pid for child in children(self.process.pid) for pid in children(child)]

    def write(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def stop(self, number: int = signal.SIGTERM) -> int:
        for connection in self.opened:
            connection.close()
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(TIMEOUT_S)


def children(pid: int) -> list[int]:
    try:
        return [int(item) for item in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return []


def state(pid: int) -> str:
    """The state letter of a process, "" when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return ""


def alive(pid: int) -> bool:
    return state(pid) not in ("", "Z")


def run_serve(folder: Path, *arguments: str) -> tuple[Server, str]:
    """``streamward serve`` in *folder*, without a client key: the server, and what it said before it listened."""
    command = [sys.executable, "-c", "from streamward.cli.main import main; main()", "serve", ".", "--port", "0", *arguments]
    environ = {name: value for name, value in os.environ.items() if name != "STREAMWARD_API_KEY"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=folder, env=environ)
    said, found = b"", None
    while not found:
        line = process.stderr.readline()
        assert line, said.decode()
        said += line
        found = re.search(rb"listening on http://127\.0\.0\.1:(\d+)", line)
    return Server(folder, process, int(found[1])), said.decode()


@contextmanager
def serve(folder: Path, files: dict[str, str], command: str = "serve", env: dict[str, str] | None = None):
    """Run a server for *files* in *folder*."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    arguments = [sys.executable, "-m", "streamward.functions.server", str(folder), "--port", "0", "--command", command]
    log = (folder.parent / f"{folder.name}.log").open("wb")
    process = subprocess.Popen(
        [*arguments, "--log-format", "json"], stdout=log, stderr=subprocess.PIPE, env={**os.environ, **(env or {})}
    )
    line = process.stderr.readline().decode()
    found = re.search(r"listening on http://127\.0\.0\.1:(\d+)", line)
    if not found:
        process.kill()
        process.wait()
        log.close()
        with process.stderr:
            raise AssertionError(line + process.stderr.read().decode())
    server = Server(folder, process, int(found[1]))
    try:
        yield server
    finally:
        server.stop()
        process.stderr.close()
        log.close()
