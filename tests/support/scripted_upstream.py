"""An upstream that misbehaves on demand: a raw HTTP/1.1 server whose answers are scripts of bytes and faults.

A script is a list of steps: ``bytes`` are written as they are (one write, flushed), :class:`Fault` says how it goes on.
Every request is kept with its head, its body and the moment its connection was closed by the caller.
"""

import asyncio
import enum
import json
import ssl
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from socket import IPPROTO_TCP, SO_LINGER, SOL_SOCKET, TCP_NODELAY
from typing import Any

PATIENCE_S = 15.0


class Fault(enum.Enum):
    RESET = "close with RST"
    CLOSE = "close with FIN"
    STALL = "send nothing more until the caller is gone"
    GATE = "wait until the test opens the gate"


class Seen:
    """One request as it came, and what became of its connection."""

    def __init__(self, writer: asyncio.StreamWriter, head: bytes, gate: asyncio.Event) -> None:
        self.writer = writer
        self.gate = gate
        self.head = head
        self.body = b""
        self.gone = asyncio.Event()
        self.gone_at = 0.0
        self.written = 0

    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        for line in self.head.decode("latin-1").split("\r\n")[1:]:
            key, _, value = line.partition(":")
            if key.lower() == name:
                return value.strip()
        return None

    async def write(self, data: bytes) -> None:
        try:
            self.writer.write(data)
            self.written += len(data)
            await self.writer.drain()
        except ConnectionError:
            self.leave()
            raise

    def leave(self) -> None:
        """The caller is gone."""
        if not self.gone.is_set():
            self.gone_at = time.monotonic()
            self.gone.set()

    async def wait_gone(self) -> float:
        """When the caller closed the connection (``time.monotonic``)."""
        async with asyncio.timeout(PATIENCE_S):
            await self.gone.wait()
        return self.gone_at


Step = bytes | Fault
Script = Iterable[Step] | Callable[[Seen], Awaitable[None]]


class ScriptedUpstream:
    """Scripts are used one per request, in order; the last one stays."""

    def __init__(self) -> None:
        self.port = 0
        self.scheme = "http"
        self.scripts: list[Script] = []
        self.seen: list[Seen] = []
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()
        self.arrived = asyncio.Event()
        self.gate = asyncio.Event()

    @property
    def base_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/v1"

    def answers(self, *scripts: Script) -> None:
        self.scripts = list(scripts)

    async def request(self, number: int = 0) -> Seen:
        """The request with this number, as soon as it has come."""
        async with asyncio.timeout(PATIENCE_S):
            while len(self.seen) <= number:
                self.arrived.clear()
                await self.arrived.wait()
        return self.seen[number]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        writer.get_extra_info("socket").setsockopt(IPPROTO_TCP, TCP_NODELAY, 1)
        try:
            early: bytes | None = b""
            while early is not None:
                early = await self.serve_one(reader, writer, early)
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the caller is gone, or the test is over
        finally:
            self.tasks.discard(task)
            writer.close()

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, early: bytes) -> bytes | None:
        """Answer one request that begins with *early*; the first bytes of the next one, None when it is over."""
        head = early + await reader.readuntil(b"\r\n\r\n")
        seen = Seen(writer, head, self.gate)
        seen.body = await reader.readexactly(int(seen.header("content-length") or 0))
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        self.seen.append(seen)
        self.arrived.set()
        watch = asyncio.create_task(watch_close(reader, seen))
        try:
            goes_on = await play(script, seen)
            return await watch if goes_on else None
        finally:
            watch.cancel()


async def play(script: Script, seen: Seen) -> bool:
    """Run *script*; False when the connection is over."""
    if callable(script):
        await script(seen)
        return not seen.gone.is_set()
    for step in script:
        if isinstance(step, bytes):
            await seen.write(step)
        elif step is Fault.GATE:
            await seen.gate.wait()
        elif step is Fault.STALL:
            await seen.gone.wait()
            return False
        else:
            sock = seen.writer.get_extra_info("socket")
            if step is Fault.RESET:
                sock.setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
            return False
    return True


async def watch_close(reader: asyncio.StreamReader, seen: Seen) -> bytes | None:
    """Notice the caller's FIN or RST; else the first byte of its next request."""
    try:
        byte = await reader.read(1)
    except ConnectionError:
        byte = b""
    if byte:
        return byte
    seen.leave()
    return None


@asynccontextmanager
async def scripted_upstream(*scripts: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[ScriptedUpstream]:
    """A running upstream on a free port."""
    upstream = ScriptedUpstream()
    upstream.answers(*scripts)
    server = await asyncio.start_server(upstream.serve, "127.0.0.1", 0, ssl=tls, limit=1 << 20)
    upstream.port = server.sockets[0].getsockname()[1]
    upstream.scheme = "https" if tls else "http"
    try:
        yield upstream
    finally:
        server.close()
        for task in upstream.tasks:
            task.cancel()
        await asyncio.gather(*upstream.tasks)


# -- answers


def head(status: int = 200, *fields: str, content_type: str | None = "text/event-stream") -> bytes:
    lines = [f"HTTP/1.1 {status} Whatever", *fields]
    if content_type is not None:
        lines.append(f"content-type: {content_type}")
    return "\r\n".join(lines).encode() + b"\r\n\r\n"


SSE = head(200, "transfer-encoding: chunked")
LAST = b"0\r\n\r\n"


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def frame(value: Any) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode() + b"\n\n"


def delta(content: str | None = None, *, finish: str | None = None, **more: Any) -> bytes:
    """One ``chat.completion.chunk`` as a frame; *more* goes into the delta."""
    fields = {} if content is None else {"content": content}
    choice = {"index": 0, "delta": {**fields, **more}, "finish_reason": finish}
    return frame(chunk(choices=[choice]))


def chunk(**more: Any) -> dict[str, Any]:
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "m", **more}


USAGE = {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
ROLE = delta("", role="assistant")
FINISH = delta(finish="stop")
USAGE_CHUNK = frame(chunk(choices=[], usage=USAGE))
DONE = b"data: [DONE]\n\n"
HELLO = (ROLE, delta("Hel"), delta("lo"), FINISH, USAGE_CHUNK, DONE)


def stream(*frames: bytes, end: bool = True) -> list[Step]:
    """A streamed answer, one HTTP chunk and one write per frame."""
    return [SSE, *map(http_chunk, frames), *([LAST] if end else [])]


def document(value: Any, status: int = 200, *fields: str, content_type: str = "application/json") -> list[Step]:
    """An answer with a length; *value* is JSON unless it is bytes."""
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return [head(status, f"content-length: {len(body)}", *fields, content_type=content_type) + body]


COMPLETION = {
    "id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "usage": USAGE,
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Hello"}}],
}  # fmt: skip
