"""The sync twin does what the async SDK does: one suite, both forms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest

import streamward
from streamward import sync
from streamward.errors import UpstreamError
from streamward.testing import ScriptedModel, assert_stream, finish, text, tool_call
from support.scripted_upstream import ROLE, SSE, Fault, delta, http_chunk, scripted_upstream


class Async:
    """The async SDK, used from plain code."""

    def each(self, view: Callable[[Any], Any], limit: int | None = None, **settings: Any) -> list[Any]:
        async def read() -> list[Any]:
            items: list[Any] = []
            async for item in view(streamward.stream_text(**settings)):
                items.append(item)
                if len(items) == limit:
                    break
            return items

        return asyncio.run(read())

    def values(self, *names: str, **settings: Any) -> list[Any]:
        async def read() -> list[Any]:
            result = streamward.stream_text(**settings)
            return [await getattr(result, name) for name in names]

        return asyncio.run(read())


class Sync:
    """The sync twin."""

    def each(self, view: Callable[[Any], Any], limit: int | None = None, **settings: Any) -> list[Any]:
        items: list[Any] = []
        for item in view(sync.stream_text(**settings)):
            items.append(item)
            if len(items) == limit:
                break
        return items

    def values(self, *names: str, **settings: Any) -> list[Any]:
        result = sync.stream_text(**settings)
        return [getattr(result, name) for name in names]


@pytest.fixture(params=[Async, Sync])
def sdk(request: pytest.FixtureRequest) -> Any:
    return request.param()


def weather(city: str) -> dict[str, Any]:
    return {"city": city}


def test_text(sdk: Any):
    assert sdk.each(lambda r: r.text_stream, model=ScriptedModel([text("a", "b")]), prompt="x") == ["a", "b"]


def test_events(sdk: Any):
    events = sdk.each(lambda r: r, model=ScriptedModel([text("a", "b")]), prompt="x")

    assert_stream(events, text="ab", finish_reason="stop")


def test_values(sdk: Any):
    model = ScriptedModel([text("a"), finish(input_tokens=1, output_tokens=2)])

    said, reason, usage = sdk.values("text", "finish_reason", "usage", model=model, prompt="x")

    assert (said, reason, usage.output_tokens) == ("a", "stop", 2)


def test_tools(sdk: Any):
    model = ScriptedModel([tool_call("weather", {"city": "P"})], "done")

    said, steps = sdk.values("text", "steps", model=model, prompt="x", tools=[weather], max_steps=2)

    assert (said, len(steps), steps[0].tool_results[0].output) == ("done", 2, {"city": "P"})


def test_partial_objects(sdk: Any):
    model = ScriptedModel([text('{"city":"P', 'aris"}')])
    schema = {"type": "object", "properties": {"city": {"type": "string"}}}

    partials = sdk.each(lambda r: r.partial_stream, model=model, prompt="x", output=streamward.engine.output.object(schema))

    assert partials == [{"city": "P"}, {"city": "Paris"}]


def test_failures_are_raised_typed(sdk: Any):
    for read in (
        lambda: sdk.values("text", model=ScriptedModel(UpstreamError("no")), prompt="x"),
        lambda: sdk.each(lambda r: r.text_stream, model=ScriptedModel(UpstreamError("no")), prompt="x"),
    ):
        with pytest.raises(UpstreamError, match="no"):
            read()


def test_leaving_the_loop_stops_the_model(sdk: Any):
    model = ScriptedModel([text(*"abcdef")], delay_s=0.005)

    assert sdk.each(lambda r: r.text_stream, limit=2, model=model, prompt="x") == ["a", "b"]
    deadline = time.monotonic() + 0.1
    while not model.streams[0].cancelled and time.monotonic() < deadline:
        time.sleep(0.001)
    assert model.streams[0].cancelled


async def test_the_sync_twin_closes_the_providers_connection_within_100_ms():
    async with scripted_upstream([SSE, http_chunk(ROLE + delta("Hel")), Fault.STALL]) as upstream:
        model = streamward.openai_compatible(upstream.base_url)("m")

        def read() -> float:
            for _ in sync.stream_text(model, prompt="x").text_stream:
                break
            return time.monotonic()

        left = await asyncio.to_thread(read)
        gone = await (await upstream.request()).wait_gone()

    assert gone - left < 0.1


def test_stop_and_with_close_it():
    model = ScriptedModel([text(*"abcdef")], [text(*"abcdef")], delay_s=0.005)

    result = sync.stream_text(model, prompt="x")
    next(iter(result.text_stream))
    result.stop()
    with sync.stream_text(model, prompt="x") as other:
        next(iter(other.text_stream))

    assert [stream.cancelled for stream in model.streams] == [True, True]
    assert result.aborted
    assert result.text.startswith("a")


def test_views_can_be_read_again():
    result = sync.stream_text(ScriptedModel([text("a", "b")]), prompt="x")

    assert list(result.text_stream) == list(result.text_stream) == ["a", "b"]


def test_generate_and_objects():
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}

    assert sync.generate_text(ScriptedModel("x"), prompt="x").text == "x"
    assert sync.generate_object(ScriptedModel('{"n":1}'), schema=schema, prompt="x").object == {"n": 1}


async def test_it_works_beside_a_running_event_loop():
    """A notebook or a Django view: plain code on a thread that has a loop."""
    assert sync.generate_text(ScriptedModel("x"), prompt="x").text == "x"
