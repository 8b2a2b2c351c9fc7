"""AWS event-stream framing: what is sound is read, what is not ends the stream."""

from __future__ import annotations

import pytest
from botocore.eventstream import EventStreamBuffer
from hypothesis import given
from hypothesis import strategies as st

from streamward.wire.converse.event_stream import Reader
from streamward.wire.dialect import Profile
from streamward.wire.sse import Frame
from support.event_stream import exception, framed, header, message

TWO = message("messageStart", {"role": "assistant"}) + exception("throttlingException")


def read(*reads: bytes, limit: int = 1 << 20) -> tuple[list[Frame], str | None]:
    reader = Reader(Profile(), max_event_bytes=limit)
    frames = [frame for item in reads for frame in reader.feed(item)]
    frames.extend(reader.close())
    return frames, reader.error.code if reader.error is not None else None


def test_events_and_exceptions():
    assert read(TWO) == (
        [Frame(b'{"role": "assistant"}', "messageStart"), Frame(b'{"message": "no"}', "exception:throttlingException")], None
    )  # fmt: skip


def test_every_cut():
    whole = read(TWO)
    for at in range(1, len(TWO)):
        assert read(TWO[:at], TWO[at:]) == whole
    assert read(*(TWO[at : at + 1] for at in range(len(TWO)))) == whole


def test_half_a_message_is_no_message():
    assert read(TWO[:-1])[0] == read(TWO)[0][:1]


@pytest.mark.parametrize("at", range(len(message("m", {"a": 1}))))
def test_a_flipped_bit_anywhere_is_noticed(at: int):
    """In length or checksums, headers or payload: nothing of the message comes out."""
    raw = bytearray(message("m", {"a": 1}))
    raw[at] ^= 0x10
    frames, error = read(bytes(raw), message("m", {}))

    assert frames == []
    assert error in ("upstream_invalid", "content_too_large")


def test_a_message_past_the_bound():
    assert read(message("m", {"a": "x" * 500}), limit=400) == ([], "content_too_large")


def test_what_the_headers_cannot_be():
    """Checksums are right and the headers are not: a length past the end, a type that does not exist."""
    for headers in (b"\x05ab", header("a", "b")[:-1], b"\x01a\x0b", b"\x01a\x07\xff\xff", b"\x01a\x07\x00\x01\xff"):
        assert read(framed(headers, b"{}")) == ([], "upstream_invalid")


def test_headers_of_every_type():
    others = b"\x01a\x00\x01b\x01\x01c\x02\x01\x01d\x03\x00\x01\x01e\x04\x00\x00\x00\x01" + (
        b"\x01f\x05" + bytes(8) + b"\x01g\x06\x00\x02ab\x01h\x08" + bytes(8) + b"\x01i\x09" + bytes(16)
    )
    assert read(framed(others + header(":event-type", "x"), b"")) == ([Frame(b"", "x")], None)


@given(st.lists(st.tuples(st.text("abc", min_size=1, max_size=9), st.binary(max_size=40)), max_size=4))
def test_as_botocore_reads_it(messages: list[tuple[str, bytes]]):
    """The reader of AWS's own SDK finds the same messages in the same bytes."""
    raw = b"".join(framed(header(":event-type", kind), payload) for kind, payload in messages)
    judge = EventStreamBuffer()
    judge.add_data(raw)

    expected = [Frame(found.payload, found.headers[":event-type"]) for found in judge]
    assert read(raw) == (expected, None)
    assert len(expected) == len(messages)


@given(st.binary(max_size=200))
def test_noise(data: bytes):
    frames, _ = read(data, data)
    assert frames == []
