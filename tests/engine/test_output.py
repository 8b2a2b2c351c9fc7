"""Structured output: partial objects, elements, choices, the validated end."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any, TypedDict

import msgspec
import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward import NoObject, generate_object, stream_object, stream_text
from streamward.engine import output
from streamward.engine.output import Growing, snapshot
from streamward.errors import InvalidRequest
from streamward.events import TextDelta
from streamward.testing import ScriptedModel, finish, text
from streamward.wire.partial_json import PartialJson


class Recipe(msgspec.Struct):
    name: str
    steps: list[str]


@dataclass
class RecipeData:
    name: str
    steps: list[str]


class RecipeDict(TypedDict):
    name: str
    steps: list[str]


class RecipeModel(pydantic.BaseModel):
    name: str = pydantic.Field(min_length=3)
    steps: list[str]


SCHEMA = {
    "type": "object", "properties": {"name": {"type": "string"}, "steps": {"type": "array", "items": {"type": "string"}}},
    "required": ["name", "steps"], "additionalProperties": False,
}  # fmt: skip
PIECES = ['{"na', 'me":"So', 'up","steps":["c', 'ut","bo', 'il"]}']


@pytest.mark.parametrize("kind", [Recipe, RecipeData, RecipeDict, RecipeModel, SCHEMA])
async def test_any_type_can_be_asked_for(kind: Any):
    model = ScriptedModel([text(*PIECES)])
    result = stream_object(model, schema=kind, prompt="a recipe")

    value: Any = await result.object

    plain = value if isinstance(value, dict) else {"name": value.name, "steps": value.steps}
    assert plain == {"name": "Soup", "steps": ["cut", "boil"]}
    asked = model.calls[0].output
    assert asked is not None
    assert (asked.kind, set((asked.schema or {})["properties"])) == ("json-schema", {"name", "steps"})
    assert (asked.schema or {})["type"] == "object"


async def test_partial_objects_grow_and_stay_as_they_were_given():
    result = stream_object(ScriptedModel([text(*PIECES)]), schema=Recipe, prompt="x")

    partials = [partial async for partial in result.partial_stream]

    assert partials == [
        {}, {"name": "So"}, {"name": "Soup", "steps": ["c"]}, {"name": "Soup", "steps": ["cut", "bo"]},
        {"name": "Soup", "steps": ["cut", "boil"]},
    ]  # fmt: skip


async def test_partials_are_never_validated():
    """A name of two letters is too short for the type, but not for a partial."""
    result = stream_object(ScriptedModel([text(*PIECES)]), schema=RecipeModel, prompt="x")

    assert {"name": "So"} in [partial async for partial in result.partial_stream]


async def test_elements_come_when_they_are_complete():
    pieces = ['{"elements":[{"name":"a","st', 'eps":[]},', '{"name":"b"', ',"steps":["x"]}', "]}"]
    result = stream_object(ScriptedModel([text(*pieces)]), schema=Recipe, output="array", prompt="x")

    elements = [element async for element in result.element_stream]

    assert elements == [Recipe("a", []), Recipe("b", ["x"])]
    assert await result.object == elements


async def test_an_element_that_does_not_fit_raises():
    result = stream_object(ScriptedModel(['{"elements":[{"name":5}]}']), schema=Recipe, output="array", prompt="x")

    with pytest.raises(NoObject, match="Recipe"):
        await result.object


async def test_a_choice_is_shown_once_it_is_clear():
    model = ScriptedModel([text('{"result":"s', "un", 'ny"}')])
    result = stream_object(model, output="choice", choices=["sunny", "snowy"], prompt="x")

    assert [partial async for partial in result.partial_stream] == ["sunny"]
    assert await result.object == "sunny"


async def test_a_choice_that_was_not_offered_is_refused():
    result = stream_object(ScriptedModel(['{"result":"hail"}']), output="choice", choices=["sunny"], prompt="x")

    with pytest.raises(NoObject):
        await result.object


async def test_output_goes_with_stream_text_too():
    result = stream_text(ScriptedModel(["[1,2]"]), prompt="x", output=output.json())

    assert await result.object == [1, 2]


@pytest.mark.parametrize(
    ("said", "reason"), [('{"name":"x"', "length"), ('{"name":"x","steps":"no"}', "stop"), ("not json", "stop")]
)
async def test_what_is_not_the_object_raises_with_the_text(said: str, reason: Any):
    with pytest.raises(NoObject) as caught:
        await generate_object(ScriptedModel([said, finish(reason)]), schema=Recipe, prompt="x")

    assert caught.value.text == said


async def test_a_fence_around_the_json_is_taken_off():
    generated = await generate_object(ScriptedModel(['```json\n{"name":"x","steps":[]}\n```']), schema=Recipe, prompt="x")

    assert generated.object == Recipe("x", [])


def test_mistakes_are_refused():
    for settings in ({}, {"output": "choice"}, {"output": "list", "schema": Recipe}, {"schema": complex}):
        with pytest.raises(InvalidRequest):
            stream_object(ScriptedModel("x"), prompt="x", **settings)  # type: ignore[arg-type]


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc", max_size=2), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.integers(1, 5))
def test_a_snapshot_never_changes_afterwards(value: Any, size: int):
    """Path copying equals copying everything, at every fragment."""
    source = json.dumps(value)
    parser = PartialJson()
    taken: list[tuple[Any, str]] = []
    for at in range(0, len(source), size):
        parser.feed(source[at : at + size])
        if parser.state != "failed-parse":
            shot = snapshot(parser.value, parser.open_path)
            assert shot == parser.value
            taken.append((shot, json.dumps(shot)))

    assert all(json.dumps(shot) == then for shot, then in taken)


def test_partial_objects_of_a_long_answer_are_cheap():
    """40,000 fragments of one growing list of objects: quadratic copying would take minutes."""
    source = json.dumps([{"n": n, "t": "x" * 20} for n in range(10_000)])
    growing = Growing(lambda value: value)
    began = time.process_time()
    for at in range(0, len(source), 512):
        growing.pick([TextDelta("t", source[at : at + 512])])

    assert len(growing.last) == 10_000
    assert time.process_time() - began < 5
