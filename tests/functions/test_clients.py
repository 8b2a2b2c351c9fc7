"""What people call functions with: curl, Node's fetch, httpx. Each sees chunks as they come, and how the body ended.

The function says a chunk only after the one before was seen at the other end: whoever holds one back hangs.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator

import pytest

from support.functions_server import Server, serve

GATED = """
import asyncio

steps = asyncio.Semaphore(0)
state = {"left": 0}


async def GET(request):
    mode = request.query_params["mode"]
    try:
        for number in range(3):
            yield f"chunk {number}\\n"
            await steps.acquire()
        if mode == "breaks":
            raise RuntimeError("no more")
    except (asyncio.CancelledError, GeneratorExit):
        state["left"] += 1
        raise


async def POST(request):
    steps.release()


async def PUT(request):
    return state
"""
NODE = """
const answer = await fetch(process.argv[1]);
try {
  for await (const chunk of answer.body) process.stdout.write(Buffer.from(chunk));
} catch (error) {
  process.exit(18);
}
"""
HTTPX = """
import sys, httpx
try:
    with httpx.stream("GET", sys.argv[1], timeout=30) as answer:
        for chunk in answer.iter_raw():
            sys.stdout.buffer.write(chunk)
            sys.stdout.flush()
except httpx.RemoteProtocolError:
    sys.exit(18)
"""
CLIENTS = {
    "curl": ["curl", "-sN"],
    "node": ["node", "--input-type=module", "-e", NODE],
    "httpx": [sys.executable, "-c", HTTPX],
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve(tmp_path_factory.mktemp("clients") / "project", {"api/gated.py": GATED}) as running:
        yield running


@pytest.fixture(params=CLIENTS)
def client(request: pytest.FixtureRequest) -> list[str]:
    command = CLIENTS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    return command


def calling(command: list[str], server: Server, mode: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen([*command, f"{server.url}/api/gated?mode={mode}"], stdout=subprocess.PIPE)


def step(server: Server) -> None:
    server.ask("POST", "/api/gated")


def left(server: Server) -> int:
    count: int = server.ask("PUT", "/api/gated").json()["left"]
    return count


@pytest.mark.parametrize(("mode", "code"), [("ends", 0), ("breaks", 18)])
def test_chunks_come_one_by_one_and_the_end_is_told(client: list[str], server: Server, mode: str, code: int) -> None:
    """18 is curl's word for a body that was broken off; the others are made to say it alike."""
    with calling(client, server, mode) as process:
        assert process.stdout is not None
        for number in range(3):
            assert process.stdout.readline() == f"chunk {number}\n".encode()
            step(server)

        assert process.wait(30) == code


def test_a_client_that_is_killed_ends_the_function(client: list[str], server: Server) -> None:
    before = left(server)
    with calling(client, server, "ends") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"chunk 0\n"
        process.kill()

    server.wait(lambda: left(server) == before + 1, 5)
