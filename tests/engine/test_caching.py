"""The cache: the second asking is answered without the model, as a stream."""

from __future__ import annotations

import time
from typing import Any

import pytest

from streamward import Model, caching, generate_text, stream_text, tool, wrap_model
from streamward.engine.caching import Kept
from streamward.errors import InvalidRequest, UpstreamError
from streamward.events import TextDelta
from streamward.testing import ScriptedModel, assert_stream, error, reasoning, text, tool_call

ANSWER = [reasoning("hm"), text("Hel", "lo")]


class Slow:
    """An asynchronous store, as Redis is."""

    def __init__(self) -> None:
        self.answers: dict[str, bytes] = {}

    async def get(self, key: str) -> bytes | None:
        return self.answers.get(key)

    async def set(self, key: str, value: bytes) -> None:
        self.answers[key] = value


class Broken:
    def get(self, key: str) -> bytes:
        raise OSError("no store")

    def set(self, key: str, value: bytes) -> None:
        raise OSError("no store")


def cached(script: ScriptedModel, store: Any = None, **options: Any) -> Model:
    return wrap_model(script, caching(store, **options))


@pytest.mark.parametrize("store", [None, {}, Slow()])
async def test_the_second_time_the_model_is_not_asked(store: Any):
    script = ScriptedModel(ANSWER)
    model = cached(script, store)

    first = await stream_text(model, prompt="x").full_stream
    second = await stream_text(model, prompt="x").full_stream

    assert_stream(second, text="Hello", finish_reason="stop")
    assert [event for event in first if isinstance(event, TextDelta)] == [
        event for event in second if isinstance(event, TextDelta)
    ]
    assert len(script.calls) == 1


async def test_another_question_is_another_answer():
    script = ScriptedModel("a", "b", "c")
    model = cached(script)

    texts = [
        (await generate_text(model, prompt="x")).text,
        (await generate_text(model, prompt="y")).text,
        (await generate_text(model, prompt="x", temperature=1)).text,
        (await generate_text(model, prompt="x")).text,
    ]

    assert texts == ["a", "b", "c", "a"]


async def test_what_did_not_finish_is_not_kept():
    """A failure, and an answer that was left."""
    script = ScriptedModel(["Hel", error("boom")], [text("Hel", "lo")], "Hello", delay_s=0.005)
    model = cached(script)

    with pytest.raises(UpstreamError):
        await generate_text(model, prompt="x", max_retries=0)
    async for _ in stream_text(model, prompt="x").text_stream:
        break

    assert (await generate_text(model, prompt="x")).text == "Hello"
    assert len(script.calls) == 3


async def test_tools_run_again_on_a_kept_call():
    runs: list[str] = []

    @tool
    def weather(city: str) -> str:
        runs.append(city)
        return "sunny"

    script = ScriptedModel([tool_call("weather", {"city": "Oslo"})], "It is sunny.")
    model = cached(script)

    texts = [(await generate_text(model, prompt="x", tools=[weather], max_steps=2)).text for _ in range(2)]

    assert texts == ["It is sunny."] * 2
    assert runs == ["Oslo"] * 2
    assert len(script.calls) == 2


async def test_a_kept_answer_comes_at_the_pace_asked_for_and_can_be_left():
    model = cached(ScriptedModel([text("a", "b", "c")]), initial_delay_ms=30, chunk_delay_ms=30)
    await generate_text(model, prompt="x")
    began = time.monotonic()
    times: list[float] = []

    async for _ in stream_text(model, prompt="x").text_stream:
        times.append(time.monotonic() - began)
        if len(times) == 2:
            break
    left = time.monotonic() - began

    assert times[0] >= 0.03
    assert times[1] >= 0.06
    assert left < 0.5


async def test_the_application_names_answers():
    script = ScriptedModel("a", "b", "c")
    store: dict[str, bytes] = {}
    model = cached(script, store, key=lambda model, call: None if call.temperature else model.id)

    texts = [
        (await generate_text(model, prompt="x")).text, (await generate_text(model, prompt="y")).text,
        (await generate_text(model, prompt="x", temperature=1)).text,
    ]  # fmt: skip

    assert texts == ["a", "a", "b"]
    assert list(store) == ["scripted/model"]


@pytest.mark.parametrize("store", [Broken(), {"k": b"junk"}])
async def test_a_store_that_fails_is_one_that_has_nothing(store: Any):
    model = cached(ScriptedModel("a"), store, key=lambda model, call: "k")

    assert (await generate_text(model, prompt="x")).text == "a"


def test_the_memory_of_the_default_store_is_bounded():
    kept = Kept(max_bytes=10)
    for name in ("a", "b", "c"):
        kept.set(name, b"1234")
        kept.get("a")

    assert (kept.get("a"), kept.get("b"), kept.get("c"), kept.size) == (b"1234", None, b"1234", 8)


def test_something_else_is_refused():
    with pytest.raises(InvalidRequest, match="get and set"):
        caching(3)  # type: ignore[arg-type]
