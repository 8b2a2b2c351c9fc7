"""Scripted models and the other helpers for tests of applications."""

from __future__ import annotations

import subprocess
import sys
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest

from streamward import stream_text
from streamward.errors import UpstreamError
from streamward.events import Finish, Start, TextDelta, TextEnd, TextStart
from streamward.testing import (
    Recorder,
    ScriptedModel,
    UnexpectedCall,
    UnusedSteps,
    assert_stream,
    events_of,
    reasoning,
    simulate_stream,
    text,
    tool_call,
)
from streamward.testing.recorder import load

pytest_plugins = ["streamward.testing.plugin"]


def test_shorthands_make_whole_streams():
    for step in ("x", ["x", reasoning("y"), tool_call("t", {"a": 1})], [text("a", "b"), Finish("length")]):
        assert_stream([event for event in events_of(step) if not isinstance(event, Exception)])
    assert isinstance(events_of([tool_call("t")])[-1], Finish)
    assert events_of([tool_call("t")])[-1].reason == "tool-calls"  # type: ignore[union-attr]


async def test_a_call_too_many_is_an_error():
    model = ScriptedModel("one")
    await stream_text(model, prompt="x").text

    with pytest.raises(UnexpectedCall, match="call 2"):
        await stream_text(model, prompt="x").text


async def test_steps_left_over_are_an_error():
    model = ScriptedModel("one", "two")
    await stream_text(model, prompt="x").text

    with pytest.raises(UnusedSteps, match="1 of 2"):
        model.assert_done()
    with pytest.raises(UnusedSteps), ScriptedModel("never"):
        pass


async def test_a_step_may_depend_on_the_call():
    model = ScriptedModel(lambda call: f"{len(call.messages)} messages")

    assert await stream_text(model, system="s", prompt="x").text == "2 messages"


async def test_exceptions_are_raised_where_they_stand():
    result = stream_text(ScriptedModel([*text("a"), UpstreamError("no")]), prompt="x")

    with pytest.raises(UpstreamError):
        await result.text
    assert result.partial.text == "a"


async def test_simulated_streams_have_a_pace():
    began = time.monotonic()

    chunks = [chunk async for chunk in simulate_stream("abc", initial_delay_ms=20, chunk_delay_ms=10)]

    assert chunks == ["a", "b", "c"]
    assert time.monotonic() - began >= 0.04


async def test_a_simulated_stream_that_is_left_says_so():
    simulated = simulate_stream(range(9))
    assert await anext(simulated) == 0
    await simulated.aclose()

    assert simulated.closed
    assert [left async for left in simulated] == []


@pytest.mark.parametrize(
    ("events", "problem"),
    [
        ([Start(), TextDelta("t", "x"), Finish()], "not open"),
        ([Start(), TextStart("t"), Finish()], "open"),
        ([Start()], "no terminal event"),
    ],
)
def test_streams_that_are_not_well_formed_are_named(events: Any, problem: str):
    with pytest.raises(AssertionError, match=problem):
        assert_stream(events)


def test_text_and_end_can_be_asserted():
    events = [Start(), TextStart("t"), TextDelta("t", "x"), TextEnd("t"), Finish("length")]

    assert_stream(events, text="x", finish_reason="length")
    for wrong in ({"text": "y"}, {"finish_reason": "stop"}):
        with pytest.raises(AssertionError, match="expected"):
            assert_stream(events, **wrong)  # type: ignore[arg-type]


async def test_what_was_recorded_is_replayed_without_the_model(tmp_path: Path):
    path = tmp_path / "deep" / "answers.jsonl"
    recorded = await stream_text(Recorder(ScriptedModel([text("a", "b")]), path), prompt="x").full_stream

    replayed = await stream_text(Recorder(ScriptedModel(), path), prompt="x").full_stream

    assert [type(event) for event in replayed] == [type(event) for event in recorded]
    assert_stream(replayed, text="ab")
    assert load(path)[0].call.messages[0].role == "user"


async def test_a_replay_refuses_another_question(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    await stream_text(Recorder(ScriptedModel("a"), path), prompt="x").text

    with pytest.raises(UnexpectedCall, match="messages"):
        await stream_text(Recorder(ScriptedModel(), path), prompt="another").text
    replay = Recorder(ScriptedModel(), path, mode="replay")
    await stream_text(replay, prompt="x").text
    with pytest.raises(UnexpectedCall, match="holds 1"):
        await stream_text(replay, prompt="x").text


async def test_a_stream_that_was_left_is_not_recorded(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    async for _ in stream_text(Recorder(ScriptedModel([text("a", "b")], delay_s=0.001), path), prompt="x").text_stream:
        break

    assert not path.exists()


async def test_replays_keep_their_timing(tmp_path: Path):
    path = tmp_path / "answers.jsonl"
    await stream_text(Recorder(ScriptedModel([text("a", "b")], delay_s=0.03), path), prompt="x").text

    began = time.monotonic()
    assert await stream_text(Recorder(ScriptedModel(), path, timing=True), prompt="x").text == "ab"

    assert time.monotonic() - began >= 0.1


async def test_the_plugins_server_serves(streamward_server: Any, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("STREAMWARD_BASE_URL", streamward_server.base_url)
    from streamward import openai_compatible

    model = openai_compatible(streamward_server.base_url)("demo/echo?tps=0&ttft_ms=0")
    assert await stream_text(model, prompt="through the gateway").text == "through the gateway"


async def test_the_plugins_models_are_checked_at_the_end(scripted_model: Any):
    assert await stream_text(scripted_model("x"), prompt="x").text == "x"


def test_pytest_finds_the_plugin_by_itself():
    """Under the module's name, so that a conftest may name it as well; loading it imports next to nothing."""
    declared = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    code = "import sys, streamward.testing.plugin; print([name for name in sys.modules if name.startswith('streamward.')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout

    assert declared == {"streamward.testing.plugin": "streamward.testing.plugin"}
    assert loaded.strip() == str(["streamward.version", "streamward.testing", "streamward.testing.plugin"])
