"""Partial JSON: what is certain is shown, what is cut is left out, and time stays linear."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.wire.partial_json import MAX_DEPTH, MAX_NUMBER_CHARS, PartialJson, parse_partial_json
from support.aisdk_captures import document

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=("Cs",))),
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(st.text(st.characters(exclude_categories=("Cs",))).filter(lambda k: k != "__proto__"), inner),
    max_leaves=12,
)  # fmt: skip


def fed(*fragments: str) -> PartialJson:
    parser = PartialJson()
    for fragment in fragments:
        parser.feed(fragment)
    return parser


@pytest.mark.parametrize(
    ("text", "value", "state"),
    [
        (None, None, "undefined-input"),
        ("", None, "failed-parse"),
        ("   ", None, "failed-parse"),
        ('{"a":1}', {"a": 1}, "successful-parse"),
        ('{"a":1} ', {"a": 1}, "successful-parse"),
        ('{"a":1} and more', {"a": 1}, "repaired-parse"),
        ("12", 12, "successful-parse"),
        ("1e+5", 100000.0, "successful-parse"),
        ('{"a":1e+5', {"a": 1}, "repaired-parse"),
        ('{"a":1.5e-', {"a": 1.5}, "repaired-parse"),
        ('{"a":-', {}, "repaired-parse"),
        ("[-", None, "failed-parse"),
        ("[1,-", [1], "repaired-parse"),
        ('{"a":tr', {"a": True}, "repaired-parse"),
        ('{"a":trx', None, "failed-parse"),
        ('{"a":"x\\', {"a": "x"}, "repaired-parse"),
        ('{"a":"x\\u00', {"a": "x"}, "repaired-parse"),
        ('{"a":"x\\q', None, "failed-parse"),
        ('{"a":"line\nbreak', None, "failed-parse"),
        ('{"k\\"ey": 1', {'k"ey': 1}, "repaired-parse"),
        ('{"a":1,"b', {"a": 1}, "repaired-parse"),
        ("{'a':1", {}, "repaired-parse"),
        ("{'a':1,\"b\":2", None, "failed-parse"),
        ('{"__proto__":{', None, "failed-parse"),
        ('{"constructor":{"prototype":1', None, "failed-parse"),
        ('{"a":"x","a":"y', {"a": "y"}, "repaired-parse"),
        ("01", None, "failed-parse"),
        ("[1 2", None, "failed-parse"),
    ],
)
def test_a_cut_text_gives_the_certain_part(text: str | None, value: Any, state: str) -> None:
    assert parse_partial_json(text) == (value, state)


@pytest.mark.parametrize("case", document("tables")["partial_json"], ids=lambda case: ascii(case["text"])[:40])
def test_every_captured_text_gives_what_the_ai_sdk_gives(case: dict[str, Any]) -> None:
    """But half a surrogate pair is left out here: no UTF-8 encoder takes it."""
    value = json.loads(json.dumps(case.get("value")).replace('\\ud83d"', '"'))

    assert parse_partial_json(case["text"]) == (value, case["state"])


@given(JSON_VALUES, st.booleans(), st.data())
def test_fragments_cut_anywhere_change_nothing(value: Any, ascii_only: bool, data: st.DataObject) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(text)), max_size=8)))
    parser = PartialJson()
    for start, end in zip([0, *cuts], [*cuts, len(text)], strict=True):
        parser.feed(text[start:end])
        assert parser.value == parse_partial_json(text[:end])[0] or text[:end] == ""

    assert (parser.value, parser.state) == (value, "successful-parse")


@given(st.text('"\\{}[],:-+1e. tfnu\nx', max_size=30))
def test_no_text_raises_and_a_success_is_what_json_says(text: str) -> None:
    value, state = parse_partial_json(text)

    assert (value is None) or state in ("successful-parse", "repaired-parse")
    if state == "successful-parse":
        assert value == json.loads(text)


def test_a_surrogate_pair_cut_in_two_waits_for_its_second_half() -> None:
    parser = fed('"a\\ud83d')
    before = parser.value
    parser.feed("\\ude00!")

    assert (before, parser.value) == ("a", "a\N{GRINNING FACE}!")


@pytest.mark.parametrize("text", ['"\\ud83d"', '"\\ude00"', '"\\ud83d\\ud83d\\ude00"', '"\\ud83dx"'])
def test_lone_surrogates_become_replacement_characters(text: str) -> None:
    value, state = parse_partial_json(text)

    assert state == "successful-parse"
    assert "\ufffd" in value
    assert value.encode()


def test_open_path_and_closed_items_say_what_will_not_change() -> None:
    steps = [("[", 0, (0,)), ('{"a":', 0, (0, "a")), ("1", 0, (0, "a")), (',"b":[tru', 0, (0, "b", 0))]
    steps += [("e]}", 1, (1,)), (",2", 1, (1,)), (",", 2, (2,)), ("[]]", 3, ())]
    parser = PartialJson()

    for fragment, items, path in steps:
        parser.feed(fragment)
        assert parser.value is not None
        assert (parser.closed_items(), parser.open_path) == (items, path), fragment


def test_bounds_fail_the_parse_instead_of_the_process() -> None:
    assert parse_partial_json("[" * MAX_DEPTH)[1] == "repaired-parse"
    assert parse_partial_json("[" * (MAX_DEPTH + 1))[1] == "failed-parse"
    assert parse_partial_json("9" * MAX_NUMBER_CHARS)[1] == "successful-parse"
    assert parse_partial_json("9" * (MAX_NUMBER_CHARS + 1))[1] == "failed-parse"


def test_a_megabyte_in_eight_byte_fragments_is_linear() -> None:
    """Twice the text takes about twice the time, and 1 MB well under 2 s even on a busy machine."""
    text = json.dumps({"file": "x = 1\n" * 80_000, "rows": [{"id": i, "ok": True, "f": 1.5e3} for i in range(12_000)]})
    text = text.ljust(1 << 20)

    parser = PartialJson()
    begin = time.process_time()
    for position in range(0, len(text), 8):
        parser.feed(text[position : position + 8])
        if position % 512 == 0:
            parser.value  # noqa: B018 - asking is what is timed
    spent = time.process_time() - begin

    assert parser.value == json.loads(text)
    assert spent < 2
