"""A client that shows the bytes: what was sent in which HTTP chunk, and whether the answer was complete."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

KEY = "sw-test-key"
PATIENCE_S = 15.0


class Answer:
    """One response. ``chunks`` are the HTTP chunks in order; ``complete`` is False when the connection ended before it."""

    def __init__(self, status: int, headers: list[tuple[str, str]]) -> None:
        self.status = status
        self.headers = headers
        self.chunks: list[bytes] = []
        self.complete = False

    @property
    def body(self) -> bytes:
        return b"".join(self.chunks)

    def get(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def error(self) -> dict[str, Any]:
        return self.json()["error"]

    @property
    def frames(self) -> list[Any]:
        """The data of every SSE frame; JSON decoded, ``[DONE]`` as a string, comments left out."""
        assert self.body == b"" or self.body.endswith(b"\n\n") or b"\n\n" not in self.body
        datas = [block[6:] for block in self.body.split(b"\n\n") if block.startswith(b"data: ")]
        return [data.decode() if data == b"[DONE]" else json.loads(data) for data in datas]

    @property
    def text(self) -> str:
        """What choice 0 said."""
        deltas = [
            choice["delta"]
            for item in self.frames
            if isinstance(item, dict)
            for choice in item.get("choices", ())
            if choice["index"] == 0
        ]
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def finish_reason(self) -> str | None:
        reasons = [
            choice["finish_reason"]
            for item in self.frames
            if isinstance(item, dict)
            for choice in item.get("choices", ())
            if choice["finish_reason"]
        ]
        assert len(reasons) < 2, "finished twice"
        return reasons[0] if reasons else None

    @property
    def stream_error(self) -> dict[str, Any] | None:
        """The error frame, which must be the last."""
        errors = [item["error"] for item in self.frames if isinstance(item, dict) and "error" in item]
        if not errors:
            return None
        assert len(errors) == 1
        assert self.frames[-1]["error"] == errors[0], "frames after the error"
        return errors[0]


class Connection:
    """One connection to the server."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Answer:
        async with asyncio.timeout(PATIENCE_S):
            raw = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = raw.decode("latin-1").split("\r\n")[:-2]
        pairs = [line.partition(": ")[::2] for line in lines]
        return Answer(int(first.split(" ")[1]), [(name.lower(), value) for name, value in pairs])

    async def body(self, answer: Answer, *, bodiless: bool = False, on_chunk: Callable[[], None] | None = None) -> None:
        """Read to the end of the body, or of the connection; *on_chunk* is called after every HTTP chunk."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                if bodiless or answer.status in (204, 304):
                    answer.complete = True
                elif answer.get("transfer-encoding") == "chunked":
                    while piece := await self.chunk():
                        answer.chunks.append(piece)
                        if on_chunk is not None:
                            on_chunk()
                    answer.complete = True
                elif (length := answer.get("content-length")) is not None:
                    answer.chunks.append(await self.reader.readexactly(int(length)))
                    answer.complete = True
                else:
                    answer.chunks.append(await self.reader.read())
            except (asyncio.IncompleteReadError, ConnectionError):
                pass

    async def chunk(self) -> bytes:
        """The next HTTP chunk; empty for the last one."""
        async with asyncio.timeout(PATIENCE_S):
            size = int((await self.reader.readuntil(b"\r\n")).strip(), 16)
            return (await self.reader.readexactly(size + 2))[:-2]

    async def answer(self, *, bodiless: bool = False, on_chunk: Callable[[], None] | None = None) -> Answer:
        answer = await self.head()
        while answer.status == 100:
            answer = await self.head()
        await self.body(answer, bodiless=bodiless, on_chunk=on_chunk)
        return answer

    async def closed(self) -> bool:
        """Wait until the server closes; True when nothing more came before."""
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read() == b""
            except ConnectionError:
                return True


@asynccontextmanager
async def connected(port: int, *, limit: int = 1 << 24) -> AsyncIterator[Connection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=limit)
    try:
        yield Connection(reader, writer)
    finally:
        writer.transport.abort()


def request(
    method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None, *, key: str | None = KEY
) -> bytes:
    """The bytes of a request."""
    fields = {"host": "localhost"}
    if key is not None:
        fields["authorization"] = f"Bearer {key}"
    if body is not None:
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    fields |= headers or {}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


def chat(model: str = "mock/m", *, stream: bool = True, **more: Any) -> dict[str, Any]:
    """A request body for ``/v1/chat/completions``."""
    return {"model": model, "messages": [{"role": "user", "content": "hi"}], "stream": stream, **more}


def chat_request(model: str = "mock/m", *, stream: bool = True, headers: dict[str, str] | None = None, **more: Any) -> bytes:
    return request("POST", "/v1/chat/completions", json.dumps(chat(model, stream=stream, **more)).encode(), headers)


async def ask(port: int, data: bytes, *, on_chunk: Callable[[], None] | None = None) -> Answer:
    """Send *data* on a connection of its own; the whole answer."""
    async with connected(port) as connection:
        await connection.send(data)
        return await connection.answer(bodiless=data.startswith(b"HEAD "), on_chunk=on_chunk)
