"""An upstream that behaves: a small OpenAI server for client tests, on a thread of its own.

The model's name says what it does: ``hello``, ``tools``, or ``http-503`` for an error answer; ``broken`` fails in mid-stream.
"""

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from support.scripted_upstream import (
    COMPLETION,
    DONE,
    HELLO,
    ROLE,
    USAGE_CHUNK,
    Seen,
    delta,
    document,
    frame,
    scripted_upstream,
    stream,
)

CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "get_weather", "arguments": ""}}


async def answer(seen: Seen) -> None:
    """Answer one request by what it asks for."""
    body = seen.json()
    for step in steps(body, body["model"]):
        await seen.write(step)


def steps(body: dict[str, Any], model: str) -> list[Any]:
    if model.startswith("http-"):
        return document({"error": {"message": "no"}}, int(model[5:]), "retry-after-ms: 9")
    if model == "broken":
        return stream(ROLE, delta("Hel"), frame({"error": {"message": "boom"}}))
    if model == "slow-broken":
        return stream(ROLE, delta("Hel"), delta("lo"))
    if not body.get("stream"):
        return document(tool_completion() if body.get("tools") else COMPLETION)
    return stream(*tool_frames()) if body.get("tools") else stream(*HELLO)


def tool_frames() -> list[bytes]:
    arguments = json.dumps({"city": "Zürich"})
    pieces = [{"index": 0, "function": {"arguments": arguments[at : at + 5]}} for at in range(0, len(arguments), 5)]
    calls = [delta(tool_calls=[piece]) for piece in (CALL, *pieces)]
    return [ROLE, *calls, delta(finish="tool_calls"), USAGE_CHUNK, DONE]


def tool_completion() -> dict[str, Any]:
    function = {"name": "get_weather", "arguments": json.dumps({"city": "Zürich"})}
    calls = [{"id": "call_1", "type": "function", "function": function}]
    message = {"role": "assistant", "content": None, "tool_calls": calls}
    return {**COMPLETION, "choices": [{"index": 0, "finish_reason": "tool_calls", "message": message}]}


@contextmanager
def model_server() -> Iterator[str]:
    """The base URL of a running model server."""
    loop = asyncio.new_event_loop()
    started: list[str] = []
    ready, stop = threading.Event(), asyncio.Event()

    async def main() -> None:
        async with scripted_upstream(answer) as upstream:
            started.append(upstream.base_url)
            ready.set()
            await stop.wait()

    thread = threading.Thread(target=loop.run_until_complete, args=(main(),), name="model-server")
    thread.start()
    try:
        assert ready.wait(10), "the model server did not start"
        yield started[0]
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(10)
        loop.close()
