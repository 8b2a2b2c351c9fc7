"""JSON text: what is refused, what is escaped, and that neither costs more than one pass."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import InvalidRequest
from streamward.wire import json_text
from streamward.wire.json_text import DESCRIBED_BYTES, MAX_DEPTH, decode_object

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 63), (1 << 64) - 1) | FLOATS | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(st.text(), VALUES, max_size=5)


def refused(body: bytes) -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        decode_object(body)
    return caught.value


@given(value=OBJECTS)
def test_objects_in_every_spelling(value: dict[str, Any]):
    """Compact, spaced, indented and escaped bodies are the same object."""
    spellings = [
        json_text.encode(value),
        json.dumps(value).encode(),
        json.dumps(value, indent=2, ensure_ascii=False).encode(),
        json.dumps(value, separators=(" , ", "\t:\r\n")).encode(),
    ]

    assert [decode_object(body) for body in spellings] == [value] * 4


@given(value=VALUES)
def test_encode_is_one_line_for_every_reader(value: Any):
    """No line end of any kind in the output, and the meaning kept."""
    text = json_text.encode(value)

    assert len(text.decode().splitlines()) <= 1
    assert json.loads(text) == value


def test_line_separators_are_escaped():
    assert json_text.encode("a\u2028b\u2029c\u0085d\u00e9") == b'"a\\u2028b\\u2029c\\u0085d\xc3\xa9"'


@pytest.mark.parametrize(
    ("body", "name"),
    [
        (b'{"a":1,"a":2}', "a"),
        (b'{ "a" : 1, "a" : 1 }', "a"),
        (b'{"a":1,"\\u0061":2}', "a"),
        (b'{"x":{"b":1,"c":":","b":2}}', "x.b"),
        (b'{"x":[{"k":1},{"k":1,"k":[]}]}', "x[1].k"),
        (b'{"":1,"":2}', ""),
        # as many quotes before colons as what it decodes to, all the same
        (b'{"a":1,"a":2,"b" :3}', "a"),
        (b'{"a":1,"a":2,"b"\n:3}', "a"),
        (b'{"a":1,"a":2,"b"\t :3}', "a"),
        (b'{"a":1,"a":2,"b"\r:3}', "a"),
        (b'{"a":1,"a":2,"b":"\\"\\u003a"}', "a"),
        (b'{"a":1,"a":2,"b":"\\"\\u003A"}', "a"),
        (b'{"a":1,"a":2,"b":"\\u0022:"}', "a"),
    ],
)
def test_a_name_twice(body: bytes, name: str):
    error = refused(body)

    assert repr(name) in error.info.message
    assert error.info.status == 400


@pytest.mark.parametrize(
    "body",
    [
        b'{"a":"\\":\\":","b":":"}', b'{ "a:" : ":::" }', b'{"a":1.0,"b":1e3}', b'{"a":"\\u00e9"}',
        b'{"a":{"a":{"a":1}},"b":[{"a":1},{"a":1}]}', b' {"a":1}\n', b'{"a":"\\/"}',
    ],
)  # fmt: skip
def test_colons_and_repeats_that_are_no_duplicates(body: bytes):
    assert decode_object(body) == json.loads(body)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b'{"a":1', b'{"a":1}x', b'{"a":NaN}', b'{"a":Infinity}', b'{"a":-Infinity}', b"{'a':1}",
        b'{"a":1,}', b'{"a":01}', b'{"a":"\xff"}', b'{"\xc3":1}', b"\xff\xfe{\x00}\x00", b"\xef\xbb\xbf{}", b'{"a":"\n"}',
        b'{"a":"\\ud83d"}', b'{"a":"\\x"}', b'{"a":1e400}', b'{"a":' + b"9" * 5000 + b"}", b"<html>",
    ],
)  # fmt: skip
def test_what_is_no_json(body: bytes):
    assert refused(body).info.code == "invalid_json"


@pytest.mark.parametrize(
    ("body", "param", "name"),
    [
        (b'{"temperature":NaN}', "temperature", "NaN"), (b'{"a":[1,{"b":-Infinity}]}', "a[1].b", "-Infinity"),
        (b"[Infinity]", "[0]", "Infinity"), (b"NaN", None, "NaN"),
    ],
)  # fmt: skip
def test_numbers_that_are_none_are_named(body: bytes, param: str | None, name: str):
    error = refused(body).info
    assert (error.code, error.param) == ("invalid_json", param)
    assert f"is {name}," in error.message


def test_a_large_body_is_not_searched(monkeypatch: pytest.MonkeyPatch):
    """What is wrong is said all the same; where costs a walk over every value, which would hold up every stream."""
    monkeypatch.setattr(json_text, "values", lambda body: pytest.fail("searched"))
    many = b"1," * DESCRIBED_BYTES + b"1"
    twice, number = refused(b'{"x":[%b],"a":1,"a":2}' % many).info, refused(b'{"x":[%b],"a":NaN}' % many).info

    assert (twice.code, twice.param, "a name twice" in twice.message) == ("invalid_request", None, True)
    assert (number.code, number.param) == ("invalid_json", None)


def test_a_name_sent_twice_is_named():
    assert refused(b'{"a":[0,{"b":1,"b":2}]}').info.param == "a[1].b"


@pytest.mark.parametrize(
    ("body", "kind"),
    [(b"[]", "an array"), (b'"a"', "a string"), (b"1", "a number"), (b"1.5", "a number"), (b"true", "a boolean"),
     (b"null", "null")],
)  # fmt: skip
def test_what_is_no_object(body: bytes, kind: str):
    assert refused(body).info.message == f"the body must be a JSON object, not {kind}"


def test_big_numbers_keep_their_value():
    assert decode_object(b'{"a":18446744073709551616,"b":-9223372036854775809}') == {"a": 1 << 64, "b": -(1 << 63) - 1}


@pytest.mark.parametrize(("opened", "closed"), [(b'{"a":', b"}"), (b"[", b"]")])
def test_depth(opened: bytes, closed: bytes):
    """MAX_DEPTH levels pass, one more does not, and a great many more do not exhaust the stack."""

    def nested(levels: int) -> bytes:
        return b'{"x":' + opened * (levels - 1) + b"1" + closed * (levels - 1) + b"}"

    assert decode_object(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 100_000):
        assert "nests deeper than 64 levels" in refused(nested(levels)).info.message


def test_many_brackets_that_are_not_deep():
    """Brackets beside each other or inside strings are no depth."""
    body = json.dumps({"wide": [[]] * 500, "text": "[{" * 500}).encode()

    assert decode_object(body)["text"] == "[{" * 500


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 65 + b'"' + b'\\"' * 400_000,  # a string without end: no search may begin anew at every quote
        b"{" * 100 + b'"' * 400_001,
        b'{"a":"' + b'\\"' * 400_000,
        b'{"a":"' + b'\\\\' * 400_000 + b'"',
    ],
)  # fmt: skip
def test_hostile_bodies_are_refused_in_one_pass(body: bytes):
    """Quadratic work on these would take many minutes; the suite's time limit is the assertion."""
    refused(body)


@given(body=st.binary(max_size=60) | st.text(alphabet='{}[]":,\\u0a1 -.e', max_size=60).map(str.encode))
def test_any_bytes(body: bytes):
    """An object that Python reads the same way, or InvalidRequest; nothing else."""
    try:
        value = decode_object(body)
    except InvalidRequest:
        return

    assert value == json.loads(body)


SPELLED = st.sampled_from([b'"a"', b'"\\u0061"', b'"b"', b'"\\"\\u003a"', b'"\\":"', b'"\\u0022:"'])
COLONS = st.sampled_from([b":", b" :", b": ", b"\t:\n"])
MEMBERS = st.lists(st.tuples(SPELLED, COLONS, SPELLED | st.sampled_from([b"1", b'{"a":1}', b'[{"b" :1}]'])), max_size=4)


@given(members=MEMBERS)
def test_duplicates_in_any_spelling(members: list[tuple[bytes, bytes, bytes]]):
    """Refused exactly when two names of the object mean the same."""
    body = b"{" + b",".join(b"".join(member) for member in members) + b"}"
    names = [json.loads(name) for name, _, _ in members]

    try:
        decode_object(body)
        accepted = True
    except InvalidRequest:
        accepted = False

    assert accepted == (len(set(names)) == len(names))


def test_a_flood_of_small_arrays_is_refused_before_it_is_built():
    """Five million lists in 15 MB would hold up the event loop for seconds."""
    with pytest.raises(InvalidRequest, match="more than 500000 arrays"):
        json_text.decode_object(b'{"a":[' + b"[]," * 5_000_000 + b"0]}")


def test_a_large_text_is_no_flood():
    body = json_text.encode({"a": "x,[]{}" * 100_000 + "y" * 2_000_000})

    assert len(json_text.decode_object(body)["a"]) == 2_600_000
