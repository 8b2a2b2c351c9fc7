"""NDJSON framing."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.stage import run
from streamward.wire.ndjson import Reader, encode


def lines(*reads: bytes, max_event_bytes: int = 1000) -> list[bytes]:
    return [frame.data for frame in run(Reader(max_event_bytes=max_event_bytes), reads)]


def test_lines_of_either_end_and_blank_ones():
    assert lines(b'{"a":1}\n\r\n \n{"b":2}\r\n{"c":3}\n') == [b'{"a":1}', b'{"b":2}', b'{"c":3}']


def test_every_cut_gives_the_same_lines():
    raw = '{"a":"é\u2028🙂"}\r\n\n{"b":2}\n{"c":3}'.encode()

    for at in range(len(raw) + 1):
        assert lines(raw[:at], raw[at:]) == lines(raw)
    assert lines(*(raw[at : at + 1] for at in range(len(raw)))) == lines(raw)


def test_a_last_line_without_end_counts_when_it_is_whole():
    assert lines(b'{"a":1}\n{"b":2}') == [b'{"a":1}', b'{"b":2}']
    assert lines(b'{"a":1}\n{"b":') == [b'{"a":1}']
    assert lines(b'{"a":1}\n\xff') == [b'{"a":1}']


def test_unicode_separators_are_no_line_ends():
    assert lines('{"a":"x\u2028y\u0085z"}\n'.encode()) == ['{"a":"x\u2028y\u0085z"}'.encode()]


@pytest.mark.parametrize(
    "reads", [(b'{"b":"' + b"x" * 20,), (b'{"b":"' + b"x" * 20 + b'"}\n',), (b'{"b":', b"x" * 20, b"\n")]
)
def test_a_line_past_the_bound_ends_the_stream(reads: tuple[bytes, ...]):
    """What came before it is still delivered; nothing after it is."""
    reader = Reader(max_event_bytes=20)

    frames = run(reader, [b'{"a":1}\n' + reads[0], *reads[1:], b'{"c":1}\n'])

    assert [frame.data for frame in frames] == [b'{"a":1}']
    assert reader.error is not None
    assert reader.error.code == "content_too_large"


def test_a_line_at_the_bound_passes():
    assert lines(b"1234567890\n", max_event_bytes=10) == [b"1234567890"]


@given(st.lists(st.binary(min_size=1).filter(lambda data: not data.isspace() and not set(data) & set(b"\r\n")), max_size=5))
def test_what_is_encoded_is_read_back(items: list[bytes]):
    assert lines(*(encode(item) for item in items)) == items


@pytest.mark.parametrize("data", [b"a\nb", b"a\r"])
def test_a_line_end_inside_a_line_is_refused(data: bytes):
    with pytest.raises(ValueError, match="single line"):
        encode(data)
