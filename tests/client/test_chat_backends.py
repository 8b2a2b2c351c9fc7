"""``Chat`` with our own SDK on the other side, over every protocol it reads."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamward import generate_id, openai_compatible, stream_text, tool
from streamward.client import Chat
from streamward.errors import StreamwardError
from support.gateway_server import running
from support.scripted_upstream import DONE, HELLO, ROLE, Fault, ScriptedUpstream, delta, scripted_upstream, stream

ASK_USER = tool(
    name="askUser", description="Ask the user something.", schema={"type": "object", "properties": {}}
)  # no function: the chat answers


@asynccontextmanager
async def backend(*scripts: Any) -> AsyncIterator[tuple[str, ScriptedUpstream]]:
    """A chat back end as users write it, served by uvicorn in front of a scripted model."""
    async with scripted_upstream(*scripts) as upstream:
        model = openai_compatible(upstream.base_url, api_key="k", name="mock")("m")

        async def chat(request: Request) -> Response:
            body = await request.json()
            result = stream_text(model, messages=body["messages"], tools=[ASK_USER], max_retries=0)
            kind = request.path_params["kind"]
            if kind == "text":
                return result.to_text_stream_response()
            if kind == "data":
                return result.to_data_stream_response()
            return result.to_ui_message_stream_response(
                version=int(kind), original_messages=body["messages"], generate_message_id=generate_id
            )

        app = Starlette(routes=[Route("/{kind}", chat, methods=["POST"])])
        settings = uvicorn.Config(app, port=0, log_config=None, access_log=False, lifespan="off", ws="none")
        async with running(settings) as (_, port):
            yield f"http://127.0.0.1:{port}", upstream


CALL = delta(tool_calls=[{"index": 0, "id": "c1", "type": "function", "function": {"name": "askUser", "arguments": "{}"}}])
ASKS = stream(ROLE, CALL, delta(finish="tool_calls"), DONE)


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("/7", {}), ("/6", {"version": 6}), ("/5", {"version": 5}), ("/data", {"protocol": "data"}),
        ("/text", {"protocol": "text"}),
    ],
)  # fmt: skip
async def test_two_turns_over_every_protocol(path: str, options: dict[str, Any]):
    heard: list[str] = []
    async with backend(stream(*HELLO)) as (url, upstream), Chat(url + path, on_text=heard.append, **options) as chat:
        await chat.append("hi")
        message = await chat.append("and again")

    assert "".join(heard) == "Hello" * 2
    assert message is not None
    assert [part["text"] for part in message["parts"] if part["type"] == "text"] == ["Hello"]
    assert [item["role"] for item in chat.messages] == ["user", "assistant"] * 2
    sent = upstream.seen[1].json()["messages"]
    assert [(item["role"], item["content"]) for item in sent[-3:]] == [
        ("user", "hi"), ("assistant", "Hello"), ("user", "and again"),
    ]  # fmt: skip


@pytest.mark.parametrize(("path", "options"), [("/7", {}), ("/data", {"protocol": "data"})])
async def test_a_question_to_the_user_is_answered_in_the_chat(path: str, options: dict[str, Any]):
    async with backend(ASKS, stream(*HELLO)) as (url, upstream), Chat(url + path, **options) as chat:
        await chat.append("ask me")
        await chat.add_tool_output("c1", "blue")
        message = await chat.append()

    assert message is not None
    assert message["parts"][-1]["text"] == "Hello"
    assert [item["role"] for item in chat.messages] == ["user", "assistant"]
    outputs = [item["content"] for item in upstream.seen[1].json()["messages"] if item["role"] == "tool"]
    assert [output.strip('"') for output in outputs] == ["blue"]  # JSON text from version 4, text from the others


@pytest.mark.parametrize(("path", "options"), [("/7", {}), ("/data", {"protocol": "data"})])
async def test_a_model_that_breaks_off_is_an_error_and_its_text_stays(path: str, options: dict[str, Any]):
    broken = [*stream(ROLE, delta("Hel"), end=False), Fault.RESET]
    async with backend(broken) as (url, _), Chat(url + path, **options) as chat:
        with pytest.raises(StreamwardError):
            await chat.append("hi")

    assert chat.status == "error"
    assert [part["text"] for part in chat.messages[-1]["parts"] if part["type"] == "text"] == ["Hel"]


async def test_stop_reaches_the_model():
    heard = asyncio.Event()
    stalls = [*stream(ROLE, delta("Hel"), end=False), Fault.STALL]
    async with backend(stalls) as (url, upstream), Chat(url + "/7", on_text=lambda _: heard.set()) as chat:
        task = asyncio.create_task(chat.append("hi"))
        await heard.wait()
        await chat.stop()
        await task
        await upstream.seen[0].wait_gone()

    assert chat.status == "ready"
