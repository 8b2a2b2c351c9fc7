"""Many durable streams in mixed dialects, clients that are cut and come back anywhere, a worker that is killed.

The checker reads raw bytes and knows nothing of the code under test: what all connections of a client brought, up to
the last whole frame of each, must be dense from number 0, must be what a replay gives, and must have one ending.
"""

import asyncio
import json
import os
import random
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.gateway_server import config_text, until
from support.raw_http import ask, connected, request
from support.redis_server import RedisServer
from support.workers import worker

STREAMS = int(os.environ.get("SOAK_STREAMS", "36"))
TOKENS = 60
MODEL = f"demo/lorem?tokens={TOKENS}&tps=40&ttft_ms=20"
RESUMABLE = {"x-streamward-resumable": "1"}
FINISHED = {"chat": rb"^data: \[DONE\]", "messages": rb"^event: message_stop", "responses": rb"^event: response\.completed"}
BROKEN = {
    "chat": rb"^data: \{\"error\"", "messages": rb"^event: error", "responses": rb"^event: response\.(?:failed|incomplete)",
}  # fmt: skip
DELTA = {
    "chat": rb'"delta":\{"content":"[^"]', "messages": rb"text_delta", "responses": rb"^event: response\.output_text\.delta",
}  # fmt: skip


@pytest.fixture(params=["sqlite", "redis"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    if request.param == "sqlite":
        yield f"sqlite:{tmp_path}/streams.db"
        return
    server = RedisServer().start()
    yield server.url
    server.close()


class Client:
    """One client and what it has."""

    def __init__(self, number: int, dice: random.Random) -> None:
        self.dice = dice
        self.dialect = ("chat", "messages", "responses")[number % 3]
        self.got = b""
        self.stream_id = ""
        self.connections = 0
        self.home = -1

    def first(self) -> bytes:
        text = [{"role": "user", "content": "go on"}]
        if self.dialect == "responses":
            body = {"model": MODEL, "input": "go on", "stream": True, "background": True}
            return request("POST", "/v1/responses", json.dumps(body).encode())
        if self.dialect == "messages":
            body = {"model": MODEL, "messages": text, "stream": True, "max_tokens": 1000}
            return request("POST", "/v1/messages", json.dumps(body).encode(), RESUMABLE)
        body = {"model": MODEL, "messages": text, "stream": True}
        return request("POST", "/v1/chat/completions", json.dumps(body).encode(), RESUMABLE)

    def again(self, after: int) -> bytes:
        if self.dialect == "responses":
            return request("GET", f"/v1/responses/{self.stream_id}?stream=true&starting_after={after}")
        return request("GET", f"/v1/streams/{self.stream_id}?after={after}")

    def numbers(self, body: bytes) -> list[int]:
        if self.dialect == "responses":
            return [json.loads(line[6:])["sequence_number"] for line in body.split(b"\n") if line.startswith(b"data: ")]
        return [int(number) for number in re.findall(rb"^id: (\d+)$", body, re.MULTILINE)]

    def count(self, patterns: dict[str, bytes]) -> int:
        return len(re.findall(patterns[self.dialect], self.got, re.MULTILINE))

    @property
    def over(self) -> bool:
        if self.dialect == "responses":
            return self.got.endswith(b": end\rdata: [DONE]\n\n")
        return self.count(FINISHED) + self.count(BROKEN) > 0

    async def run(self, ports: list[int], dead: set[int]) -> bool:
        """Read to the end over as many connections as it takes; False when the stream's id was never learned."""
        while not self.over:
            place = self.dice.choice([index for index in range(len(ports)) if index not in dead])
            send = self.again(self.numbers(self.got)[-1] if self.got else -1) if self.stream_id else self.first()
            try:
                await self.connection(ports[place], place, send)
            except (ConnectionError, asyncio.IncompleteReadError):
                if not self.stream_id:
                    return False
        return True

    async def connection(self, port: int, place: int, send: bytes) -> None:
        self.connections += 1
        async with connected(port) as connection:
            await connection.send(send)
            answer = await connection.head()
            if answer.status == 503:
                return  # shutting down
            assert answer.status == 200, answer.status
            if not self.stream_id:
                self.stream_id, self.home = answer.get("x-streamward-stream-id") or "", place
            body = b""
            try:
                async with asyncio.timeout(self.dice.uniform(0.02, 0.5)):
                    while piece := await connection.chunk():
                        body += piece
            except (TimeoutError, ConnectionError, asyncio.IncompleteReadError):
                pass  # cut: by us, or by the death of the worker
            self.got += body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""


async def test_no_token_is_lost_or_repeated_whatever_is_cut_or_killed(tmp_path: Path, store: str):
    (tmp_path / "streamward.toml").write_text(
        config_text(storage=f'url = "sqlite:{tmp_path}/state.db"', streams=f'store = "{store}"\nlease_s = 1.0')
    )
    dice = random.Random(20)
    dead: set[int] = set()
    async with worker(tmp_path) as first, worker(tmp_path) as second:
        ports = [first.port, second.port]
        clients = [Client(number, random.Random(dice.random())) for number in range(STREAMS)]
        runs = [asyncio.create_task(client.run(ports, dead)) for client in clients]
        await until(lambda: sum(client.got.count(b"\n\n") > TOKENS // 3 for client in clients) >= STREAMS // 2)
        dead.add(0)
        first.signal(signal.SIGKILL)
        learned = [client for client, knew in zip(clients, await asyncio.gather(*runs), strict=True) if knew]
        replays = [await ask(second.port, client.again(-1)) for client in learned]

    for client, replay in zip(learned, replays, strict=True):
        numbers = client.numbers(client.got)
        marker = client.dialect == "responses"  # its end marker has no number
        assert numbers == list(range(client.got.count(b"\n\n") - marker)), f"{client.dialect}: lost or repeated"
        assert client.got == replay.body
        assert client.count(FINISHED) + client.count(BROKEN) == 1, "not exactly one ending"
        if client.count(FINISHED):
            assert client.count(DELTA) == TOKENS, "finished without all of its tokens"
        else:
            assert b"stream_interrupted" in client.got
            assert client.home == 0, "only the killed worker's streams may break"
    assert len(learned) > STREAMS // 2
    assert any(client.count(BROKEN) for client in learned)
    assert sum(client.count(FINISHED) for client in learned) > STREAMS // 4
    assert sum(client.connections for client in learned) > 3 * len(learned)
