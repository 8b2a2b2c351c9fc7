"""``OpenAIStream`` and what goes with it, against captures of the real packages and the real ``openai`` SDK."""

from __future__ import annotations

import json
from typing import Any

import httpx
import openai
import pytest

from streamward import StreamwardError
from streamward.errors import StreamTruncated
from streamward.legacy import AIStream, OpenAIStream, StreamData, StreamingTextResponse, stream_to_response
from support.aisdk_captures import document
from support.scripted_upstream import DONE, FINISH, HELLO, ROLE, Fault, delta, frame, scripted_upstream, stream
from support.scripted_upstream import document as answer

UNBUFFERED = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
CAPTURES = {capture["name"]: capture for capture in document("v2")["streams"]}


def sse(chunks: list[dict[str, Any]]) -> bytes:
    return b"".join(map(frame, chunks)) + DONE


async def pieces(stream: Any) -> list[str]:
    return [data.decode() async for data in stream]


@pytest.mark.parametrize("name", CAPTURES)
async def test_the_text_of_version_2_in_the_same_pieces(name: str) -> None:
    capture = CAPTURES[name]

    from_sse = await pieces(OpenAIStream(sse(capture["input_chunks"]), version=2))
    from_chunks = await pieces(OpenAIStream(capture["input_chunks"], version=2))

    assert from_sse == from_chunks == capture["chunks"]


@pytest.mark.parametrize("name", CAPTURES)
async def test_version_3_sends_each_piece_as_a_line(name: str) -> None:
    capture = CAPTURES[name]

    lines = await pieces(OpenAIStream(sse(capture["input_chunks"]), version=3))

    expected = [f"0:{json.dumps(piece, ensure_ascii=False)}\n" for piece in capture["chunks"]]
    assert lines == expected


@pytest.mark.parametrize("version", [2, 3])
async def test_half_an_emoji_in_a_delta_is_read(version: Any) -> None:
    """Some providers cut an emoji into two escapes; JavaScript sends each half as U+FFFD."""
    halves = [b'data: {"choices":[{"index":0,"delta":{"content":"a\\ud83d"}}]}\n\n', DONE]

    text = "".join(await pieces(OpenAIStream(b"".join(halves), version=version)))

    assert text == ("a\ufffd" if version == 2 else '0:"a\ufffd"\n')


async def test_complex_mode() -> None:
    capture = document("v2")["complex"]
    data = StreamData()
    data.append({"first": True})

    def final(_: str) -> None:
        data.append("end")
        data.append_message_annotation({"m": 1})
        data.close()

    stream = OpenAIStream(sse(CAPTURES["text"]["input_chunks"]), version=2, experimental_streamData=True, onFinal=final)
    response = StreamingTextResponse(stream, {}, data)

    assert {k.decode(): v.decode() for k, v in response.raw_headers} == UNBUFFERED | capture["headers"]
    assert b"".join([d async for d in response.body_iterator]).decode() == capture["wire"]
    with pytest.raises(StreamwardError, match="already been closed"):
        data.append(1)


@pytest.mark.parametrize("version", [2, 3])
async def test_callbacks_come_in_order(version: Any) -> None:
    told: list[Any] = []
    names = ("on_start", "on_token", "on_text", "on_completion", "on_final")
    callbacks = {name: (lambda *args, name=name: told.append((name, *args))) for name in names}

    await pieces(OpenAIStream(sse(CAPTURES["text"]["input_chunks"]), callbacks, version=version))

    text = [("on_token", "Hi"), ("on_text", "Hi"), ("on_token", " there 👋\u2028"), ("on_text", " there 👋\u2028")]
    if version == 2:
        text = [one for one in text if one[0] == "on_token"]
    assert told == [("on_start",), *text, ("on_completion", "Hi there 👋\u2028"), ("on_final", "Hi there 👋\u2028")]


async def test_a_function_call_is_answered_by_a_second_completion() -> None:
    told: list[Any] = []

    async def on_function_call(call: dict[str, Any], create_messages: Any) -> Any:
        told.append((call, create_messages({"tempC": 21})[-1]))
        return CAPTURES["text"]["input_chunks"]

    stream = OpenAIStream(
        CAPTURES["function-call"]["input_chunks"], version=2, experimental_on_function_call=on_function_call,
        on_final=told.append,
    )  # fmt: skip

    assert await pieces(stream) == ["Hi", " there 👋\u2028"]
    call = {"name": "weather", "arguments": {"city": 'A\t/"x" ż'}}
    result = {"role": "function", "name": "weather", "content": '{"tempC":21}'}
    assert told == [(call, result), "Hi there 👋\u2028"]


@pytest.mark.parametrize("answer", ["It is warm.", None])
async def test_tool_calls_are_answered_by_text_or_left_to_the_browser(answer: str | None) -> None:
    seen: list[Any] = []

    def on_tool_call(calls: dict[str, Any], append: Any) -> Any:
        seen.extend(tool["func"] for tool in calls["tools"])
        return answer

    chunks = CAPTURES["tool-calls"]["input_chunks"]
    lines = await pieces(OpenAIStream(chunks, version=3, experimental_onToolCall=on_tool_call))

    assert seen == [{"name": "weather", "arguments": {"a": "\n"}}, {"name": "time", "arguments": {}}]
    if answer is not None:
        assert lines == ['0:"It is warm."\n']
    else:
        (line,) = lines
        assert [call["id"] for call in json.loads(line[2:])["tool_calls"]] == ["call_1", "call_2"]


async def test_the_async_sdk_and_its_connection() -> None:
    async with scripted_upstream([*stream(ROLE, delta("Hel"), end=False), Fault.STALL]) as upstream:
        client = openai.AsyncOpenAI(base_url=upstream.base_url, api_key="k", max_retries=0)
        # Not awaited: the stream does it.
        running = OpenAIStream(client.chat.completions.create(model="m", messages=[], stream=True), version=2)
        first = await running.read()
        await running.aclose()
        await (await upstream.request()).wait_gone()
        await client.close()

    assert first == b"Hel"


async def test_the_sync_sdk_in_an_async_program() -> None:
    import asyncio

    async with scripted_upstream([*stream(ROLE, delta("Hel"), end=False), Fault.STALL]) as upstream:
        with openai.OpenAI(base_url=upstream.base_url, api_key="k", max_retries=0) as client:
            create = client.chat.completions.create
            running = OpenAIStream(await asyncio.to_thread(create, model="m", messages=[], stream=True), version=2)
            first = await running.read()
            waiting = asyncio.ensure_future(running.read())  # a thread is now blocked in recv
            await asyncio.sleep(0)
            await running.aclose()
            await (await upstream.request()).wait_gone()
            await asyncio.wait({waiting})
            waiting.exception()

    assert first == b"Hel"


async def test_an_httpx_response_and_a_failure() -> None:
    async with scripted_upstream(stream(*HELLO), answer({"error": "x"}, 500)) as upstream, httpx.AsyncClient() as client:
        async def post() -> httpx.Response:
            return await client.send(client.build_request("POST", upstream.base_url, json={}), stream=True)

        text = await pieces(OpenAIStream(await post(), version=2))
        with pytest.raises(StreamwardError, match="Response error"):
            await pieces(OpenAIStream(await post(), version=2))

    assert text == ["Hel", "lo"]


async def test_a_body_that_was_cut_off_is_an_error() -> None:
    whole = OpenAIStream([ROLE, delta("Hel"), FINISH], version=2)
    cut = OpenAIStream([ROLE, delta("Hel")], version=2)

    assert await pieces(whole) == ["Hel"]
    with pytest.raises(StreamTruncated):
        await pieces(cut)


async def test_any_sse_with_a_parser() -> None:
    body = b"event: a\ndata: x\n\ndata: skip\n\nevent: done\ndata: y\n\ndata: z\n\n"

    stream = AIStream(body, lambda data, info: None if data == "skip" else f"{data}{info['event']}", version=2)

    assert await pieces(stream) == ["xa"]


class NodeResponse:
    """``res`` of Node as Python spells it."""

    def __init__(self) -> None:
        self.told: list[Any] = []

    def write_head(self, status: int, headers: dict[str, str]) -> None:
        self.told.append((status, headers))

    def write(self, data: bytes) -> None:
        self.told.append(data)

    def end(self) -> None:
        self.told.append("end")


@pytest.mark.parametrize("in_loop", [True, False])
def test_stream_to_response_writes_like_node(in_loop: bool) -> None:
    import asyncio

    res = NodeResponse()
    stream = OpenAIStream(CAPTURES["text"]["input_chunks"], version=2)
    init = {"status": 206, "headers": {"x-a": "b"}}

    async def inside() -> None:
        await stream_to_response(stream, res, init)

    asyncio.run(inside()) if in_loop else stream_to_response(stream, res, init)

    unbuffered = {"Cache-Control": UNBUFFERED["cache-control"], "X-Accel-Buffering": "no"}
    head = (206, {"Content-Type": "text/plain; charset=utf-8", "x-a": "b", **unbuffered})
    assert res.told == [head, b"Hi", " there 👋\u2028".encode(), "end"]


def test_stream_to_response_under_wsgi() -> None:
    told: list[Any] = []

    stream = OpenAIStream(CAPTURES["text"]["input_chunks"], version=2)
    init = {"headers": {"cache-control": "private", "x-accel-buffering": "yes"}}
    body = stream_to_response(stream, lambda *head: told.append(head), init)

    assert b"".join(body).decode() == "Hi there 👋\u2028"
    assert told == [("200 OK", [("Content-Type", "text/plain; charset=utf-8"), *init["headers"].items()])]
