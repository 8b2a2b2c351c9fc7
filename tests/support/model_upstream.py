"""An OpenAI-compatible provider that does what the asked model's name says, as a program of its own.

    python tests/support/model_upstream.py        prints its base URL

Beside the API: `GET /seen` lists the requests with what became of them, `POST /step` lets every `stepped` answer go one
token on, `POST /forget` empties the list. Not here: the faulty server itself (`scripted_upstream`).
"""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parent.parent))

from support.scripted_upstream import (
    DONE,
    FINISH,
    ROLE,
    SSE,
    USAGE_CHUNK,
    Fault,
    Seen,
    Step,
    delta,
    document,
    frame,
    http_chunk,
    play,
    scripted_upstream,
    stream,
)  # fmt: skip

SECRET = "sk-do-not-show-this"
TOKENS = ("Hello", ", ", "wörld", " 👋🏽")
OBJECT = ('{"city":', '"Par', 'is","tempC"', ":21}")
END = (FINISH, USAGE_CHUNK, DONE)
TOOL_END = (delta(finish="tool_calls"), USAGE_CHUNK, DONE)


def text(*tokens: str) -> list[Step]:
    return stream(ROLE, *map(delta, tokens), *END)


def call(index: int, call_id: str, name: str, *fragments: str) -> list[bytes]:
    first = {"index": index, "id": call_id, "type": "function", "function": {"name": name, "arguments": ""}}
    more = [{"index": index, "function": {"arguments": fragment}} for fragment in fragments]
    return [delta(tool_calls=[piece]) for piece in (first, *more)]


def calls(*pieces: list[bytes]) -> list[Step]:
    return stream(ROLE, *(frame for piece in pieces for frame in piece), *TOOL_END)


def failed(status: int, *fields: str) -> list[Step]:
    error = {"message": f"key {SECRET} is wrong", "type": "x", "code": "y", "param": None}
    return document({"error": error}, status, *fields)


class Models:
    """The answers, by model."""

    def __init__(self) -> None:
        self.seen: list[Seen] = []
        self.busy = 0
        self.steps = 0
        self.stepped = asyncio.Event()

    async def serve(self, seen: Seen) -> None:
        path = seen.head.decode("latin-1").split(" ", 2)[1]
        if path == "/seen":
            await play(document([self.told(one) for one in self.seen]), seen)
        elif path == "/step":
            self.steps += 1
            self.stepped.set()
            self.stepped = asyncio.Event()
            await play(document({}), seen)
        elif path == "/forget":
            self.seen.clear()
            await play(document({}), seen)
        elif path == "/v1/models":
            await play(document({"object": "list", "data": [{"id": "plain", "object": "model", "owned_by": "mock"}]}), seen)
        else:
            self.seen.append(seen)
            await self.answer(seen)

    def told(self, seen: Seen) -> dict[str, Any]:
        return {"body": seen.json(), "authorization": seen.header("authorization"), "gone": seen.gone.is_set()}

    async def answer(self, seen: Seen) -> None:
        body = seen.json()
        if body["model"] == "stepped":
            await seen.write(SSE + http_chunk(ROLE))
            begun = self.steps
            for number, token in enumerate(TOKENS, 1):
                await seen.write(http_chunk(delta(token)))
                while self.steps < begun + number and not seen.gone.is_set():
                    await next_of(self.stepped, seen)
                if seen.gone.is_set():
                    return
            await play([http_chunk(one) for one in END] + [b"0\r\n\r\n"], seen)
            return
        if not await play(self.script(body["model"], body), seen):
            raise ConnectionResetError("as the script says")  # the server closes the connection

    def script(self, model: str, body: dict[str, Any]) -> list[Step]:
        messages = body["messages"]
        last = messages[-1]
        answered = last["role"] == "tool"
        if model == "tools":
            weather = call(0, "c1", "weather", '{"ci', 'ty":"Slowville"}'), call(1, "c2", "weather", '{"city":"Rome"}')
            return text("Both ", "21.") if answered else calls(*weather)
        if model == "ask":
            return text("So: ", str(last["content"])) if answered else calls(call(0, "c1", "askUser", '{"question":"Why?"}'))
        if model == "danger":
            return text("Gone.") if answered else calls(call(0, "c1", "danger", '{"path":"/x"}'))
        if model == "failing":
            return text("It failed.") if answered else calls(call(0, "c1", "failing", "{}"))
        if model == "busy":
            self.busy += 1
            return failed(429, "retry-after: 0") if self.busy % 2 else text(*TOKENS)
        return ANSWERS.get(model, lambda: failed(404))()


ANSWERS: dict[str, Any] = {
    "plain": lambda: text(*TOKENS),
    "object": lambda: text(*OBJECT),
    "reasoning": lambda: stream(
        ROLE, delta(reasoning_content="Let me "), delta(reasoning_content="think."), delta("42"), *END
    ),
    "function": lambda: stream(
        ROLE, delta(function_call={"name": "weather", "arguments": ""}),
        delta(function_call={"arguments": '{"city":"Rome"}'}), delta(finish="function_call"), DONE,
    ),
    "drop": lambda: [*stream(ROLE, delta("Hel"), end=False), Fault.RESET],
    "cut": lambda: stream(ROLE, delta("Hel")),
    "error": lambda: stream(ROLE, delta("Hel"), frame({"error": {"message": SECRET, "type": "server_error"}})),
    "stall": lambda: [*stream(ROLE, delta("Hel"), end=False), Fault.STALL],
    "silent": lambda: [Fault.STALL],
    "error-first": lambda: stream(frame({"error": {"message": SECRET, "type": "server_error"}})),
    "denied": lambda: failed(401),
}  # fmt: skip


async def next_of(step: asyncio.Event, seen: Seen) -> None:
    """Return with the next step, or when the caller has left."""
    waits = [asyncio.ensure_future(step.wait()), asyncio.ensure_future(seen.gone.wait())]
    try:
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


async def main() -> None:
    models = Models()
    async with scripted_upstream(models.serve) as upstream:
        print(upstream.base_url, flush=True)
        await asyncio.to_thread(sys.stdin.read)  # until the tests are over


class ModelUpstream:
    """The program from the outside."""

    def __init__(self, base_url: str) -> None:
        self.base_url = base_url
        self.origin = base_url.removesuffix("/v1")

    def seen(self) -> list[dict[str, Any]]:
        with urlopen(f"{self.origin}/seen") as answer:
            loaded: list[dict[str, Any]] = json.load(answer)
        return loaded

    def post(self, path: str) -> None:
        urlopen(Request(f"{self.origin}{path}", method="POST", data=b"")).close()


@contextmanager
def model_upstream() -> Iterator[ModelUpstream]:
    process = subprocess.Popen([sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        yield ModelUpstream(process.stdout.readline().strip())
    finally:
        process.communicate()


@contextmanager
def conformance_app(upstream: ModelUpstream) -> Iterator[str]:
    """`examples/aisdk_conformance.py` in a process of its own; its URL."""
    root = Path(__file__).parents[2]
    with example(root / "examples/aisdk_conformance.py", UPSTREAM_URL=upstream.base_url) as url:
        yield url


@contextmanager
def example(program: Path, *command: str, **environ: str) -> Iterator[str]:
    """A program that listens on `PORT`, once it answers."""
    import socket
    import time

    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port = sock.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, str(program), *command], env={**os.environ, "PORT": str(port), **environ}, stdin=subprocess.DEVNULL
    )
    try:
        deadline = time.monotonic() + 20
        while True:
            assert time.monotonic() < deadline, f"{program.name} did not start"
            assert process.poll() is None, f"{program.name} ended"
            with socket.socket() as sock:
                if sock.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.02)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait()


if __name__ == "__main__":
    asyncio.run(main())
