"""The shipped nginx.conf in a real nginx, in front of real gateways that share a store."""

import asyncio
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from support.gateway_server import Process, config_text, until
from support.raw_http import ask, chat_request, connected, request
from support.scripted_upstream import (
    DONE,
    FINISH,
    LAST,
    ROLE,
    SSE,
    USAGE_CHUNK,
    Fault,
    ScriptedUpstream,
    delta,
    http_chunk,
    scripted_upstream,
)
from support.workers import worker

CONF = Path(__file__).parents[2] / "deploy/nginx/nginx.conf"
NGINX = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or ""
RESUMABLE = {"x-streamward-resumable": "1"}
HALF = [
    SSE, *map(http_chunk, (ROLE, delta("one "), delta("two "))), Fault.GATE,
    *map(http_chunk, (delta("three"), FINISH, USAGE_CHUNK, DONE)), LAST,
]  # fmt: skip

pytestmark = pytest.mark.skipif(not NGINX, reason="nginx is not here: apt-get install nginx-light")


def placed(folder: Path, ports: list[int], port: int) -> Path:
    """The shipped file with this machine's addresses and paths; all else as it is."""
    text = CONF.read_text()
    servers = re.findall(r"server (gateway-\d:8787)", text)
    assert len(servers) == len(ports)
    for name, its in zip(servers, ports, strict=True):
        text = text.replace(name, f"127.0.0.1:{its}")
    text = text.replace("user nginx;", "daemon off; user root;").replace("worker_processes auto", "worker_processes 1")
    text = text.replace("listen 8080", f"listen 127.0.0.1:{port}").replace("/run/nginx.pid", f"{folder}/nginx.pid")
    text = text.replace("/var/log/nginx/", f"{folder}/nginx-")
    path = folder / "nginx.conf"
    path.write_text(text)
    return path


@asynccontextmanager
async def nginx(folder: Path, ports: list[int]) -> AsyncIterator[int]:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    path = placed(folder, ports, port)
    command = [NGINX, "-p", str(folder), "-c", str(path), "-e", str(folder / "start.log")]
    checked = await asyncio.to_thread(subprocess.run, [*command, "-t"], capture_output=True, text=True, check=False)
    assert checked.returncode == 0, checked.stderr
    process = await asyncio.create_subprocess_exec(*command)
    try:
        await until(lambda: (folder / "nginx.pid").exists() and (folder / "nginx.pid").read_text().strip())
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        await process.wait()


@asynccontextmanager
async def site(folder: Path, *scripts) -> AsyncIterator[tuple[ScriptedUpstream, Process, Process, int]]:
    async with scripted_upstream(*scripts) as upstream:
        text = config_text(
            upstream.base_url, mock="timeouts = { idle = 60 }\nretries = 0", storage=f'url = "sqlite:{folder}/state.db"',
            streams=f'store = "sqlite:{folder}/streams.db"\nlease_s = 1.0',
        )  # fmt: skip
        (folder / "streamward.toml").write_text(text)
        async with worker(folder) as first, worker(folder) as second, nginx(folder, [first.port, second.port]) as port:
            yield upstream, first, second, port


async def test_tokens_pass_as_they_come(tmp_path: Path):
    """What the provider has said is there while it is silent: nothing is buffered on the way."""
    async with site(tmp_path, HALF) as (upstream, _, _, port), connected(port) as connection:
        await connection.send(chat_request())
        answer = await connection.head()
        while b"two " not in answer.body:
            answer.chunks.append(await connection.chunk())
        upstream.gate.set()
        await connection.body(answer)

    assert answer.complete
    assert answer.text == "one two three"


async def test_a_stream_goes_on_through_nginx_when_its_reader_comes_back(tmp_path: Path):
    """Eight returns over both gateways, one of which does not know the stream: all read the same."""
    async with site(tmp_path, HALF) as (upstream, _, _, port):
        async with connected(port) as connection:
            await connection.send(chat_request(headers=RESUMABLE))
            start = await connection.head()
            while b"two " not in start.body:
                start.chunks.append(await connection.chunk())
        last = int(re.findall(rb"^id: (\d+)$", start.body, re.MULTILINE)[-1])
        path = f"/v1/streams/{start.get('x-streamward-stream-id')}?after={last}"
        returns = [asyncio.create_task(ask(port, request("GET", path))) for _ in range(8)]
        upstream.gate.set()
        rests = [await one for one in returns]

    assert {rest.status for rest in rests} == {200}
    assert len({rest.body for rest in rests}) == 1
    assert b"three" in rests[0].body
    assert rests[0].body.endswith(b"data: [DONE]\n\n")
    assert len(upstream.seen) == 1


async def test_a_gateway_that_is_gone_costs_no_request(tmp_path: Path):
    """nginx finds the other one; a request that never reached the dead one is sent again, once."""
    async with site(tmp_path, [*HALF[:4], *HALF[5:]]) as (upstream, first, _, port):
        first.signal(signal.SIGKILL)
        await asyncio.to_thread(first.wait)
        answers = [await ask(port, chat_request()) for _ in range(6)]

    assert [answer.status for answer in answers] == [200] * 6
    assert {answer.text for answer in answers} == {"one two three"}
    assert len(upstream.seen) == 6


async def test_a_client_that_leaves_ends_the_call_at_the_provider(tmp_path: Path):
    async with site(tmp_path, HALF) as (upstream, _, _, port):
        async with connected(port) as connection:
            await connection.send(chat_request())
            answer = await connection.head()
            while b"two " not in answer.body:
                answer.chunks.append(await connection.chunk())
        await upstream.seen[0].wait_gone()


async def test_figures_are_not_for_the_outside(tmp_path: Path):
    async with site(tmp_path, HALF) as (_, first, _, port):
        outside = [await ask(port, request("GET", path)) for path in ("/metrics", "/_streamward/metrics", "/healthz")]
        inside = await ask(first.port, request("GET", "/metrics"))

    assert [answer.status for answer in outside] == [404, 404, 200]
    assert inside.status == 200
