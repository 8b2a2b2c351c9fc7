"""Middleware: reasoning out of tags, simulated streaming, default settings, one's own."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward import Middleware, default_settings, extract_reasoning, simulate_streaming, stream_text, wrap_model
from streamward.engine.middleware import ReasoningTags
from streamward.errors import InvalidRequest
from streamward.events import Finish, ReasoningDelta, Start, TextDelta
from streamward.grammar import violations
from streamward.reply import collect
from streamward.stage import run
from streamward.testing import ScriptedModel, text


def split(*deltas: str, tag: str = "think", start: bool = False) -> Any:
    events = run(ReasoningTags(tag, "\n", start), [Start(), *text(*deltas), Finish("stop")])
    assert violations(events) == []
    return collect(events)


def test_a_tag_is_taken_out_wherever_it_is_cut():
    reply = split("<th", "ink>pond", "ering</thi", "nk>\nThe answer", " <", "b>")

    assert (reply.reasoning, reply.text) == ("pondering", "\nThe answer <b>")


def test_sections_are_joined_by_the_separator():
    reply = split("a<think>x</think>b<think>y</think>c")

    assert (reply.reasoning, reply.text) == ("x\ny", "a\nb\nc")


def test_text_may_start_inside_the_tag():
    assert (split("x</think>y", start=True).reasoning, split("x</think>y", start=True).text) == ("x", "y")


def test_a_tag_that_never_closes_is_reasoning_to_the_end():
    assert (split("<think>x").reasoning, split("<thin").text) == ("x", "<thin")


@given(st.lists(st.sampled_from(["<think>", "</think>", "<", "thi", "nk>", "a", ">"]), max_size=10), st.integers(1, 4))
def test_where_the_deltas_are_cut_changes_nothing(pieces: list[str], size: int):
    whole = "".join(pieces)
    cut = [whole[at : at + size] for at in range(0, len(whole), size)]

    assert (split(whole).text, split(whole).reasoning) == (split(*cut).text, split(*cut).reasoning)


async def test_extracted_reasoning_in_a_stream():
    model = wrap_model(ScriptedModel([text("<think>hm</think>", "yes")]), extract_reasoning())
    result = stream_text(model, prompt="x")

    assert [thought async for thought in result.reasoning_stream] == ["hm"]
    assert (await result.text, await result.reasoning) == ("yes", "hm")


async def test_simulated_streaming_gives_one_delta_per_part():
    model = wrap_model(ScriptedModel([text("a", "b", "c")]), simulate_streaming())

    assert [delta async for delta in stream_text(model, prompt="x").text_stream] == ["abc"]


async def test_default_settings_fill_what_was_left_unsaid():
    scripted = ScriptedModel("x", "y")
    model = wrap_model(scripted, default_settings(temperature=0.1, max_output_tokens=9, stop_sequences=["."]))

    await stream_text(model, prompt="x", temperature=0.9).text

    call = scripted.calls[0]
    assert (call.temperature, call.max_output_tokens, call.stop) == (0.9, 9, (".",))
    with pytest.raises(InvalidRequest, match="temprature"):
        default_settings(temprature=1)


async def test_middleware_of_ones_own_can_answer_from_a_cache():
    class Cache(Middleware):
        answers: dict[Any, Any] = {}  # noqa: RUF012 - the point of a cache

        def open(self, model: Any, call: Any, options: Any) -> Any:
            key = call.messages
            if key not in self.answers:
                self.answers[key] = "cached"
                return model.open(call, options)
            return ScriptedModel("cached").open(call, options)

    scripted = ScriptedModel("fresh")
    model = wrap_model(scripted, Cache())

    assert [await stream_text(model, prompt="x").text for _ in range(2)] == ["fresh", "cached"]
    assert len(scripted.calls) == 1


async def test_the_first_middleware_is_outermost():
    class Tag(Middleware):
        def __init__(self, name: str) -> None:
            self.name = name

        def transform_call(self, call: Any, options: Any) -> Any:
            from msgspec.structs import replace

            return replace(call, user=f"{call.user or ''}{self.name}"), options

    scripted = ScriptedModel("x")
    await stream_text(wrap_model(scripted, Tag("1"), Tag("2")), prompt="x").text

    assert scripted.calls[0].user == "12"


def test_deltas_of_other_kinds_pass_untouched():
    stage = ReasoningTags("think", "\n", False)

    assert stage.feed(ReasoningDelta("r", "<think>")) == [ReasoningDelta("r", "<think>")]
    assert stage.feed(TextDelta("nobody", "x")) == [TextDelta("nobody", "x")]
