"""A small stand-in for the gateway behind the page: the models list and the demo models' options of the contract.

Speaks the bytes the gateway promises (role chunk, deltas, finish, usage, ``[DONE]``; error frames; broken bodies) so that
the same browser tests hold for the real server. Run by hand: ``python tests/playground/mock_gateway.py [PORT]``.
"""

import asyncio
import contextlib
import json
import re
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import parse_qs

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from streamward.playground.page import DIST, playground_routes

LOCKED_KEY = "sw-test-key"

MODELS = [
    ("local/tiny", "A toy model of 2 M parameters, trained only on this project"),
    ("openai/gpt-4o-mini", ""),
    ("openai/gpt-4o", ""),
    ("anthropic/claude-sonnet-4", ""),
    ("demo/chat", "Scripted conversation"),
    ("demo/echo", "Says back what you said"),
    ("demo/lorem", "Placeholder text at any length and speed"),
    ("demo/reasoning", "Thinks before it answers"),
    ("demo/tools", "Calls the first tool it is offered"),
    ("demo/fail", "Fails the way you ask it to"),
]

MARKDOWN = """## How a token travels

A model writes **one token at a time**. Each becomes a *frame* on the wire:

1. The engine samples a token.
2. The server wraps it in a `data:` line.
3. The browser reads it and grows the text.

| Transport | Direction | Reconnects |
| --- | --- | --- |
| Server-sent events | server to client | yes, by id |
| WebSocket | both | by hand |

```python
def frames(body):
    # A blank line ends each event.
    for block in body.split("\\n\\n"):
        yield block.removeprefix("data: ")
```

That is all there is to it. <b>Raw HTML</b> stays text.
"""


class Options:
    """What stands after ``?`` in a demo model's id."""

    def __init__(self, model: str) -> None:
        self.name, _, query = model.partition("?")
        values = {key: found[-1] for key, found in parse_qs(query).items()}
        self.tokens = int(values.get("tokens", "0"))
        self.gap_s = 1 / float(values.get("tps", "60"))
        self.ttft_s = float(values.get("ttft_ms", "120")) / 1000
        self.fail_after = int(values.get("fail_after", "5"))
        self.fail_with = values.get("fail_with", "error" if self.name == "demo/fail" else "")
        self.finish = values.get("finish", "stop")


def words(text: str) -> list[str]:
    return re.findall(r"\S+\s*|\s+", text)


def deltas(options: Options, body: dict[str, object]) -> list[dict[str, object]]:
    """The deltas of one answer."""
    if options.name == "demo/tools":
        tools = body.get("tools")
        messages = body["messages"]
        assert isinstance(messages, list)
        if isinstance(tools, list) and messages[-1]["role"] != "tool":
            name = tools[0]["function"]["name"]
            opening = {"index": 0, "id": "call_1", "type": "function", "function": {"name": name, "arguments": ""}}
            pieces = ['{"city":', ' "Bern"', ', "unit": ', '"celsius"', "}"]
            return [{"tool_calls": [opening]}] + [
                {"tool_calls": [{"index": 0, "function": {"arguments": piece}}]} for piece in pieces
            ]
        return [{"content": word} for word in words(f"The tool said: {messages[-1]['content']}")]
    thinking: list[dict[str, object]] = []
    if options.name == "demo/reasoning":
        thinking = [{"reasoning_content": word} for word in words("First I look at the question. Then I weigh it.")]
    if options.tokens:
        return thinking + [{"content": f"word{number} "} for number in range(options.tokens)]
    if options.name == "demo/echo":
        messages = body["messages"]
        assert isinstance(messages, list)
        return [{"content": word} for word in words(str(messages[-1]["content"]))]
    return thinking + [{"content": word} for word in words(MARKDOWN)]


async def answer(options: Options, body: dict[str, object]) -> AsyncIterator[bytes]:
    def chunk(delta: dict[str, object], finish: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        return frame(
            {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": options.name, "choices": [choice]}
        )

    yield b": keep-alive\n\n"
    await asyncio.sleep(options.ttft_s)
    yield chunk({"role": "assistant", "content": ""})
    parts = deltas(options, body)
    for number, delta in enumerate(parts):
        if options.fail_with and number == options.fail_after:
            if options.fail_with == "error":
                yield frame(
                    {
                        "error": {
                            "message": "The model failed.",
                            "type": "server_error",
                            "code": "upstream_error",
                            "param": None,
                        }
                    }
                )
            elif options.fail_with == "reset":
                raise ConnectionAbortedError
            elif options.fail_with == "stall":
                await asyncio.Event().wait()
            return
        yield chunk(delta)
        if options.gap_s > 0.0005:
            await asyncio.sleep(options.gap_s)
    yield chunk({}, "tool_calls" if "tool_calls" in parts[-1] else options.finish)
    usage = {"prompt_tokens": 12, "completion_tokens": len(parts), "total_tokens": 12 + len(parts)}
    yield frame(
        {
            "id": "chatcmpl-1",
            "object": "chat.completion.chunk",
            "created": 1,
            "model": options.name,
            "choices": [],
            "usage": usage,
        }
    )
    yield b"data: [DONE]\n\n"


def frame(value: object) -> bytes:
    return b"data: " + json.dumps(value, separators=(",", ":")).encode() + b"\n\n"


def error(status: int, code: str, message: str, headers: dict[str, str] | None = None) -> Response:
    body = {"error": {"message": message, "type": "invalid_request_error", "code": code, "param": None}}
    return JSONResponse(body, status, headers=headers)


def mock_gateway(*, key: str | None = None, dist: Path = DIST) -> Starlette:
    """The application. With *key*, every call under ``/v1`` must bring it."""

    def refused(request: Request) -> bool:
        return key is not None and request.headers.get("authorization") != f"Bearer {key}"

    def models(request: Request) -> Response:
        if refused(request):
            return error(401, "invalid_api_key", "A key is needed: send Authorization: Bearer KEY.")
        data = [
            {"id": name, "object": "model", "created": 1, "owned_by": name.split("/")[0], "description": text}
            for name, text in MODELS
        ]
        return JSONResponse({"object": "list", "data": data})

    async def chat(request: Request) -> Response:
        if refused(request):
            return error(401, "invalid_api_key", "A key is needed: send Authorization: Bearer KEY.")
        body = await request.json()
        options = Options(body["model"])
        if options.name == "openai/gpt-4o":
            return error(429, "rate_limit_exceeded", "Too many requests this minute.", {"retry-after": "7"})
        if options.name not in dict(MODELS):
            return error(404, "model_not_found", f"No model {options.name!r} here.")
        return StreamingResponse(answer(options, body), media_type="text/event-stream")

    routes = [
        Route("/v1/models", models),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        *playground_routes(dist),
    ]
    return Starlette(routes=routes)


@contextlib.contextmanager
def served(app: Starlette) -> Iterator[str]:
    """*app* on a free port of the loopback, in a thread; yields its URL."""
    config = uvicorn.Config(app, port=0, ws="none", log_level="critical", lifespan="off", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    listener = config.bind_socket()
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="mock-gateway")
    thread.start()
    try:
        # The socket listens already: a request sent now waits in the kernel until the server accepts it.
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listener.close()


if __name__ == "__main__":
    uvicorn.run(mock_gateway(), port=int(sys.argv[1]) if len(sys.argv) > 1 else 8899)
