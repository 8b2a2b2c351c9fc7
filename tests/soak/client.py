"""One client: starts a stream, is cut or slow, comes back to some worker in some way, until it has the ending."""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from soak.checker import Log
from soak.upstream import Model
from soak.wire import Blocks, Chunks

KEY = "sw-soak"
DIALECTS = ("chat", "messages", "responses")
ROUTES = {"chat": "/v1/chat/completions", "messages": "/v1/messages", "responses": "/v1/responses"}
ANSWER_S = 30.0  # for an answer's head: a store that is away is waited for 20 s
SILENCE_S = 40.0  # keep-alives come each second: longer silence is a stream that hangs
SLOW_BYTES = 700  # a slow reader takes this much at a time


@dataclass
class Answer:
    """How one connection went."""

    status: int = 0
    fields: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    whole: bool = False
    """The body came to its end; not when we left, or the worker died."""


def request(method: str, path: str, fields: dict[str, str], body: bytes | None = None, *, key: str = KEY) -> bytes:
    fields = {"host": "localhost", "authorization": f"Bearer {key}", **fields}
    if body is not None:
        fields |= {"content-type": "application/json", "content-length": str(len(body))}
    lines = [f"{method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in fields.items())]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + (body or b"")


async def exchange(
    port: int, data: bytes, on_head: Callable[[Answer], None], on_blocks: Callable[[list[bytes]], bool], *,
    slow_s: float = 0.0,
) -> Answer:  # fmt: skip
    """Send *data*; hand over whole blocks until *on_blocks* says enough. The connection is reset at the end.

    Raises:
        TimeoutError: silence for longer than a stream may be silent.
    """
    answer = Answer()
    sock = socket.socket()
    sock.setblocking(False)
    if slow_s:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    writer = None
    try:
        await asyncio.get_running_loop().sock_connect(sock, ("127.0.0.1", port))
        reader, writer = await asyncio.open_connection(sock=sock, limit=SLOW_BYTES if slow_s else 1 << 16)
        writer.write(data)
        async with asyncio.timeout(ANSWER_S):
            await read_head(reader, answer)
        on_head(answer)
        chunks, blocks = Chunks(), Blocks()
        chunked = answer.fields.get("transfer-encoding") == "chunked"
        while not answer.whole:
            async with asyncio.timeout(SILENCE_S):
                piece = await reader.read(SLOW_BYTES if slow_s else 1 << 16)
            if not piece:
                break
            payload = chunks.feed(piece) if chunked else piece
            if answer.status != 200 or not chunked:
                answer.body += payload
                answer.whole = chunks.whole if chunked else len(answer.body) >= int(answer.fields.get("content-length", 0))
                continue
            answer.whole = chunks.whole
            if not on_blocks(blocks.feed(payload)):
                break
            if slow_s:
                await asyncio.sleep(slow_s)
    except (ConnectionError, asyncio.IncompleteReadError):
        pass  # the worker is gone
    finally:
        if writer is not None:
            writer.transport.abort()
        sock.close()
    return answer


async def read_head(reader: asyncio.StreamReader, answer: Answer) -> None:
    status, size = 0, 0
    while line := await reader.readline():
        size += len(line)
        text = line.decode("latin-1").strip()
        if not text:
            answer.status = status
            return
        if not status:
            status = int(text.split(" ")[1])
        else:
            name, _, value = text.partition(": ")
            answer.fields[name.lower()] = value
    raise ConnectionResetError("the answer has no head")


class Client:
    """The reader of one stream. *ports* gives the workers that take requests now."""

    def __init__(self, model: Model, dice: random.Random, ports: Callable[[], list[int]]) -> None:
        self.model = model
        self.dice = dice
        self.ports = ports
        self.dialect = dice.choice(DIALECTS)
        self.log = Log(self.dialect)
        self.idempotency_key = f"soak-{model.number}" if dice.random() < 0.5 else ""
        self.background = self.dialect == "responses" and dice.random() < 0.5
        self.slow_s = dice.uniform(0.05, 0.2) if dice.random() < 0.15 else 0.0
        self.stream_id = ""
        self.homes: set[int] = set()
        self.posts = 0
        self.connections = 0
        self.refused = 0
        self.moves = 0
        self.last_port = 0

    # -- requests

    def post(self, last_event_id: str = "") -> bytes:
        ask = "go on"
        body: dict[str, Any] = {"model": f"mock/{self.model.name}", "stream": True}
        if self.dialect == "responses":
            body |= {"input": ask, "background": self.background}
        else:
            body |= {"messages": [{"role": "user", "content": ask}]}
            body |= {"max_tokens": 4096} if self.dialect == "messages" else {"stream_options": {"include_usage": True}}
        fields = {"idempotency-key": self.idempotency_key} if self.idempotency_key else {"x-streamward-resumable": "1"}
        if last_event_id:
            fields = {"last-event-id": last_event_id}
        return request("POST", ROUTES[self.dialect], fields, json.dumps(body).encode())

    def get(self, after: int) -> bytes:
        if self.dialect == "responses":
            query = "" if after < 0 else f"&starting_after={after}"
            return request("GET", f"/v1/responses/{self.stream_id}?stream=true{query}", {})
        if after >= 0 and self.dice.random() < 0.3:
            return request("GET", f"/v1/streams/{self.stream_id}", {"last-event-id": str(after)})
        return request("GET", f"/v1/streams/{self.stream_id}?after={after}", {})

    def again(self) -> bytes:
        if self.dialect != "responses" and self.log.cursor >= 0 and self.dice.random() < 0.3:
            return self.post(f"{self.stream_id}:{self.log.cursor}")
        return self.get(self.log.cursor)

    # -- reading

    async def run(self) -> None:
        """Read to the ending, over as many connections as it takes."""
        while not self.log.over:
            ports = self.ports()
            port = self.dice.choice(ports)
            if self.last_port and port != self.last_port:
                self.moves += 1
            self.last_port = port
            first = not self.stream_id
            if first:
                self.posts += 1
                if not self.idempotency_key:
                    self.homes.clear()  # a stream whose id was never learned is nobody's
                self.homes.add(port)
            self.connections += 1
            answer = await self.connection(port, self.post() if first else self.again())
            if answer.status not in (0, 200):
                self.refused += 1
                self.judge_refusal(answer, first=first)
                await asyncio.sleep(0.1)  # as a polite client does
            elif answer.whole and not self.log.over:
                self.log.problems.append(f"the body ended, the stream did not, after {len(self.log.frames)} frames")
                return
            if self.log.problems:
                return

    async def connection(self, port: int, data: bytes) -> Answer:
        frames_left = self.dice.randrange(1, 60)
        loop = asyncio.get_running_loop()
        until = loop.time() + self.dice.uniform(0.05, 3.0)

        def on_blocks(blocks: list[bytes]) -> bool:
            nonlocal frames_left
            for block in blocks:
                self.log.take(block)
            frames_left -= len(blocks)
            return self.log.over or (frames_left > 0 and loop.time() < until)

        return await exchange(port, data, self.learn, on_blocks, slow_s=self.slow_s)

    def learn(self, answer: Answer) -> None:
        if answer.status == 200:
            stream_id = answer.fields.get("x-streamward-stream-id", "")
            if self.stream_id and stream_id != self.stream_id:
                self.log.problems.append(f"another stream: {stream_id} instead of {self.stream_id}")
            self.stream_id = stream_id

    def judge_refusal(self, answer: Answer, *, first: bool) -> None:
        """Nothing was shown yet and the worker died: 502. The store is away or the worker ends: 503. Else it is a loss."""
        if answer.status == 503 or (first and answer.status == 502):
            return
        self.log.problems.append(f"{answer.status} {'at the start' if first else 'on return'}: {answer.body[:160]!r}")

    async def whole(self, port: int) -> Log:
        """The stream as *port* shows it to somebody who was not there."""
        log = Log(self.dialect)

        def on_blocks(blocks: list[bytes]) -> bool:
            for block in blocks:
                log.take(block)
            return True

        answer = await exchange(port, self.get(-1), lambda _: None, on_blocks)
        if answer.status != 200 or not answer.whole:
            log.problems.append(f"a replay was answered {answer.status}, whole: {answer.whole}: {answer.body[:160]!r}")
        return log
