"""One small server for every generation of the AI SDK's hooks, and a gateway beside them.

    UPSTREAM_URL=http://127.0.0.1:9000/v1 UPSTREAM_KEY=... PORT=8000 python examples/aisdk_conformance.py

`/v2` to `/v7` speak to `useChat`, `useCompletion` and `useObject` of that major; `/v1` is the gateway (key `gateway-key`).
Everything here is streamward's public API; the helpers of AI SDK 2 and 3 get their chunks over httpx, as they would get
them from the `openai` SDK.
"""

import asyncio
import json
import os
from collections.abc import Callable
from typing import Any

import httpx
import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from streamward import (
    StreamwardError,
    chat_socket,
    create_data_stream_response,
    create_ui_message_stream_response,
    generate_id,
    openai_compatible,
    resumable,
    stream_object,
    stream_text,
    tool,
)
from streamward.gateway import create_app
from streamward.legacy import OpenAIStream, StreamData, StreamingTextResponse, stream_to_response

SYSTEM = "You are a helpful assistant."
UPSTREAM_URL = os.environ.get("UPSTREAM_URL", "http://127.0.0.1:9000/v1")
UPSTREAM_KEY = os.environ.get("UPSTREAM_KEY", "upstream-key")
model_named = openai_compatible(UPSTREAM_URL, api_key=UPSTREAM_KEY, name="mock")
streams = resumable()
http = httpx.AsyncClient(timeout=httpx.Timeout(None, connect=10))

RETRIES = 2
RETRIED = frozenset({408, 409, 429, *range(500, 600)})
FIRST_BACKOFF_S = 2.0
GRACE_S = 2  # of open streams when the program is told to end; uvicorn's default is to wait for them for ever
MASKED = "An error occurred."
ROLES = frozenset({"system", "developer", "user", "assistant", "function", "tool", "data"})
MESSAGE_FIELDS = ("role", "content", "name", "function_call", "tool_calls", "tool_call_id")


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
    except (ValueError, RecursionError):
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
    for message in messages:
        if not isinstance(message, dict) or message.get("role") not in ROLES:
            raise BadBodyError("messages must be objects with a role")
        if not isinstance(message.get("content"), (str, list, type(None))) or not isinstance(message.get("parts", []), list):
            raise BadBodyError("a message needs content or parts")
        if "content" not in message and "parts" not in message:
            raise BadBodyError("a message needs content or parts")
    return messages


def chat_id(body: dict[str, Any]) -> str:
    chat = body.get("id")
    if not isinstance(chat, str) or not chat:
        raise BadBodyError("id must be a string")
    return chat


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
        model_of(body), system=SYSTEM, messages=chat_messages(body), tools=tools_of(version) if with_tools else None,
        max_steps=5, tool_errors="end" if version <= 4 else "to_model",
    )  # fmt: skip


# -- AI SDK 2, and of 3 the helpers of that time


async def chunks_of(request: Request, body: dict[str, Any], messages: list[Any], **fields: Any) -> httpx.Response:
    """The provider's answer, streaming. A client that leaves meanwhile cancels the call.

    Raises:
        UpstreamFailedError: after the retries.
    """
    model = body.get("model", "plain")
    if not isinstance(model, str):
        raise BadBodyError("model must be a string")
    call = asyncio.ensure_future(with_retries({"model": model, "messages": messages, "stream": True, **fields}))
    left = asyncio.ensure_future(request.receive())
    await asyncio.wait({call, left}, return_when=asyncio.FIRST_COMPLETED)
    left.cancel()
    if not call.done():
        call.cancel()
        raise ClientLeftError
    return call.result()


async def with_retries(body: dict[str, Any]) -> httpx.Response:
    url, asked = f"{UPSTREAM_URL}/chat/completions", json.dumps(body)
    headers = {"authorization": f"Bearer {UPSTREAM_KEY}", "content-type": "application/json"}
    for attempt in range(RETRIES + 1):
        wait_s = FIRST_BACKOFF_S * 2**attempt
        try:
            response = await http.send(http.build_request("POST", url, content=asked, headers=headers), stream=True)
        except httpx.TransportError as exc:
            if attempt == RETRIES:
                raise UpstreamFailedError from exc
        else:
            if response.is_success:
                return response
            await response.aclose()
            if response.status_code not in RETRIED or attempt == RETRIES:
                raise UpstreamFailedError
            after = response.headers.get("retry-after", "")
            wait_s = min(float(after), 60.0) if after.isdigit() else wait_s
        await asyncio.sleep(wait_s)
    raise UpstreamFailedError


class UpstreamFailedError(Exception):
    """Answered with 500; what it was is nobody's business."""


class ClientLeftError(Exception):
    """Nobody reads the answer any more."""


async def chat_chunks(request: Request, body: dict[str, Any], version: int) -> httpx.Response:
    told = [{key: message[key] for key in MESSAGE_FIELDS if key in message} for message in chat_messages(body)]
    fields = usage_of(version)
    if version == 2 and body.get("functions"):
        fields["functions"] = body["functions"]
    messages = [{"role": "system", "content": SYSTEM}, *(m for m in told if m["role"] != "data")]
    return await chunks_of(request, body, messages, **fields)


async def prompt_chunks(request: Request, body: dict[str, Any], version: int) -> httpx.Response:
    return await chunks_of(request, body, [{"role": "user", "content": prompt_of(body)}], **usage_of(version))


def usage_of(version: int) -> dict[str, Any]:
    return {"stream_options": {"include_usage": True}} if version == 3 else {}


async def helper_text(request: Request, version: int, chunks: Any) -> Response:
    response = await chunks(request, await body_of(request), version)
    return StreamingTextResponse(OpenAIStream(response, version=version))


async def helper_data(request: Request, version: int, chunks: Any) -> Response:
    data = StreamData()
    data.append({"note": "start"})

    def done(_: str) -> None:
        data.append({"note": "done"})
        data.append_message_annotation({"k": 1})
        data.close()

    response = await chunks(request, await body_of(request), version)
    stream = OpenAIStream(response, version=version, on_final=done, experimental_stream_data=True)
    return StreamingTextResponse(stream, {}, data)


class NodeResponse:
    """A response in the manner of Node, as `stream_to_response` writes it, over ASGI."""

    def __init__(self, stream: Any) -> None:
        self.stream = stream

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.send = send
        self.writing = stream_to_response(self.stream, self)
        left = asyncio.ensure_future(receive())
        await asyncio.wait({self.writing, left}, return_when=asyncio.FIRST_COMPLETED)
        left.cancel()
        if not self.writing.done():
            self.writing.cancel()
        elif self.head is not None and self.writing.exception() is not None:
            await PlainTextResponse(MASKED, 500)(scope, receive, send)  # nothing was sent yet
        else:
            self.writing.result()  # breaks the body off

    def write_head(self, status: int, headers: dict[str, str]) -> None:
        fields = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        self.head = {"type": "http.response.start", "status": status, "headers": fields}

    async def write(self, data: bytes) -> bool:
        await self.started()
        await self.send({"type": "http.response.body", "body": data, "more_body": True})
        return True

    async def end(self) -> None:
        await self.started()
        await self.send({"type": "http.response.body", "body": b""})

    async def started(self) -> None:
        head, self.head = self.head, None
        if head is not None:
            await self.send(head)


async def helper_node(request: Request, version: int) -> Any:
    return NodeResponse(OpenAIStream(await chat_chunks(request, await body_of(request), version), version=version))


# -- AI SDK 4 (and what of 3.4 is its streamText)


async def v3_chat_core(request: Request) -> Response:
    return answer(await body_of(request), 3).to_data_stream_response(version=3, on_error=masked)


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

        def done(*_: Any) -> None:
            writer.data({"progress": 2})
            writer.annotation({"note": "n2"})

        writer.merge(stream_text(model_of(body), system=SYSTEM, messages=messages, on_finish=done))

    return create_data_stream_response(execute)


# -- AI SDK 5, 6 and 7


def ui_answer(body: dict[str, Any], version: int) -> Any:
    return answer(body, version).to_ui_message_stream_response(
        version=version, send_reasoning=True, send_sources=True, original_messages=body["messages"],
        generate_message_id=generate_id,
    )  # fmt: skip


async def ui_chat(request: Request, version: int) -> Response:
    return ui_answer(await body_of(request), version)


async def ui_resumable(request: Request, version: int) -> Response:
    body = await body_of(request)
    return await streams.start(chat_id(body), ui_answer(body, version))


async def ui_resume(request: Request) -> Response:
    return await streams.resume(request.path_params["id"])


async def ui_socket(websocket: WebSocket) -> None:
    """`WebSocketChatTransport`: the turns of `/v7/api/resumable` over one connection, for pages of any origin."""
    await chat_socket(websocket, socket_answer, streams=streams, allowed_origins="*")  # there is no cookie to protect


def socket_answer(body: dict[str, Any], _: dict[str, str]) -> Any:
    try:
        return ui_answer(body, 7)
    except BadBodyError as exc:
        raise StreamwardError(str(exc), status=400) from None


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
    return answer(await body_of(request), version, with_tools=version >= 5).to_text_stream_response()


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
    asked = await request.body() or b"{}"  # `submit()` without an argument posts nothing
    try:
        json.loads(asked)
    except (ValueError, RecursionError):
        raise BadBodyError("the body is not JSON") from None
    result = stream_object(model_named("object"), output="json", prompt=asked.decode("utf-8", "replace"))
    return result.to_text_stream_response()


def masked(_: Exception) -> str:
    return MASKED


def checked(handler: Callable[..., Any], *more: Any) -> Callable[[Request], Any]:
    """*handler* with bad bodies answered as 400."""

    async def call(request: Request) -> Response:
        try:
            return await handler(request, *more)
        except BadBodyError as exc:
            return JSONResponse({"error": str(exc)}, 400)
        except StreamwardError as exc:
            return JSONResponse({"error": exc.info.message if exc.info.status < 500 else MASKED}, exc.info.status)
        except UpstreamFailedError:
            return PlainTextResponse(MASKED, 500)
        except ClientLeftError:
            return PlainTextResponse("", 499)

    return call


async def ready(_: Request) -> Response:
    return PlainTextResponse("ready")


def routes() -> list[BaseRoute]:
    """All routes but the gateway's."""
    table: list[tuple[str, Callable[[Request], Any]]] = [
        ("/v3/api/chat-core", checked(v3_chat_core)),
        ("/v3/api/chat-text", checked(chat_text, 3)),
        ("/v4/api/chat", checked(v4_chat)),
        ("/v4/api/custom", checked(v4_custom)),
    ]
    for version in (2, 3):
        table += [
            (f"/v{version}/api/chat", checked(helper_text, version, chat_chunks)),
            (f"/v{version}/api/chat-data", checked(helper_data, version, chat_chunks)),
            (f"/v{version}/api/completion", checked(helper_text, version, prompt_chunks)),
            (f"/v{version}/api/completion-data", checked(helper_data, version, prompt_chunks)),
            (f"/v{version}/api/node", checked(helper_node, version)),
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
            (f"/v{version}/api/resumable", checked(ui_resumable, version)),
        ]
    posts = [Route(path, endpoint, methods=["POST"]) for path, endpoint in table]
    gets = [Route(f"/v{version}/api/resumable/{{id:path}}/stream", checked(ui_resume)) for version in (5, 6, 7)]
    return [Route("/", ready), *posts, *gets, WebSocketRoute("/v7/api/chat-ws", ui_socket)]


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
    port = int(os.environ.get("PORT", "8000"))
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", timeout_graceful_shutdown=GRACE_S)
