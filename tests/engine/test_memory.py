"""A generation that is over is gone: no cycles for the garbage collector, however it ended."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from streamward import stream_text, tool
from streamward.errors import StreamwardError, UpstreamError
from streamward.testing import ScriptedModel, text, tool_call


@tool
async def ping() -> str:
    return "pong"


async def read_to_the_end() -> None:
    model = ScriptedModel([tool_call("ping")], [text("a", "b")])
    await stream_text(model, prompt="x", tools=[ping], max_steps=2).text


async def left() -> None:
    async for _ in stream_text(ScriptedModel([text("a", "b")]), prompt="x").text_stream:
        break
    await asyncio.sleep(0)


async def failed() -> None:
    try:
        await stream_text(ScriptedModel([*text("a"), UpstreamError("no")]), prompt="x").text
    except StreamwardError as exc:
        exc.__traceback__ = None  # its frames hold it: Python's doing


async def answered() -> None:
    response: Any = stream_text(ScriptedModel([text("a")]), prompt="x").to_ui_message_stream_response()
    async for _ in response.body_iterator:
        pass


@pytest.mark.parametrize("use", [read_to_the_end, left, failed, answered], ids=lambda use: use.__name__)
async def test_nothing_is_left_for_the_garbage_collector(use: Callable[[], Awaitable[None]]):
    await use()  # what is made once: imports, caches
    for _ in range(3):
        gc.collect()
    gc.disable()
    try:
        for _ in range(20):
            await use()
        await asyncio.sleep(0)
        assert gc.collect() < 20
    finally:
        gc.enable()
