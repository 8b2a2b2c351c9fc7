"""``Chat`` over real sockets: the UI message stream, the data stream, text, and a model behind a gateway."""

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamward.client import Chat, Client, Retries
from streamward.errors import Conflict, InvalidRequest, StreamInterrupted, UpstreamError
from support.gateway_server import config_text, gateway_server, until
from support.raw_http import KEY
from support.scripted_upstream import LAST, Fault, ScriptedUpstream, document, frame, head, http_chunk, scripted_upstream

QUICK = Retries(reconnects=2, pause_s=0.001, max_pause_s=0.002)
DONE = b"data: [DONE]\n\n"
HEADERS = head(200, "transfer-encoding: chunked", "x-vercel-ai-ui-message-stream: v1")
PLAIN = head(200, "transfer-encoding: chunked", content_type="text/plain; charset=utf-8")
NOTHING = [head(204, content_type=None)]


def ui(*chunks: dict[str, Any], end: bool = True) -> list[Any]:
    """A UI message stream, one HTTP chunk per frame."""
    return [HEADERS, *(http_chunk(frame(chunk)) for chunk in chunks), *([http_chunk(DONE), LAST] if end else [])]


START = {"type": "start", "messageId": "msg-1"}
STEP = {"type": "start-step"}
TEXT = {"type": "text-start", "id": "t"}
HEL = {"type": "text-delta", "id": "t", "delta": "Hel"}
LO = {"type": "text-delta", "id": "t", "delta": "lo"}
END = ({"type": "text-end", "id": "t"}, {"type": "finish-step"}, {"type": "finish", "finishReason": "stop"})
HELLO = ui(START, STEP, TEXT, HEL, LO, *END)
PARTS = [{"type": "step-start"}, {"type": "text", "text": "Hello", "state": "done"}]


@contextlib.asynccontextmanager
async def chatting(*scripts: Any, **options: Any) -> AsyncIterator[tuple[ScriptedUpstream, Chat]]:
    numbers = iter(range(100))
    options = {"id": "chat 1", "generate_id": lambda: f"id-{next(numbers)}", "retries": QUICK, **options}
    async with scripted_upstream(*scripts) as server, Chat(f"{server.base_url}/chat?team=a", **options) as chat:
        yield server, chat


def target(server: ScriptedUpstream, number: int) -> str:
    return server.seen[number].head.split(b" HTTP", 1)[0].decode()


async def test_append_posts_what_use_chat_posts_and_gives_the_message():
    heard: list[str] = []
    finished: list[Any] = []
    async with chatting(
        HELLO, on_text=heard.append, on_finish=lambda *said: finished.append(said), body={"model": "m"}
    ) as (server, chat):
        message = await chat.append("hi")

    user = {"id": "id-0", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
    assert message == {"id": "msg-1", "role": "assistant", "parts": PARTS}
    assert chat.messages == [user, message]
    assert heard == ["Hel", "lo"]
    assert finished == [(message, "stop")]
    assert target(server, 0) == "POST /v1/chat?team=a"
    assert server.seen[0].json() == {"model": "m", "id": "chat 1", "messages": [user], "trigger": "submit-message"}


async def test_status_and_messages_while_it_streams():
    states: list[Any] = []

    def note(chat: Chat) -> None:
        states.append((chat.status, [part.get("text") for part in chat.messages[-1]["parts"]][-1:]))

    gated = ui(START, STEP, TEXT, HEL, end=False)
    async with chatting([*gated, Fault.GATE, *ui(LO, *END)[1:]], on_change=note) as (server, chat):
        task = asyncio.create_task(chat.append("hi"))
        await until(lambda: ("streaming", ["Hel"]) in states)
        with pytest.raises(Conflict):
            await chat.append("more")
        server.gate.set()
        await task

    assert states[0] == ("submitted", ["hi"])
    assert states[-1] == ("ready", ["Hello"])


async def test_reload_asks_again_without_the_old_answer():
    async with chatting(HELLO) as (server, chat):
        await chat.append("hi")
        await chat.reload()

    assert [message["role"] for message in chat.messages] == ["user", "assistant"]
    body = server.seen[1].json()
    assert (body["trigger"], [message["role"] for message in body["messages"]]) == ("regenerate-message", ["user"])


async def test_stop_keeps_what_had_come_and_closes_the_connection_at_once():
    heard = asyncio.Event()
    stalls = [*ui(START, STEP, TEXT, HEL, end=False), Fault.STALL]
    async with chatting(stalls, on_text=lambda _: heard.set()) as (server, chat):
        task = asyncio.create_task(chat.append("hi"))
        await heard.wait()
        stopped = time.monotonic()
        await chat.stop()
        message = await task

        assert await server.seen[0].wait_gone() - stopped < 0.1
    assert message is not None
    assert message["parts"][-1]["text"] == "Hel"
    assert (chat.status, chat.error) == ("ready", None)


@pytest.mark.parametrize("resumable", [False, True])
async def test_stop_before_anything_came_is_no_error(resumable: bool):
    async with chatting([Fault.STALL], resumable=resumable) as (server, chat):
        task = asyncio.create_task(chat.append("hi"))
        seen = await server.request()
        await chat.stop()

        assert await task is None
        await seen.wait_gone()
    assert (chat.status, chat.error) == ("ready", None)


async def test_stop_of_a_model_behind_a_gateway_keeps_what_had_come():
    heard = asyncio.Event()
    async with gateway_server(config_text()) as served, Client(f"{served.url}/v1", api_key=KEY) as client:
        chat = Chat.over(client, "demo/lorem?tps=50&ttft_ms=0&tokens=500", on_text=lambda _: heard.set())
        task = asyncio.create_task(chat.append("hi"))
        await heard.wait()
        await chat.stop()
        message = await task
        await until(lambda: not served.gateway.active, 3)

    assert message is not None
    assert message["parts"][-1]["text"]
    assert (chat.status, chat.error) == ("ready", None)


async def test_a_cut_stream_is_an_interruption_and_its_text_stays():
    errors: list[Any] = []
    async with chatting([*ui(START, STEP, TEXT, HEL, end=False), LAST], on_error=errors.append) as (_, chat):
        with pytest.raises(StreamInterrupted) as raised:
            await chat.append("hi")

    assert (chat.status, chat.error, errors) == ("error", raised.value, [raised.value])
    assert chat.messages[-1]["parts"][-1]["text"] == "Hel"


async def test_an_error_part_and_an_error_answer_are_raised():
    async with chatting(ui(START, {"type": "error", "errorText": "An error occurred."}), document({"error": "no"}, 500)) as (
        _,
        chat,
    ):
        with pytest.raises(UpstreamError, match="An error occurred"):
            await chat.append("hi")
        with pytest.raises(UpstreamError, match="no"):
            await chat.append("again")

    assert chat.status == "error"


async def test_a_lost_connection_reads_the_running_answer_again_and_repeats_nothing():
    heard: list[str] = []
    cut = [*ui(START, STEP, TEXT, HEL, end=False), Fault.RESET]
    async with chatting(cut, HELLO, resumable=True, on_text=heard.append) as (server, chat):
        message = await chat.append("hi")

    assert target(server, 1) == "GET /v1/chat/chat%201/stream?team=a"
    assert message == {"id": "msg-1", "role": "assistant", "parts": PARTS}
    assert heard == ["Hel", "lo"]


async def test_reconnecting_ends_when_nothing_runs_or_the_bound_is_reached():
    cut = [*ui(START, STEP, TEXT, HEL, end=False), Fault.RESET]
    async with chatting(cut, NOTHING, resumable=True) as (_, chat):
        with pytest.raises(StreamInterrupted):
            await chat.append("hi")
    async with chatting(cut, resumable=True) as (server, chat):
        with pytest.raises(StreamInterrupted):
            await chat.append("hi")

    assert len(server.seen) == 1 + QUICK.reconnects


async def test_resume_reads_a_running_answer_or_finds_none():
    partial = {"id": "msg-1", "role": "assistant", "parts": [{"type": "text", "text": "He", "state": "streaming"}]}
    async with chatting(HELLO, NOTHING, messages=[partial]) as (server, chat):
        message = await chat.resume()
        nothing = await chat.resume()

    assert target(server, 0) == "GET /v1/chat/chat%201/stream?team=a"
    assert (message["parts"], nothing) == (PARTS, None)  # type: ignore[index]
    assert len(chat.messages) == 1
    assert chat.status == "ready"


async def test_client_side_tools_and_approvals_continue_the_same_message():
    asks = {"type": "tool-input-available", "toolCallId": "c1", "toolName": "ask", "input": {"q": 1}}
    danger = {"type": "tool-input-available", "toolCallId": "c2", "toolName": "danger", "input": {}}
    approval = {"type": "tool-approval-request", "toolCallId": "c2", "approvalId": "a1"}
    first = ui(START, STEP, asks, danger, approval, {"type": "finish-step"}, {"type": "finish"})
    async with chatting(first, HELLO) as (server, chat):
        await chat.append("hi")
        await chat.add_tool_output("c1", {"a": 2})
        await chat.answer_approval("a1", approved=False, reason="too risky")
        with pytest.raises(InvalidRequest, match="c9"):
            await chat.add_tool_output("c9", 1)
        await chat.append()

    sent = server.seen[1].json()["messages"][-1]["parts"]
    assert (sent[1]["state"], sent[1]["output"]) == ("output-available", {"a": 2})
    assert (sent[2]["state"], sent[2]["approval"]) == (
        "approval-responded", {"id": "a1", "approved": False, "reason": "too risky"},
    )  # fmt: skip
    assert [message["role"] for message in chat.messages] == ["user", "assistant"]
    assert chat.messages[-1]["parts"][-1]["text"] == "Hello"


async def test_data_parts_reach_the_application():
    data: list[Any] = []
    notice = {"type": "data-notify", "data": {"level": "info"}, "transient": True}
    async with chatting(ui(START, notice, STEP, TEXT, HEL, LO, *END), on_data=data.append) as (_, chat):
        message = await chat.append("hi")

    assert data == [notice]
    assert message is not None
    assert message["parts"] == PARTS


async def test_the_data_stream_of_ai_sdk_4():
    heard: list[str] = []
    lines = [b'f:{"messageId":"m1"}\n', b'2:[{"n":1}]\n', b'0:"Hel"\n', b'0:"lo"\n', b'e:{"finishReason":"stop"}\n']
    answer = [PLAIN, *map(http_chunk, lines), http_chunk(b'd:{"finishReason":"stop"}\n'), LAST]
    cut = [PLAIN, *map(http_chunk, lines[:3]), LAST]
    data: list[Any] = []
    async with chatting(answer, cut, protocol="data", on_text=heard.append, on_data=data.append) as (server, chat):
        message = await chat.append("hi")
        with pytest.raises(StreamInterrupted):
            await chat.append("more")

    assert message is not None
    assert (message["id"], message["content"], data[0]) == ("m1", "Hello", {"n": 1})
    sent = server.seen[1].json()["messages"]
    assert [(item["role"], item["content"]) for item in sent] == [("user", "hi"), ("assistant", "Hello"), ("user", "more")]


async def test_plain_text_ends_with_its_body_and_only_then():
    whole = [PLAIN, http_chunk("Grü".encode()[:3]), http_chunk("Grü".encode()[3:] + b"n"), LAST]
    broken = [PLAIN, http_chunk(b"Gr"), Fault.CLOSE]
    async with chatting(whole, broken, protocol="text") as (_, chat):
        message = await chat.append("hi")
        with pytest.raises(StreamInterrupted):
            await chat.append("more")

    assert message is not None
    assert message["parts"] == [{"type": "text", "text": "Grün"}]


async def test_a_chat_with_a_model_behind_the_gateway():
    heard: list[str] = []
    async with gateway_server(config_text()) as served, Client(f"{served.url}/v1", api_key=KEY) as client:
        chat = Chat.over(client, "demo/echo?tps=0&ttft_ms=0", system="Be short.", on_text=heard.append)
        first = await chat.append("parrots repeat")
        await chat.append("again")

    assert first is not None
    assert first["parts"][-1]["state"] == "done"
    assert "parrots repeat" in first["parts"][-1]["text"]
    assert [message["role"] for message in chat.messages] == ["user", "assistant"] * 2
    assert "".join(heard) == "".join(message["parts"][-1]["text"] for message in chat.messages[1::2])


async def test_tool_calls_of_a_model_are_answered_in_the_chat():
    tool = {"type": "function", "function": {"name": "weather", "parameters": {
        "type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}  # fmt: skip
    async with gateway_server(config_text()) as served, Client(f"{served.url}/v1", api_key=KEY) as client:
        chat = Chat.over(client, "demo/tools?tps=0&ttft_ms=0", settings={"tools": [tool]})
        message = await chat.append("weather?")
        assert message is not None
        call = message["parts"][-1]
        await chat.add_tool_output(call["toolCallId"], {"tempC": 21})
        answered = await chat.append()

    assert (call["type"], call["state"], list(call["input"])) == ("tool-weather", "input-available", ["city"])
    assert answered is not None
    assert json.dumps({"tempC": 21}, separators=(",", ":")) in answered["parts"][-1]["text"].replace(" ", "")
