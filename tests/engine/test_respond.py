"""Responses: bytes, headers, disconnects, broken bodies, WSGI; over real servers where a server matters."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

from streamward import openai_compatible, stream_text
from streamward.engine.response import StreamResponse
from streamward.errors import InvalidRequest, UpstreamError
from streamward.testing import ScriptedModel, text
from support.scripted_upstream import ROLE, SSE, Fault, delta, http_chunk, scripted_upstream

SOON_S = 0.1


async def body(response: StreamResponse) -> bytes:
    return b"".join([data async for data in response.body_iterator])


def fields(response: StreamResponse) -> dict[str, str]:
    return dict(response.headers)


@asynccontextmanager
async def served(make: Any) -> AsyncIterator[str]:
    """A Starlette application on a real uvicorn whose only route answers with what *make* gives."""

    async def endpoint(_: Any) -> Response:
        response: Response = make()
        return response

    app = Starlette(routes=[Route("/", endpoint, methods=["GET", "POST"])])
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off"))
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn offers a flag, no event
            await asyncio.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}/"
    finally:
        server.should_exit = True
        await task


async def test_a_text_response_is_the_text():
    response = stream_text(ScriptedModel([text("Hé", "llo")]), prompt="x").to_text_stream_response()

    assert await body(response) == "Héllo".encode()
    assert fields(response)["content-type"] == "text/plain; charset=utf-8"


async def test_the_applications_headers_win_whatever_their_case():
    response = stream_text(ScriptedModel("x"), prompt="x").to_text_stream_response(
        headers={"Content-Type": "text/event-stream", "X-Own": "1"}, status=201
    )

    assert fields(response)["content-type"] == "text/event-stream"
    assert (fields(response)["x-own"], response.status_code) == ("1", 201)
    assert [name for name, _ in response.raw_headers].count(b"content-type") == 1


async def test_a_ui_message_stream_on_a_real_server():
    def make() -> Response:
        return stream_text(ScriptedModel("Hello"), prompt="x").to_ui_message_stream_response(version=6)

    async with served(make) as url, httpx.AsyncClient() as client:
        answer = await client.get(url)

    assert answer.status_code == 200
    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert answer.headers["content-type"] == "text/event-stream"
    frames = [json.loads(line[6:]) for line in answer.text.split("\n\n") if line.startswith("data: {")]
    assert [frame["type"] for frame in frames] == [
        "start", "start-step", "text-start", "text-delta", "text-end", "finish-step", "finish"
    ]  # fmt: skip
    assert answer.text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("helper", ["to_text_stream_response", "to_data_stream_response", "to_ui_message_stream_response"])
async def test_a_client_that_leaves_closes_the_provider_at_once(helper: str):
    async with scripted_upstream([SSE, http_chunk(ROLE + delta("Hello")), Fault.STALL]) as upstream:

        def make() -> Response:
            response: Response = getattr(stream_text(openai_compatible(upstream.base_url)("m"), prompt="x"), helper)()
            return response

        async with served(make) as url, httpx.AsyncClient() as client:
            async with client.stream("GET", url) as answer:
                seen = b""
                async for data in answer.aiter_raw():
                    seen += data
                    if b"Hello" in seen:
                        break
            left = time.monotonic()
            gone = await (await upstream.request()).wait_gone()

    assert gone - left < SOON_S


async def test_a_dropped_upstream_breaks_a_text_body():
    """A text stream has no way to say that it failed, so it must not end like a finished one."""
    async with scripted_upstream([SSE, http_chunk(ROLE + delta("Hel")), Fault.RESET]) as upstream:

        def make() -> Response:
            response: Response = stream_text(openai_compatible(upstream.base_url)("m"), prompt="x").to_text_stream_response()
            return response

        async with served(make) as url, httpx.AsyncClient() as client, client.stream("GET", url) as answer:
            with pytest.raises(httpx.RemoteProtocolError):
                await answer.aread()


async def test_a_dropped_upstream_is_an_error_part_and_no_clean_finish():
    async with scripted_upstream([SSE, http_chunk(ROLE + delta("Hel")), Fault.RESET]) as upstream:
        result = stream_text(openai_compatible(upstream.base_url)("m"), prompt="x", max_retries=0)
        wire = (await body(result.to_data_stream_response())).decode()

    assert '0:"Hel"\n3:"An error occurred."\n' in wire
    assert '"finishReason":"stop"' not in wire


async def test_errors_are_masked_unless_the_application_says_otherwise():
    def failing() -> Any:
        return stream_text(ScriptedModel([*text("a"), UpstreamError("secret detail")]), prompt="x")

    masked = await body(failing().to_ui_message_stream_response())
    shown = await body(failing().to_ui_message_stream_response(on_error=lambda exc: f"{type(exc).__name__}: {exc}"))

    assert b"secret" not in masked
    assert b'"errorText":"An error occurred."' in masked
    assert b'"errorText":"UpstreamError: secret detail"' in shown


async def test_an_on_error_that_fails_leaks_nothing():
    def broken(_: Exception) -> str:
        raise RuntimeError("broken mask")

    wire = await body(
        stream_text(ScriptedModel([*text("a"), UpstreamError("secret")]), prompt="x").to_data_stream_response(on_error=broken)
    )

    assert b'3:"An error occurred."' in wire
    assert b"secret" not in wire


async def test_silence_is_filled_with_keep_alives():
    model = ScriptedModel([text("a", "b")], delay_s=0.6)
    response = stream_text(model, prompt="x").to_ui_message_stream_response(keep_alive_s=0.2)

    async def serve() -> bytes:
        sent = bytearray()

        async def send(message: Any) -> None:
            sent.extend(message.get("body", b""))

        async def receive() -> Any:
            await asyncio.Event().wait()

        await response({"type": "http"}, receive, send)
        return bytes(sent)

    wire = await serve()

    assert wire.count(b": keep-alive\n\n") >= 2
    assert wire.endswith(b"data: [DONE]\n\n")


async def test_a_continued_message_keeps_its_id():
    messages = [
        {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "x"}]},
        {"id": "a1", "role": "assistant", "parts": [
            {"type": "tool-ask", "toolCallId": "c", "state": "output-available", "input": {}, "output": "yes"},
        ]},
    ]  # fmt: skip
    model = ScriptedModel("go on")
    wire = await body(stream_text(model, messages=messages).to_ui_message_stream_response())

    assert wire.startswith(b'data: {"type":"start","messageId":"a1"}\n\n')


async def test_a_new_message_gets_an_id_when_asked_for():
    original = [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "x"}]}]
    response = stream_text(ScriptedModel("x"), messages=original).to_ui_message_stream_response(
        original_messages=original, generate_message_id=lambda: "new-1"
    )

    assert (await body(response)).startswith(b'data: {"type":"start","messageId":"new-1"}\n\n')


async def test_on_finish_gets_the_assembled_message():
    told: list[Any] = []
    original = [{"id": "u1", "role": "user", "parts": [{"type": "text", "text": "x"}]}]
    response = stream_text(ScriptedModel("Hello"), messages=original).to_ui_message_stream_response(
        original_messages=original, generate_message_id=lambda: "new-1", on_finish=told.append
    )
    await body(response)

    (finish,) = told
    assert finish.response_message["id"] == "new-1"
    assert finish.response_message["parts"][-1] == {"type": "text", "text": "Hello", "state": "done"}
    assert [message["id"] for message in finish.messages] == ["u1", "new-1"]
    assert (finish.is_aborted, finish.is_continuation, finish.finish_reason) == (False, False, "stop")


async def test_on_finish_is_told_of_a_client_that_left():
    told: asyncio.Queue[Any] = asyncio.Queue()
    result = stream_text(ScriptedModel([text(*"abc")], delay_s=0.02), prompt="x")
    response = result.to_ui_message_stream_response(on_finish=told.put, generate_message_id=lambda: "m1")
    iterator = response.body_iterator
    while b"text-delta" not in await anext(iterator):
        pass
    await iterator.aclose()

    async with asyncio.timeout(10):
        finish = await told.get()
    assert finish.is_aborted
    assert finish.response_message["parts"][-1]["text"].startswith("a")


@pytest.mark.parametrize("version", [2, 8])
async def test_unknown_versions_are_refused(version: int):
    with pytest.raises(InvalidRequest, match="version"):
        stream_text(ScriptedModel("x"), prompt="x").to_ui_message_stream_response(version=version)
    with pytest.raises(InvalidRequest, match="version"):
        stream_text(ScriptedModel("x"), prompt="x").to_data_stream_response(version=version)


def test_a_wsgi_server_streams_it():
    """wsgiref in a thread, each delta its own piece; the stream runs on the background loop."""

    class Quiet(WSGIRequestHandler):
        def log_message(self, *args: Any) -> None: ...

    def app(environ: Any, start_response: Any) -> Any:
        response = stream_text(ScriptedModel([text("Hel", "lo")]), prompt="x").to_data_stream_response()
        return response.wsgi(environ, start_response)

    server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    try:
        answer = httpx.get(f"http://127.0.0.1:{server.server_port}/")
    finally:
        thread.join()
        server.server_close()

    assert answer.headers["x-vercel-ai-data-stream"] == "v1"
    assert '0:"Hel"\n0:"lo"\n' in answer.text


def test_closing_a_wsgi_body_stops_the_model():
    model = ScriptedModel([text(*"abcdef")], delay_s=0.01)
    pieces = stream_text(model, prompt="x").to_text_stream_response().wsgi({}, lambda *_: None)

    next(pieces)
    pieces.close()

    assert model.streams[0].cancelled
