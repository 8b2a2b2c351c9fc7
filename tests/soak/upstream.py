"""A paced provider in a process of its own, whose every token can be told from the model's name.

    python upstream.py          prints {"port": N}; ``GET /calls`` tells how often each model was asked for

A model ``soak-NUMBER-TOKENS-PACE_MS-FAULT`` answers TOKENS tokens, one write each PACE_MS; with a FAULT above 0 the
connection ends, without an end, after that many. It speaks Chat Completions and needs the standard library only.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from dataclasses import dataclass

HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"


@dataclass(frozen=True)
class Model:
    """What one stream will say."""

    number: int
    tokens: int
    pace_ms: int
    fault: int = 0

    @property
    def name(self) -> str:
        return f"soak-{self.number}-{self.tokens}-{self.pace_ms}-{self.fault}"

    @classmethod
    def named(cls, name: str) -> Model:
        return cls(*map(int, name.rpartition("/")[2].split("-")[1:]))

    def token(self, index: int) -> str:
        """No two are alike, in no two streams: whatever is lost, repeated or swapped shows in the text."""
        return f"{self.number}.{index} "

    def said(self) -> str:
        """All the text that the provider sends."""
        return "".join(map(self.token, range(self.fault or self.tokens)))


def http_chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def event(model: Model, **more: object) -> bytes:
    value = {"id": f"chatcmpl-{model.number}", "object": "chat.completion.chunk", "created": 1, "model": model.name, **more}
    return http_chunk(b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n")


def delta(model: Model, fields: dict[str, str], finish: str | None = None) -> bytes:
    return event(model, choices=[{"index": 0, "delta": fields, "finish_reason": finish}])


class Upstream:
    """The server and what it was asked."""

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while await self.serve_one(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the gateway left, or was killed
        finally:
            writer.close()

    async def serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        """Answer one request; False when the connection is over."""
        head = await reader.readuntil(b"\r\n\r\n")
        if head.startswith(b"GET /calls "):
            body = json.dumps(self.calls).encode()
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
            return True
        length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
        model = Model.named(json.loads(await reader.readexactly(length))["model"])
        self.calls[model.name] += 1
        await self.answer(model, writer)
        return not model.fault

    async def answer(self, model: Model, writer: asyncio.StreamWriter) -> None:
        writer.write(HEAD + delta(model, {"role": "assistant", "content": ""}))
        loop = asyncio.get_running_loop()
        begun = loop.time()
        for index in range(model.fault or model.tokens):
            await asyncio.sleep(begun + index * model.pace_ms / 1000 - loop.time())
            writer.write(delta(model, {"content": model.token(index)}))
            await writer.drain()
        if model.fault:
            return
        usage = {"prompt_tokens": 3, "completion_tokens": model.tokens, "total_tokens": model.tokens + 3}
        writer.write(delta(model, {}, "stop") + event(model, choices=[], usage=usage))
        writer.write(http_chunk(b"data: [DONE]\n\n") + b"0\r\n\r\n")
        await writer.drain()


async def main() -> None:
    server = await asyncio.start_server(Upstream().serve, "127.0.0.1", 0, backlog=1024, limit=1 << 20)
    print(json.dumps({"port": server.sockets[0].getsockname()[1]}), flush=True)
    await asyncio.to_thread(sys.stdin.read)  # until whoever started it is gone
    server.close()


if __name__ == "__main__":
    asyncio.run(main())
