"""Streams written by the application: order, merging, failures, clients that leave."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest

from streamward import create_data_stream_response, create_ui_message_stream_response, stream_text
from streamward.errors import InvalidRequest
from streamward.testing import ScriptedModel, finish, text
from streamward.wire import data_stream, ui_message
from support.aisdk_captures import writers


async def body(response: Any) -> bytes:
    return b"".join([data async for data in response.body_iterator])


def frames(wire: bytes) -> list[Any]:
    return [json.loads(frame[6:]) for frame in wire.decode().split("\n\n") if frame.startswith("data: {")]


def result(said: str = "merged", **settings: Any) -> Any:
    return stream_text(ScriptedModel([text(said), finish(input_tokens=1, output_tokens=2)]), prompt="x", **settings)


async def test_everything_a_ui_writer_can_write():
    async def execute(writer: Any) -> None:
        writer.start({"a": 1})
        writer.data("status", {"pct": 10}, id="st")
        writer.data("notify", {"level": "info"}, transient=True)
        writer.source("https://example.com/w", id="s9", title="W")
        writer.file(media_type="image/png", url="https://example.com/f.png")
        writer.metadata({"b": 2})
        writer.write({"type": "data-plain", "data": [1]})

    wire = await body(create_ui_message_stream_response(execute, generate_message_id=lambda: "srv-id"))

    assert frames(wire) == [
        {"type": "start", "messageMetadata": {"a": 1}, "messageId": "srv-id"},
        {"type": "data-status", "id": "st", "data": {"pct": 10}},
        {"type": "data-notify", "data": {"level": "info"}, "transient": True},
        {"type": "source-url", "sourceId": "s9", "url": "https://example.com/w", "title": "W"},
        {"type": "file", "mediaType": "image/png", "url": "https://example.com/f.png"},
        {"type": "message-metadata", "messageMetadata": {"b": 2}},
        {"type": "data-plain", "data": [1]},
    ]
    assert wire.endswith(b"data: [DONE]\n\n")
    assert wire.count(b"[DONE]") == 1


@pytest.mark.parametrize("version", [5, 6, 7])
async def test_a_merged_result_comes_through_without_its_start(version: Any):
    def execute(writer: Any) -> None:
        writer.start()
        writer.merge(result(), send_start=False)

    wire = await body(create_ui_message_stream_response(execute, version=version))
    message = ui_message.read(wire, version=version).message

    assert [frame["type"] for frame in frames(wire)].count("start") == 1
    assert message is not None
    assert message["parts"][-1] == {"type": "text", "text": "merged", "state": "done"}


async def test_what_is_written_after_a_merged_stream_comes_after_it():
    async def execute(writer: Any) -> None:
        merged = result()
        writer.merge(merged, message_metadata=lambda event: {"n": 1} if event.__struct_config__.tag == "finish" else None)
        await merged.consume()
        writer.data("status", {"pct": 100}, id="st")

    kinds = [frame["type"] for frame in frames(await body(create_ui_message_stream_response(execute)))]

    assert kinds[0] == "start"
    assert kinds[-1] == "data-status"
    assert kinds.index("finish") < kinds.index("data-status")


async def test_a_data_stream_writer():
    async def execute(writer: Any) -> None:
        writer.data({"progress": 1})
        writer.annotation({"note": "n1"})
        writer.source("https://example.com/s1", id="s1", title="S1")
        writer.write('0:"own"')
        writer.merge(result(on_finish=lambda *_: writer.data({"progress": 2})))

    wire = (await body(create_data_stream_response(execute))).decode()

    assert wire.startswith(
        '2:[{"progress":1}]\n8:[{"note":"n1"}]\n'
        'h:{"sourceType":"url","id":"s1","url":"https://example.com/s1","title":"S1"}\n0:"own"\n'
    )
    assert '2:[{"progress":2}]\n' in wire
    message = data_stream.read(wire.encode()).message
    assert message is not None
    assert message["content"] == "ownmerged"


async def test_what_the_function_raises_is_a_masked_error():
    async def execute(writer: Any) -> None:
        writer.data("x", 1)
        raise RuntimeError("secret")

    ui = await body(create_ui_message_stream_response(execute))
    shown = await body(create_ui_message_stream_response(execute, on_error=lambda exc: str(exc)))
    lines = await body(create_data_stream_response(lambda _: 1 / 0))

    assert frames(ui)[-1] == {"type": "error", "errorText": "An error occurred."}
    assert frames(shown)[-1] == {"type": "error", "errorText": "secret"}
    assert lines == b'3:"An error occurred."\n'


async def test_a_client_that_leaves_cancels_the_function_and_what_was_merged():
    cancelled = asyncio.Event()
    model = ScriptedModel([text(*"abcdef")], delay_s=0.02)

    async def execute(writer: Any) -> None:
        writer.merge(stream_text(model, prompt="x"))
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    iterator = create_ui_message_stream_response(execute).body_iterator
    while b"text-delta" not in await anext(iterator):
        pass
    await iterator.aclose()

    async with asyncio.timeout(10):
        await cancelled.wait()
    assert model.streams[0].cancelled


async def test_nothing_runs_before_the_body_is_read():
    ran: list[int] = []
    response = create_ui_message_stream_response(lambda _: ran.append(1))
    await asyncio.sleep(0)

    assert ran == []
    await body(response)
    assert ran == [1]


async def test_a_merge_can_be_waited_for():
    async def execute(writer: Any) -> None:
        await writer.merge(result("first"), send_finish=False)
        await writer.merge(result("second"), send_start=False)

    said = [frame["delta"] for frame in frames(await body(create_ui_message_stream_response(execute))) if "delta" in frame]

    assert said == ["first", "second"]


@pytest.mark.parametrize("line", ["x", '0:"unfinished', "z:1"])
async def test_a_writer_refuses_lines_that_a_client_would_choke_on(line: str):
    problems: list[Exception] = []

    def execute(writer: Any) -> None:
        try:
            writer.write(line)
        except InvalidRequest as exc:
            problems.append(exc)

    await body(create_data_stream_response(execute))

    assert len(problems) == 1


@pytest.mark.parametrize(("version", "capture"), writers((4, 5, 6, 7)))
async def test_captured_writers_are_read_as_written(version: int, capture: dict[str, Any]):
    """What the real packages wrote, written line by line through our writers, comes out the same."""
    wire = capture["wire"]

    def execute(writer: Any) -> None:
        if version < 5:
            for line in wire.split("\n")[:-1]:
                writer.write(line)
        else:
            for frame in frames(wire.encode()):
                writer.write(frame)

    make: Any = create_data_stream_response if version < 5 else create_ui_message_stream_response
    written = await body(make(execute, version=version))

    assert written.decode() == wire
