"""The local engine as the gateway's upstream: whole answers, and what happens when nobody waits for them any more."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from streamward.dataplane.client import AnswerHead
from streamward.dataplane.pool import Pool
from streamward.errors import ErrorInfo
from streamward.upstream import local
from streamward.upstream.local import LocalEngine, tiny_model_path
from streamward.upstream.local_collect import as_stream
from streamward.upstream.local_upstream import LocalUpstream

pytestmark = [
    pytest.mark.asyncio(loop_scope="module"),
    pytest.mark.skipif(not local.engine_available(), reason="xllamacpp is not installed: pip install 'streamward[local]'"),
]

QUESTION = [{"role": "user", "content": "what is SSE?"}]
ENDLESS = {"messages": [{"role": "user", "content": "write something long"}], "ignore_eos": True, "max_tokens": 3900}


class Waiter:
    """A receiver that keeps the answer; ``over`` is set at its end."""

    def __init__(self) -> None:
        self.head: AnswerHead | None = None
        self.body = b""
        self.error: ErrorInfo | None = None
        self.over = asyncio.Event()

    def head_received(self, head: AnswerHead, /) -> None:
        self.head = head

    def data_received(self, data: bytes, /) -> None:
        self.body += data

    def ended(self) -> None:
        self.over.set()

    def failed(self, error: ErrorInfo, /) -> None:
        self.error = error
        self.over.set()


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def upstream() -> AsyncIterator[LocalUpstream]:
    path = tiny_model_path()
    assert path is not None
    pool = Pool()
    async with LocalEngine(path) as engine:
        yield LocalUpstream(engine, pool)
    await pool.aclose()


async def whole(upstream: LocalUpstream, **body: Any) -> tuple[int, dict[str, Any]]:
    """Status and object of an answer that is not streamed."""
    waiter = Waiter()
    asked = json.dumps({"model": "tiny", "temperature": 0, "max_tokens": 120} | body).encode()
    upstream.send("tiny", asked, stream=False, receiver=waiter)
    async with asyncio.timeout(60):
        await waiter.over.wait()
    assert waiter.error is None
    assert waiter.head is not None
    assert waiter.head.headers["content-type"].startswith("application/json")
    return waiter.head.status, dict(json.loads(waiter.body))


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  the condition is another process
            await asyncio.sleep(0.002)


def cpu_s(pid: int) -> float:
    """Processor time *pid* has used; its clock ticks every 10 ms."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / 100


async def test_a_whole_answer_says_all_that_its_stream_said(upstream: LocalUpstream):
    """Text, ending, usage and ids of an ordinary chat completion."""
    status, body = await whole(upstream, messages=QUESTION)

    assert status == 200
    assert body["object"] == "chat.completion"
    assert body["id"].startswith("chatcmpl-")
    assert body["created"] > 0
    assert body["model"] == "local/tiny"
    choice = body["choices"][0]
    assert choice["finish_reason"] == "stop"
    assert "server-sent events" in choice["message"]["content"]
    usage = body["usage"]
    assert usage["completion_tokens"] > 5
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


async def test_a_whole_answer_keeps_tool_calls_and_log_probabilities(upstream: LocalUpstream):
    weather = {"name": "get_weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    tools = [{"type": "function", "function": weather}]
    asked = [{"role": "user", "content": "what is the weather in Paris?"}]

    _, called = await whole(upstream, messages=asked, tools=tools, tool_choice="required")
    _, scored = await whole(upstream, messages=QUESTION, logprobs=True, top_logprobs=2)

    call = called["choices"][0]["message"]["tool_calls"][0]
    assert call["function"]["name"] == "get_weather"
    assert isinstance(json.loads(call["function"]["arguments"]), dict)
    assert called["choices"][0]["finish_reason"] == "tool_calls"
    tokens = scored["choices"][0]["logprobs"]["content"]
    assert "".join(token["token"] for token in tokens) == scored["choices"][0]["message"]["content"]
    assert all(len(token["top_logprobs"]) == 2 for token in tokens)


async def test_what_the_engine_refuses_comes_back_as_it_said_it(upstream: LocalUpstream):
    status, body = await whole(upstream, messages=[{"role": "user", "content": "word " * 9000}])

    assert status == 400
    assert body["error"]["type"] == "exceed_context_size_error"


@pytest.mark.skipif(sys.platform != "linux", reason="reads processor time from /proc")
@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
async def test_the_engine_stops_when_nobody_waits(upstream: LocalUpstream, stream: bool):
    """Less than 100 ms of work is done after the cancel, of the seconds that the answer would take."""
    pid = upstream.engine.pid
    assert pid is not None
    before = cpu_s(pid)
    body = json.dumps(ENDLESS | {"model": "tiny", "stream": stream}).encode()
    handle = upstream.send("tiny", body, stream=stream, receiver=Waiter())
    await until(lambda: cpu_s(pid) > before + 0.1)  # the generation runs

    handle.cancel()

    cancelled, quiet_at, used = cpu_s(pid), time.monotonic(), cpu_s(pid)
    while time.monotonic() - quiet_at < 0.25:
        await asyncio.sleep(0.01)
        if cpu_s(pid) != used:
            used, quiet_at = cpu_s(pid), time.monotonic()
    assert used - cancelled < 0.1


async def test_two_callers_share_the_engine_evenly(upstream: LocalUpstream):
    """Each decoding step makes one token for each of them: beside a short answer a long one, begun before, gets about as much."""
    counts = {"long": 0, "short": 0}
    at_start: list[int] = []

    class Caller(Waiter):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        def data_received(self, data: bytes, /) -> None:
            counts[self.name] += data.count(b'"content":"')
            if counts["short"] and not at_start:
                at_start.append(counts["long"])

    long, short = Caller("long"), Caller("short")
    body = ENDLESS | {"model": "tiny", "stream": True}
    handle = upstream.send("tiny", json.dumps(body).encode(), stream=True, receiver=long)
    await until(lambda: counts["long"] > 0)

    upstream.send("tiny", json.dumps(body | {"max_tokens": 1000}).encode(), stream=True, receiver=short)
    async with asyncio.timeout(60):
        await short.over.wait()
    beside = counts["long"] - at_start[0]
    handle.cancel()

    assert not long.over.is_set()
    assert 0.5 * counts["short"] < beside < 2 * counts["short"]


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"n":2}', b"[" * 5000], ids=["empty", "list", "cut", "two choices", "deep"])
async def test_what_cannot_be_one_stream_is_left_to_the_engine(body: bytes):
    assert as_stream(body) is None
