"""Tools from functions and in full: schemas, conversions, docstrings, mistakes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from streamward import ToolContext, tool
from streamward.engine.schema import ShapeMismatch, shape_of
from streamward.engine.signature import parse_docstring
from streamward.engine.tools import toolset
from streamward.errors import InvalidRequest


class Place(msgspec.Struct):
    city: str
    zip: str | None = None


@dataclass
class Box:
    width: int


class Options(TypedDict, total=False):
    unit: Literal["C", "F"]


class Person(pydantic.BaseModel):
    name: str


def test_the_signature_and_docstring_become_the_schema():
    made = tool(simple)

    assert made.name == "simple"
    assert made.description == "Adds things up."
    assert made.schema == {
        "type": "object",
        "properties": {
            "first": {"type": "integer", "description": "the first"},
            "unit": {"enum": ["C", "F"], "description": "degrees", "default": "C"},
        },
        "required": ["first"],
        "additionalProperties": False,
    }


def simple(first: int, ctx: ToolContext, *, unit: Annotated[Literal["C", "F"], "degrees"] = "C") -> int:
    """Adds things up.

    :param first: the first
    """
    return first


def test_rich_types_are_converted():
    def use(place: Place, box: Box, person: Person, people: list[Person], options: Options | None = None) -> Any: ...

    made = tool(use)
    arguments = made.arguments({
        "place": {"city": "P"}, "box": {"width": 2}, "person": {"name": "A"}, "people": [{"name": "B"}],
        "options": {"unit": "C"},
    })  # fmt: skip

    assert arguments == {
        "place": Place("P"), "box": Box(2), "person": Person(name="A"), "people": [Person(name="B")],
        "options": {"unit": "C"},
    }  # fmt: skip
    assert set(made.schema["required"]) == {"place", "box", "person", "people"}


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ({}, "first: required"),
        ({"first": "x"}, "first: Expected `int`, got `str`"),
        ({"first": 1, "more": 2}, "more: there is no such parameter"),
        ([], "expected an object"),
    ],
)
def test_wrong_arguments_are_named(given: Any, problem: str):
    with pytest.raises(ShapeMismatch, match=problem):
        tool(simple).arguments(given)


def test_null_for_a_parameter_left_out_is_its_default():
    def maybe(word: str | None = None) -> Any: ...

    assert tool(maybe).arguments({"word": None}) == {"word": None}


def test_a_decorated_tool_can_still_be_called():
    @tool(title="Adder")
    def add(a: int, b: int) -> int:
        return a + b

    assert add(1, 2) == 3
    assert add.title == "Adder"


def test_in_full_with_a_type_the_function_gets_one_value():
    made = tool(name="go", schema=Place, execute=lambda place: place)

    assert made.arguments({"city": "P"}) == Place("P")
    assert not made.spread


def test_in_full_with_a_schema_and_named_parameters_it_gets_keywords():
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    made = tool(name="go", schema=schema, execute=lambda city: city)

    assert made.spread
    with pytest.raises(ShapeMismatch, match="'city' is missing"):
        made.arguments({})


@pytest.mark.parametrize(
    ("style", "text"),
    [
        ("google", "Says.\n\nArgs:\n    a: the a\n        goes on\n    b (int): the b\n\nReturns:\n    c: no"),
        ("numpy", "Says.\n\nParameters\n----------\na : int\n    the a\n    goes on\nb\n    the b\n\nReturns\n-------\nc"),
        ("sphinx", "Says.\n\n:param a: the a\n    goes on\n:param int b: the b\n:returns: no"),
    ],
)
def test_docstring_styles(style: str, text: str):
    assert parse_docstring(text) == ("Says.", {"a": "the a goes on", "b": "the b"}), style


def test_mistakes_say_what_to_do():
    def positional(a: int, /) -> None: ...
    def stars(*rest: int) -> None: ...
    def impossible(a: complex) -> None: ...

    for function, problem in ((positional, "by name"), (stars, "by name"), (impossible, "'a'")):
        with pytest.raises(InvalidRequest, match=problem):
            tool(function)
    with pytest.raises(InvalidRequest, match="needs_aproval"):
        tool(needs_aproval=True)
    with pytest.raises(InvalidRequest, match="name"):
        tool(lambda a: a)


def test_a_toolset_takes_functions_and_other_names():
    tools = toolset({"other": tool(simple)})

    assert tools["other"].declared().name == "other"
    assert set(toolset([simple])) == {"simple"}
    with pytest.raises(InvalidRequest, match="two named"):
        toolset([simple, simple])
    with pytest.raises(InvalidRequest, match="int"):
        toolset([5])  # type: ignore[list-item]


def test_recursive_types_keep_their_references():
    shape = shape_of(Tree)

    assert shape.schema["type"] == "object"
    assert "Tree" in shape.schema["$defs"]
    assert shape.convert({"children": [{"children": []}]}) == Tree([Tree([])])


class Tree(msgspec.Struct):
    children: list[Tree]
