"""Bodies without a response: the very bytes of the response helpers, as iterators."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from streamward import create_data_stream_response, stream_text, sync
from streamward.testing import ScriptedModel, error, reasoning, text

NAMES = ("text", "data", "ui_message")
SOON_S = 0.1


def model(**options: Any) -> ScriptedModel:
    return ScriptedModel([reasoning("hm"), text("Hé", "llo")], **options)


def fixed_id() -> str:
    return "id-1"


@pytest.mark.parametrize("name", NAMES)
async def test_a_body_is_that_of_its_response(name: str):
    whole = getattr(stream_text(model(), prompt="x", generate_id=fixed_id), f"to_{name}_stream_response")()
    alone = getattr(stream_text(model(), prompt="x", generate_id=fixed_id), f"to_{name}_stream")()

    assert b"".join([data async for data in whole.body_iterator]) == b"".join([data async for data in alone]) != b""


@pytest.mark.parametrize("name", NAMES)
def test_without_an_event_loop(name: str):
    whole = getattr(sync.stream_text(model(), prompt="x", generate_id=fixed_id), f"to_{name}_stream_response")()
    alone = getattr(sync.stream_text(model(), prompt="x", generate_id=fixed_id), f"to_{name}_stream")()

    assert b"".join(whole.iter_bytes()) == b"".join(alone) != b""


async def test_the_options_of_the_response_are_those_of_the_body():
    lines = b"".join([data async for data in stream_text(model(), prompt="x").to_data_stream(send_reasoning=True)])
    older = b"".join([data async for data in stream_text(model(), prompt="x").to_data_stream(version=3)])

    assert b'g:"hm"\n' in lines
    assert b"f:" in lines
    assert b"f:" not in older


@pytest.mark.parametrize("how", ["break", "aclose", "cancel"])
@pytest.mark.parametrize("name", NAMES)
async def test_leaving_a_body_stops_the_model(name: str, how: str):
    script = ScriptedModel([text(*"#bcdefgh")], delay_s=0.02)
    frames = getattr(stream_text(script, prompt="x"), f"to_{name}_stream")()

    async def read() -> None:
        async for data in frames:
            if b"#" in data and how != "cancel":
                break

    task = asyncio.ensure_future(read())
    if how == "cancel":
        await asyncio.sleep(0.08)
        task.cancel()
    await asyncio.wait((task,), timeout=1)
    if how == "aclose":
        await frames.aclose()
    else:
        del frames, task, read
    async with asyncio.timeout(SOON_S):
        await script.streams[0].closed.wait()

    assert script.streams[0].cancelled


@pytest.mark.parametrize(("name", "breaks"), [("text", True), ("data", False), ("ui_message", False)])
async def test_a_failure_is_said_or_breaks_the_body(name: str, breaks: bool):
    frames = getattr(stream_text(ScriptedModel(["Hi", error("secret")]), prompt="x"), f"to_{name}_stream")()
    got: list[bytes] = []
    broken = False
    try:
        async for data in frames:
            got += [data]
    except ConnectionAbortedError:
        broken = True

    assert broken is breaks
    assert b"Hi" in b"".join(got)
    assert b"secret" not in b"".join(got)
    assert [data async for data in frames] == []  # said once


async def test_a_writer_merges_a_body():
    result = stream_text(ScriptedModel("Hi"), prompt="x")

    def execute(writer: Any) -> None:
        writer.data({"progress": 1})
        writer.merge(result.to_data_stream(send_usage=False))

    response = create_data_stream_response(execute)
    wire = b"".join([data async for data in response.body_iterator])

    assert wire.startswith(b'2:[{"progress":1}]\nf:')
    assert b'0:"Hi"\n' in wire
