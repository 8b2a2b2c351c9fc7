"""Resumable chats: replayed from the first frame, followed live, not stopped by a client that leaves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from streamward import stream_text
from streamward.engine.response import StreamResponse
from streamward.engine.resumable import Resumable, resumable
from streamward.testing import ScriptedModel, text
from streamward.wire import ui_message

CHAT = "chat/1 #ü"


@pytest.fixture(params=["memory", "sqlite"])
async def streams(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Resumable]:
    url = "memory" if request.param == "memory" else f"sqlite:{tmp_path / 'streams.db'}"
    async with resumable(url) as opened:
        yield opened


async def body(response: Any) -> bytes:
    return b"".join([data async for data in response.body_iterator])


def talking(model: ScriptedModel, **options: Any) -> StreamResponse:
    response: StreamResponse = stream_text(model, prompt="x").to_ui_message_stream_response(**options)
    return response


def said(wire: bytes) -> str:
    message = ui_message.read(wire).message
    return "" if message is None else "".join(part.get("text", "") for part in message["parts"])


async def test_the_first_reader_gets_the_stream_as_it_was(streams: Resumable):
    plain = await body(talking(ScriptedModel("Hello")))

    recorded = await body(await streams.start(CHAT, talking(ScriptedModel("Hello"))))

    assert recorded == plain


async def test_a_client_that_leaves_stops_nothing_and_may_come_back(streams: Resumable):
    model = ScriptedModel([text(*"abcdef")], delay_s=0.02)
    first = (await streams.start(CHAT, talking(model))).body_iterator
    while b"text-delta" not in await anext(first):
        pass
    await first.aclose()

    again = await streams.resume(CHAT)
    wire = await body(again)

    assert said(wire) == "abcdef"
    assert wire.startswith(b'data: {"type":"start"')
    assert wire.endswith(b"data: [DONE]\n\n")
    assert again.headers["x-vercel-ai-ui-message-stream"] == "v1"


async def test_nothing_live_is_204(streams: Resumable):
    assert (await streams.resume(CHAT)).status_code == 204

    await body(await streams.start(CHAT, talking(ScriptedModel("x"))))

    assert (await streams.resume(CHAT)).status_code == 204


async def test_chats_of_other_tenants_are_strangers(streams: Resumable):
    response = await streams.start(CHAT, talking(ScriptedModel([text("a", "b")], delay_s=0.05)), tenant="one")

    assert (await streams.resume(CHAT, tenant="two")).status_code == 204
    assert not await streams.stop(CHAT, tenant="two")
    assert said(await body(response)) == "ab"


async def test_a_stop_ends_it_for_every_reader(streams: Resumable):
    model = ScriptedModel([text(*["x"] * 100)], delay_s=0.02)
    readers = [await streams.start(CHAT, talking(model)), await streams.resume(CHAT)]
    reading = [asyncio.create_task(body(reader)) for reader in readers]
    while not model.streams or model.streams[0].given < 4:  # noqa: ASYNC110 - the script is no coroutine of ours
        await asyncio.sleep(0.005)

    assert await streams.stop(CHAT)

    for wire in await asyncio.gather(*reading):
        assert b'"type":"abort"' in wire
        assert b'"type":"finish"' not in wire
    assert model.streams[0].cancelled


async def test_keep_alives_fill_a_silence(streams: Resumable):
    response = await streams.start(CHAT, talking(ScriptedModel([text("a")], delay_s=0.4)))
    response.keep_alive_s = 0.2
    sent = bytearray()

    async def send(message: Any) -> None:
        sent.extend(message.get("body", b""))

    async def receive() -> Any:
        await asyncio.Event().wait()

    await response({"type": "http"}, receive, send)

    assert b": keep-alive\n\n" in sent
    assert said(bytes(sent)) == "a"
