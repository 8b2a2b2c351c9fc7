"""The same streams as a plain ASGI application: uvicorn's stock protocols, Granian, and mounted in Starlette.

Same bytes, same endings; a client that leaves is noticed, a slow one pauses the provider.
"""

import asyncio
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import requests
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount, Route

from streamward.gateway.app import Gateway
from streamward.gateway.config import parse
from streamward.gateway.records import AccessLog
from support.gateway_server import config_text, gateway_server, running, until
from support.raw_http import KEY, ask, chat, chat_request, connected, request
from support.scripted_upstream import (
    DONE,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    SSE,
    Fault,
    Seen,
    delta,
    document,
    http_chunk,
    scripted_upstream,
    stream,
)

STOCK = ["httptools", "h11"]


@asynccontextmanager
async def stock(http: str, *scripts) -> AsyncIterator[tuple]:
    async with (
        scripted_upstream(*scripts) as upstream,
        gateway_server(config_text(upstream.base_url, limits="max_body_bytes = 100000"), http=http) as served,
    ):
        yield served, upstream


@pytest.mark.parametrize("http", STOCK)
async def test_a_stream_is_the_same_under_a_stock_protocol(http: str):
    async with stock(http, stream(*HELLO)) as (served, _):
        answer = await ask(served.port, chat_request(stream_options={"include_usage": True}))
        record = await served.record()

    assert (answer.status, answer.text, answer.finish_reason, answer.frames[-1]) == (200, "Hello", "stop", "[DONE]")
    assert answer.complete
    assert all(piece.endswith(b"\n\n") for piece in answer.chunks), "whole frames in every write"
    assert answer.get("x-streamward-id") == record["id"]
    assert (answer.get("content-type"), answer.get("x-accel-buffering")) == ("text/event-stream; charset=utf-8", "no")
    assert (record["ending"], record["grade"]) == ("finished", "exact")


@pytest.mark.parametrize("http", STOCK)
async def test_tokens_leave_as_they_come(http: str):
    """The second token is written only after the first has reached the client."""
    script = [*stream(ROLE, delta("a"), end=False), Fault.GATE, *map(http_chunk, (delta("b"), FINISH, DONE)), LAST]
    async with stock(http, script) as (served, upstream):
        answer = await ask(served.port, chat_request(), on_chunk=upstream.gate.set)

    assert answer.text == "ab"


@pytest.mark.parametrize("http", STOCK)
async def test_faults_end_as_they_do_on_our_own_protocol(http: str):
    broken = [*stream(ROLE, delta("Hel"), end=False), Fault.GATE, Fault.RESET]
    async with stock(http, broken, document({"error": {}}, 429, "retry-after: 30"), [Fault.CLOSE]) as (served, upstream):
        after = await ask(served.port, chat_request(), on_chunk=upstream.gate.set)
        limited = await ask(served.port, chat_request())
        closed = await ask(served.port, chat_request(stream=False))
        bad = await ask(served.port, request("POST", "/v1/chat/completions", b"[]"))
        large = await ask(served.port, request("POST", "/v1/chat/completions", b"x" * 200_000))
        no_key = await ask(served.port, request("GET", "/v1/models", key=None))
        models = await ask(served.port, request("GET", "/v1/models"))

    assert after.stream_error is not None
    assert (after.text, after.stream_error["code"]) == ("Hel", "upstream_reset")
    assert (limited.status, limited.get("retry-after")) == (429, "30")
    assert [each.status for each in (closed, bad, large, no_key, models)] == [502, 400, 413, 401, 200]


@pytest.mark.parametrize("stage", ["head", "mid"])
@pytest.mark.parametrize("http", STOCK)
async def test_a_client_that_leaves_is_noticed_under_a_stock_protocol(http: str, stage: str):
    async def play(seen: Seen) -> None:
        if stage == "mid":
            await seen.write(SSE + http_chunk(ROLE) + http_chunk(delta("x")))
        await seen.gone.wait()

    patient = "timeouts = { first_byte = 60, idle = 60 }\nretries = 0"
    async with (
        scripted_upstream(play) as upstream,
        gateway_server(config_text(upstream.base_url, mock=patient), http=http) as served,
    ):
        async with connected(served.port) as connection:
            await connection.send(chat_request())
            seen = await upstream.request()
            if stage == "mid":
                await connection.head()
            left_at = time.monotonic()
        gone_at = await seen.wait_gone()
        record = await served.record()

    assert gone_at - left_at < 0.2
    assert record["ending"] == "cancelled"
    assert served.gateway.active == set()


@pytest.mark.parametrize("http", STOCK)
async def test_a_client_that_does_not_read_pauses_the_provider_under_a_stock_protocol(http: str):
    async def flood(seen: Seen) -> None:
        await seen.write(SSE + http_chunk(ROLE))
        while not seen.gone.is_set():
            await seen.write(http_chunk(delta("x" * 8000)))

    async with stock(http, flood) as (served, upstream):
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.connect(("127.0.0.1", served.port))
        sock.sendall(chat_request())
        seen = await upstream.request()
        await until(lambda: any(e.attempts is not None and e.attempts.paused for e in served.gateway.active))
        last, since = -1, time.monotonic()
        async with asyncio.timeout(15):
            while time.monotonic() - since < 0.3:
                if seen.written != last:
                    last, since = seen.written, time.monotonic()
                await asyncio.sleep(0.01)
        sock.close()
        await seen.wait_gone()

    assert last < 24 << 20


async def test_mounted_in_a_starlette_application_with_its_own_lifespan():
    """Under a path of the application's choice, beside its own routes; started and stopped by its lifespan."""
    gateway = Gateway(parse(config_text(), "test", {}), environ={}, access_log=AccessLog("off"))

    async def home(request: object) -> PlainTextResponse:
        return PlainTextResponse("home")

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        await gateway.start()
        yield
        await gateway.stop()

    app = Starlette(routes=[Route("/", home), Mount("/ai", gateway)], lifespan=lifespan)
    settings = uvicorn.Config(app, port=0, log_config=None, lifespan="on", ws="none")
    body = json.dumps(chat("demo/chat?tps=0&ttft_ms=0")).encode()
    async with running(settings) as (_, port):
        own = await ask(port, request("GET", "/"))
        streamed = await ask(port, request("POST", "/ai/v1/chat/completions", body))
        models = await ask(port, request("GET", "/ai/v1/models"))
        missing = await ask(port, request("POST", "/v1/chat/completions", body))

    assert own.body == b"home"
    assert (streamed.status, streamed.frames[-1]) == (200, "[DONE]")
    assert "demo/chat" in models.body.decode()
    assert missing.status == 404


GRANIAN_APP = """
from streamward.gateway.app import Gateway
from streamward.gateway.config import parse
app = Gateway(parse('[auth]\\nkeys = ["%s"]', "test", {}), environ={})
"""


@pytest.fixture
def granian(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served_by_granian.py").write_text(GRANIAN_APP % KEY)
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "asgi", "--port", str(port), "served_by_granian:app"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 15
        while True:
            assert process.poll() is None
            assert time.monotonic() < deadline
            try:
                requests.get(f"{url}/healthz", timeout=1)
                break
            except requests.ConnectionError:
                time.sleep(0.05)
        yield url
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=15)


def test_granian_serves_the_same_streams(granian: str):
    headers = {"authorization": f"Bearer {KEY}"}
    url = f"{granian}/v1/chat/completions"
    body = chat("demo/lorem?tps=50&ttft_ms=0&tokens=6")

    with requests.post(url, json=body, headers=headers, stream=True, timeout=15) as answer:
        reads = list(answer.iter_content(chunk_size=None))
    failing = requests.post(url, json=chat("demo/fail?tps=0&ttft_ms=0"), headers=headers, timeout=15)
    refused = requests.post(url, json=chat("demo/chat"), timeout=15)
    models = requests.get(f"{granian}/v1/models", headers=headers, timeout=15)

    assert len(reads) >= 6
    assert all(read.endswith(b"\n\n") for read in reads)
    assert reads[-1].endswith(b"data: [DONE]\n\n")
    assert failing.status_code == 502 or b'"code":"upstream_error"' in failing.content
    assert (refused.status_code, models.status_code) == (401, 200)


def test_granian_tells_when_a_client_leaves(granian: str):
    headers = {"authorization": f"Bearer {KEY}"}

    def active() -> bool:
        text = requests.get(f"{granian}/metrics", headers=headers, timeout=5).text
        return "streamward_streams_active 1.0" in text

    url, body = f"{granian}/v1/chat/completions", chat("demo/lorem?tps=30&ttft_ms=0&tokens=5000")
    with requests.post(url, json=body, headers=headers, stream=True, timeout=15) as answer:
        reads = answer.iter_content(chunk_size=None)  # dropping this closes the connection
        next(reads)
        assert active()

    deadline = time.monotonic() + 5
    while active():
        assert time.monotonic() < deadline, "the stream goes on without its reader"
        time.sleep(0.02)
