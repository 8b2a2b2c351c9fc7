"""One small server for every generation of the AI SDK's hooks, and a gateway beside them.

    UPSTREAM_URL=http://127.0.0.1:9000/v1 UPSTREAM_KEY=... PORT=8000 python examples/aisdk_conformance.py

`/v2` to `/v7` speak to `useChat`, `useCompletion` and `useObject` of that major; `/v1` is the gateway (key `gateway-key`).
Everything here is streamward's public API.
"""

import asyncio
import os
from collections.abc import Callable
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from streamward import (
    StreamwardError,
    create_data_stream_response,
    create_ui_message_stream_response,
    generate_id,
    openai_compatible,
    stream_object,
    stream_text,
    tool,
)
from streamward.gateway import create_app

SYSTEM = "You are a helpful assistant."
UPSTREAM_URL = os.environ.get("UPSTREAM_URL", "http://127.0.0.1:9000/v1")
UPSTREAM_KEY = os.environ.get("UPSTREAM_KEY", "upstream-key")
model_named = openai_compatible(UPSTREAM_URL, api_key=UPSTREAM_KEY, name="mock")


# -- tools


@tool
async def weather(city: str) -> dict[str, Any]:
    """Current weather in a city."""
    if city == "Slowville":
        await asyncio.sleep(0.06)
    return {"city": city, "tempC": 21}


@tool
async def failing() -> None:
    """A tool that always fails."""
    raise RuntimeError("tool exploded: internal detail")


ask_user = tool(
    name="askUser",
    description="Ask the user something.",
    schema={"type": "object", "properties": {"question": {"type": "string"}}, "required": ["question"]},
)  # no function: the browser answers


@tool(needs_approval=True)
async def danger(path: str) -> dict[str, str]:
    """Remove something, after somebody agreed."""
    return {"removed": path}


TOOLS = [weather, failing, ask_user]
TOOLS_WITH_APPROVAL = [*TOOLS, danger]


def tools_of(version: int) -> list[Any]:
    return TOOLS_WITH_APPROVAL if version >= 6 else TOOLS


# -- requests


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object of *request*; anything else is the client's mistake."""
    try:
        body = await request.json()
    except ValueError:
        raise BadBodyError("the body is not JSON") from None
    if not isinstance(body, dict):
        raise BadBodyError("the body must be a JSON object")
    return body


class BadBodyError(Exception):
    """Answered with 400."""


def chat_messages(body: dict[str, Any]) -> list[Any]:
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        raise BadBodyError("messages must be a non-empty array")
    return messages


def prompt_of(body: dict[str, Any]) -> str:
    prompt = body.get("prompt")
    if not isinstance(prompt, str):
        raise BadBodyError("prompt must be a string")
    return prompt


def model_of(body: dict[str, Any], default: str = "plain") -> Any:
    name = body.get("model", default)
    if not isinstance(name, str):
        raise BadBodyError("model must be a string")
    return model_named(name)


def answer(body: dict[str, Any], version: int, *, with_tools: bool = True) -> Any:
    """The model's answer to a chat, with up to five model calls."""
    return stream_text(
        model_of(body), system=SYSTEM, messages=chat_messages(body), tools=tools_of(version) if with_tools else None, max_steps=5
    )


# -- AI SDK 4 (and what of 3.4 is its streamText)


async def v3_chat_core(request: Request) -> Response:
    return answer(await body_of(request), 3).to_data_stream_response(version=3, on_error=masked)


async def v3_chat_text(request: Request) -> Response:
    return answer(await body_of(request), 3).to_text_stream_response()


async def v4_chat(request: Request) -> Response:
    result = answer(await body_of(request), 4)
    return result.to_data_stream_response(send_reasoning=True, send_sources=True, tool_call_streaming=True)


async def v4_custom(request: Request) -> Response:
    body = await body_of(request)
    messages = chat_messages(body)

    async def execute(writer: Any) -> None:
        writer.data({"progress": 1})
        writer.annotation({"note": "n1"})
        writer.source("https://example.com/s1", id="s1", title="S1")

        def done(_: Any) -> None:
            writer.data({"progress": 2})
            writer.annotation({"note": "n2"})

        writer.merge(stream_text(model_of(body), system=SYSTEM, messages=messages, on_finish=done))

    return create_data_stream_response(execute)


# -- AI SDK 5, 6 and 7


async def ui_chat(request: Request, version: int) -> Response:
    body = await body_of(request)
    return answer(body, version).to_ui_message_stream_response(
        version=version, send_reasoning=True, send_sources=True, original_messages=body["messages"],
        generate_message_id=generate_id,
    )  # fmt: skip


async def ui_custom(request: Request, version: int) -> Response:
    body = await body_of(request)
    messages = chat_messages(body)

    async def execute(writer: Any) -> None:
        writer.start({"requestId": "r1"})
        writer.data("status", {"pct": 10}, id="st")
        writer.data("notify", {"level": "info"}, transient=True)
        writer.source("https://example.com/s1", id="s1", title="S1")
        writer.file(media_type="image/png", url="https://example.com/f.png")
        result = stream_text(model_of(body), system=SYSTEM, messages=messages)

        def total(event: Any) -> Any:
            if event.__struct_config__.tag == "finish":
                return {"totalTokens": event.usage.total if event.usage else 0}
            return None

        writer.merge(result, send_start=False, message_metadata=total)
        await result.consume()
        writer.data("status", {"pct": 100}, id="st")

    return create_ui_message_stream_response(execute, version=version)


# -- what all versions have in common


async def chat_text(request: Request, version: int) -> Response:
    return answer(await body_of(request), version).to_text_stream_response()


async def completion(request: Request, version: int) -> Response:
    body = await body_of(request)
    result = stream_text(model_of(body), prompt=prompt_of(body))
    if version <= 4:
        return result.to_data_stream_response(version=version)
    return result.to_ui_message_stream_response(version=version)


async def completion_text(request: Request, version: int) -> Response:
    body = await body_of(request)
    return stream_text(model_of(body), prompt=prompt_of(body)).to_text_stream_response()


async def object_stream(request: Request, version: int) -> Response:
    """Whatever JSON was posted is the prompt; the object comes as a text stream."""
    asked = await request.body()
    result = stream_object(model_named("object"), output="json", prompt=asked.decode("utf-8", "replace") or "{}")
    return result.to_text_stream_response()


def masked(_: Exception) -> str:
    return "An error occurred."


def checked(handler: Callable[..., Any], version: int | None = None) -> Callable[[Request], Any]:
    """*handler* with bad bodies answered as 400."""

    async def call(request: Request) -> Response:
        try:
            return await (handler(request) if version is None else handler(request, version))
        except BadBodyError as exc:
            return JSONResponse({"error": str(exc)}, 400)
        except StreamwardError as exc:
            return JSONResponse({"error": exc.info.message}, exc.info.status if exc.info.status < 500 else 400)

    return call


async def ready(_: Request) -> Response:
    return PlainTextResponse("ready")


def routes() -> list[Route]:
    """All routes but the gateway's."""
    table: list[tuple[str, Callable[[Request], Any]]] = [
        ("/v3/api/chat-core", checked(v3_chat_core)),
        ("/v3/api/chat-text", checked(v3_chat_text)),
        ("/v4/api/chat", checked(v4_chat)),
        ("/v4/api/custom", checked(v4_custom)),
    ]
    for version in (4, 5, 6, 7):
        table += [
            (f"/v{version}/api/chat-text", checked(chat_text, version)),
            (f"/v{version}/api/completion", checked(completion, version)),
            (f"/v{version}/api/completion-text", checked(completion_text, version)),
            (f"/v{version}/api/object", checked(object_stream, version)),
        ]
    for version in (5, 6, 7):
        table += [
            (f"/v{version}/api/chat", checked(ui_chat, version)),
            (f"/v{version}/api/custom", checked(ui_custom, version)),
        ]
    return [Route("/", ready), *(Route(path, endpoint, methods=["POST"]) for path, endpoint in table)]


app = create_app(
    {
        "auth": {"keys": ["gateway-key"]},
        "providers": {"mock": {"base_url": UPSTREAM_URL, "api_key": UPSTREAM_KEY}},
        "server": {"allowed_hosts": ["*"]},
        "logging": {"format": "off"},
    },
    routes=routes(),
)

if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ.get("PORT", "8000")), log_level="warning")
