"""Leaving early closes the provider's connection within 100 ms, in every form, over real connections."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from streamward import openai_compatible, stream_text, tool
from streamward.events import Abort
from streamward.testing import ScriptedModel, assert_stream, text, tool_call
from support.scripted_upstream import ROLE, SSE, Fault, ScriptedUpstream, delta, http_chunk, scripted_upstream

SOON_S = 0.1
TALKING = [SSE, http_chunk(ROLE + delta("Hel")), http_chunk(delta("lo")), Fault.STALL]


@pytest.fixture
async def upstream() -> AsyncIterator[ScriptedUpstream]:
    async with scripted_upstream(TALKING) as server:
        yield server


def model(upstream: ScriptedUpstream) -> Any:
    return openai_compatible(upstream.base_url)("m")


async def by_break(result: Any) -> None:
    async for _ in result.text_stream:
        break


async def by_break_of_events(result: Any) -> None:
    async for event in result:
        if event.__struct_config__.tag == "text-delta":
            break


async def by_an_exception_in_the_loop(result: Any) -> None:
    async def read() -> None:
        async for _ in result.text_stream:
            raise LookupError

    with pytest.raises(LookupError):
        await read()


async def by_stop(result: Any) -> None:
    await first_delta(result)
    result.stop()


async def by_leaving_the_context(result: Any) -> None:
    async with result:
        await first_delta(result)


async def by_cancelling_the_task(result: Any) -> None:
    began = asyncio.Event()

    async def read() -> None:
        async for _ in result.text_stream:
            began.set()

    task = asyncio.create_task(read())
    await began.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def by_a_timeout(result: Any) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.05):
            await result.text


async def by_closing_the_iterator(result: Any) -> None:
    iterator = aiter(result.text_stream)
    await anext(iterator)
    await iterator.aclose()


async def first_delta(result: Any) -> None:
    """Wait until the first text is there, without being a reader that leaves."""
    iterator = aiter(result.text_stream)
    await anext(iterator)
    result.kept = iterator  # dropped with the result


WAYS: list[Callable[[Any], Awaitable[None]]] = [
    by_break, by_break_of_events, by_an_exception_in_the_loop, by_stop, by_leaving_the_context, by_cancelling_the_task,
    by_a_timeout, by_closing_the_iterator,
]  # fmt: skip


@pytest.mark.parametrize("leave", WAYS, ids=lambda way: way.__name__)
async def test_leaving_closes_the_connection_at_once(upstream: ScriptedUpstream, leave: Callable[[Any], Awaitable[None]]):
    result = stream_text(model(upstream), prompt="x")

    await leave(result)
    left = time.monotonic()
    gone = await (await upstream.request()).wait_gone()

    assert gone - left < SOON_S
    assert result.aborted
    assert_stream(result.run.events)


async def test_dropping_the_result_closes_the_connection(upstream: ScriptedUpstream):
    result = stream_text(model(upstream), prompt="x")
    iterator = aiter(result.text_stream)
    await anext(iterator)

    del result, iterator
    gc.collect()
    left = time.monotonic()

    assert await (await upstream.request()).wait_gone() - left < SOON_S


async def test_a_reader_that_leaves_does_not_stop_another(upstream: ScriptedUpstream):
    result = stream_text(ScriptedModel([text("a", "b", "c")], delay_s=0.001), prompt="x")
    others = asyncio.create_task(collect(result.text_stream))
    await asyncio.sleep(0)

    async for _ in result.text_stream:
        break

    assert await others == ["a", "b", "c"]


async def collect(view: Any) -> list[Any]:
    return [item async for item in view]


async def test_a_stop_is_told_with_what_had_come(upstream: ScriptedUpstream):
    told: list[Any] = []
    result = stream_text(model(upstream), prompt="x", on_abort=told.append)

    async for _ in result.text_stream:
        result.stop("enough")

    assert [partial.reason for partial in told] == ["enough"]
    assert told[0].text.startswith("Hel")
    assert told[0].steps[-1].finish_reason is None


async def test_after_a_stop_the_awaitables_give_what_there_was(upstream: ScriptedUpstream):
    result = stream_text(model(upstream), prompt="x")
    await by_stop(result)

    assert (await result.text).startswith("Hel")
    assert await result.finish_reason is None
    assert isinstance((await result.full_stream)[-1], Abort)


async def test_stopping_before_the_first_use_sends_nothing():
    scripted = ScriptedModel("never")
    result = stream_text(scripted, prompt="x")

    result.stop()

    assert await result.text == ""
    assert scripted.calls == []


async def test_running_tools_are_cancelled():
    began, cancelled = asyncio.Event(), asyncio.Event()

    @tool
    async def forever() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.set()

    result = stream_text(ScriptedModel([tool_call("forever")]), prompt="x", tools=[forever], max_steps=2)
    task = asyncio.create_task(result.consume())
    await began.wait()
    task.cancel()

    async with asyncio.timeout(SOON_S):
        await cancelled.wait()


async def test_nothing_is_produced_that_nobody_reads():
    """The producer stays a bounded window ahead of a reader that has stopped asking."""
    from streamward.engine.run import WINDOW

    scripted = ScriptedModel([text(*["x"] * 1000)])
    result = stream_text(scripted, prompt="x")
    iterator = aiter(result.text_stream)
    await anext(iterator)
    for _ in range(2000):
        await asyncio.sleep(0)

    assert scripted.streams[0].given <= 2 * WINDOW + 8  # one window handed out, one ahead of it
    assert len([item async for item in iterator]) == 999


async def test_a_next_step_waits_for_a_reader():
    scripted = ScriptedModel([tool_call("ping")], "second")
    result = stream_text(scripted, prompt="x", tools=[tool(name="ping", execute=ping)], max_steps=2)
    iterator = aiter(result)
    for _ in range(3):
        await anext(iterator)
    for _ in range(200):
        await asyncio.sleep(0)

    assert len(scripted.calls) == 1
    assert await result.text == "second"


async def ping() -> str:
    return "pong"


async def test_a_finished_stream_leaves_its_connection_for_the_next(upstream: ScriptedUpstream):
    from support.scripted_upstream import HELLO, stream

    upstream.answers(stream(*HELLO))
    for _ in range(3):
        assert await stream_text(model(upstream), prompt="x").text == "Hello"

    assert upstream.connections == 1
