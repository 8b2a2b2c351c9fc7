"""Reading the fields of a JSON object, with errors that name the field."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from streamward.errors import InvalidRequest
from streamward.wire.json_fields import Fields


def test_values_of_the_right_type():
    fields = Fields({"t": "x", "i": 3, "whole": 4.0, "n": 2, "f": False, "a": [1], "s": ["x"], "o": {"y": 1}, "null": None})

    assert (fields.text("t"), fields.integer("i"), fields.integer("whole"), fields.number("n")) == ("x", 3, 4, 2.0)
    assert (fields.flag("f"), fields.array("a"), fields.strings("s"), fields.mapping("o")) == (False, [1], ("x",), {"y": 1})
    assert (fields.text("null"), fields.integer("gone"), fields.number("gone"), fields.object("gone")) == (None,) * 4
    assert (fields.strings("gone"), fields.objects("gone")) == ((), [])


def test_paths_of_inner_objects():
    inner = Fields({"a": [{"b": {"c": 3}}]}).objects("a")[0].object("b")

    assert inner is not None
    with pytest.raises(InvalidRequest) as caught:
        inner.text("c")
    assert caught.value.info.param == "a[0].b.c"
    assert str(caught.value) == "a[0].b.c must be a string, not a number"


@pytest.mark.parametrize(
    ("read", "value", "param", "says"),
    [
        (lambda f: f.need_text("x"), None, "x", "x is required"),
        (lambda f: f.integer("x"), True, "x", "must be an integer, not a boolean"),
        (lambda f: f.integer("x"), 2.5, "x", "must be an integer, not a number"),
        (lambda f: f.integer("x", low=1), 0, "x", "must be at least 1, not 0"),
        (lambda f: f.number("x"), False, "x", "must be a number, not a boolean"),
        (lambda f: f.number("x", 0, 1), 1.5, "x", "must be from 0 to 1, not 1.5"),
        (lambda f: f.flag("x"), 0, "x", "must be a boolean, not a number"),
        (lambda f: f.array("x"), {}, "x", "must be an array, not an object"),
        (lambda f: f.strings("x"), ["a", 1], "x[1]", "must be a string, not a number"),
        (lambda f: f.mapping("x"), [], "x", "must be an object, not an array"),
        (lambda f: f.objects("x"), [{}, "a"], "x[1]", "must be an object, not a string"),
    ],
)
def test_wrong_values_are_named(read: Callable[[Fields], Any], value: Any, param: str, says: str):
    with pytest.raises(InvalidRequest, match=says) as caught:
        read(Fields({"x": value}))

    assert caught.value.info.param == param


def test_a_body_that_is_no_object():
    with pytest.raises(InvalidRequest, match="the body must be an object, not an array") as caught:
        Fields([])

    assert caught.value.info.param is None


def test_rest_is_what_nobody_read():
    fields = Fields({"a": 1, "b": 2, "c": None, "d": []})
    fields.integer("a")

    assert fields.rest() == {"b": 2, "d": []}
