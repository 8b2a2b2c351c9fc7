"""Server-sent events: the standard's rules at every cut position, bounds, and the writer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from streamward.wire.sse import KEEP_ALIVE, KEEP_ALIVE_BESIDE_IDS, Frame, Reader, encode
from support.sse_reference import interpret

BOM = b"\xef\xbb\xbf"


def read(reads: bytes | Iterable[bytes], reader: Reader | None = None) -> list[Frame]:
    reader = reader or Reader()
    frames: list[Frame] = []
    for item in [reads] if isinstance(reads, bytes) else reads:
        frames.extend(reader.feed(item))
    return frames + reader.close()


def in_steps(raw: bytes, size: int) -> Iterator[bytes]:
    return (raw[at : at + size] for at in range(0, len(raw), size))


RULES: dict[str, tuple[bytes, list[Frame]]] = {
    "lf": (b"data: a\n\ndata: b\n\n", [Frame(b"a"), Frame(b"b")]),
    "crlf": (b"data: a\r\n\r\ndata: b\r\n\r\n", [Frame(b"a"), Frame(b"b")]),
    "cr": (b"data: a\r\rdata: b\r\r", [Frame(b"a"), Frame(b"b")]),
    "mixed line ends": (b"data: a\r\n\rdata: b\n\r\ndata: c\r\ndata: d\n\n", [Frame(b"a"), Frame(b"b"), Frame(b"c\nd")]),
    "cr lf is one end, lf cr are two": (b"data: a\n\rdata: b\r\n\n", [Frame(b"a"), Frame(b"b")]),
    "bom": (BOM + b"data: a\n\n", [Frame(b"a")]),
    "one bom only": (BOM + BOM + b"data: a\n\ndata: b\n\n", [Frame(b"b")]),
    "bom is only at the start": (b"data: a\n\n" + BOM + b"data: b\n\ndata: " + BOM + b"\n\n", [Frame(b"a"), Frame(BOM)]),
    "half a bom": (b"\xef\xbbdata: a\n\ndata: b\n\n", [Frame(b"b")]),
    "nothing but a bom": (BOM, []),
    "utf-8": ("data: h\u00e9 \u20ac \U0001f600\n\n".encode(), [Frame("h\u00e9 \u20ac \U0001f600".encode())]),
    "other line separators are text": (
        "data: a\u2028b\u2029c\u0085d\x0b\x0c\x1c\n\n".encode(),
        [Frame("a\u2028b\u2029c\u0085d\x0b\x0c\x1c".encode())],
    ),
    "several data lines": (b"data: YHOO\ndata: +2\ndata: 10\n\n", [Frame(b"YHOO\n+2\n10")]),
    "comments": (b": hi\n:\ndata: a\n: in between\ndata: b\n\n:\n\n", [Frame(b"a\nb")]),
    "one space is removed": (b"data:a\n\ndata: b\n\ndata:  c\n\ndata:\td\n\n", [*map(Frame, (b"a", b"b", b" c", b"\td"))]),
    "no data, no event": (b"event: ping\n\nid: 1\n\nretry: 5\n\n\n\n", []),
    "empty data is an empty event": (b"data\n\ndata:\n\ndata: \n\ndata\ndata\n\n", [*[Frame(b"")] * 3, Frame(b"\n")]),
    "names are exact": (b"Data: a\ndata : b\n data: c\ndatax: d\ndata: e\n\n", [Frame(b"e")]),
    "values keep colons": (b"data: a: b:\nevent: x:y\n\n", [Frame(b"a: b:", "x:y")]),
    "an event name lasts one event": (b"event: x\ndata: a\n\ndata: b\n\n", [Frame(b"a", "x"), Frame(b"b")]),
    "an event name without data is forgotten": (b"event: x\n\ndata: b\n\n", [Frame(b"b")]),
    "the last event name wins": (b"event: x\nevent: y\ndata: a\n\nevent: x\nevent\ndata\n\n", [Frame(b"a", "y"), Frame(b"")]),
    "ids stay": (b"id: 1\ndata: a\n\ndata: b\n\nid\ndata: c\n\n", [Frame(b"a", "", "1"), Frame(b"b", "", "1"), Frame(b"c")]),
    "an id without data counts": (b"id: 7\n\ndata: a\n\n", [Frame(b"a", "", "7")]),
    "an id with NUL is ignored": (b"id: 1\ndata: a\n\nid: 2\0\ndata: b\n\n", [Frame(b"a", "", "1"), Frame(b"b", "", "1")]),
    "an unfinished block is no event": (b"data: a\n\ndata: b\n", [Frame(b"a")]),
    "an unfinished line is no event": (b"data: a\n\ndata: b", [Frame(b"a")]),
    "blank lines first": (b"\n\r\n\rdata: a\n\n", [Frame(b"a")]),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "frames"), RULES.values(), ids=RULES)
def test_rules_at_every_cut(raw: bytes, frames: list[Frame]):
    """Whole, cut once anywhere, cut twice anywhere, byte by byte: the same frames."""
    assert read(raw) == frames
    assert read(in_steps(raw, 1)) == frames
    for at in range(len(raw) + 1):
        assert read((raw[:at], raw[at:])) == frames, f"cut at {at}"
        for size in (1, 2, 3):
            assert read((raw[:at], raw[at : at + size], b"", raw[at + size :])) == frames, f"cut at {at} and {at + size}"


@pytest.mark.parametrize(
    ("field", "retry_ms"),
    [(b"retry: 3000", 3000), (b"retry:0", 0), (b"retry: 3s", None), (b"retry: -1", None), (b"retry", None),
     ("retry: \u0663".encode(), None), (b"retry: " + b"9" * 5000, 999_999_999_999)],
)  # fmt: skip
def test_retry(field: bytes, retry_ms: int | None):
    """Digits only, and no number that takes long to read."""
    reader = Reader()

    read(field + b"\n\n", reader)

    assert reader.retry_ms == retry_ms


def test_last_id_is_that_of_the_last_whole_block():
    """An id in a block that never ended must not be resumed from."""
    reader = Reader()

    read(b"id: 1\ndata: a\n\nid: 2\ndata: b\n", reader)

    assert reader.last_id == "1"


def test_comments_are_counted():
    """They show that an upstream is alive."""
    reader = Reader()

    read(b": OPENROUTER PROCESSING\n\n: ping - 1\n\ndata: a\n\n", reader)

    assert reader.comments == 2


PIECES = [
    b"data", b"data:", b"data: ", b"event: x", b"id: 1", b"id:", b"id: \0", b"retry: 10", b"retry: x", b":", b": c", b" ",
    b"a", b"{}", b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n", BOM, b"\xef", b"\xbb", b"\xbf", b"\xff",
    "\u2028".encode(), "\u00e9".encode(), b"\xc3", b"\0",
]  # fmt: skip
STREAMS = st.lists(st.sampled_from(PIECES), max_size=30).map(b"".join) | st.binary(max_size=60)
CUTS = st.lists(st.integers(0, 80), max_size=8)


def cut(raw: bytes, cuts: Iterable[int]) -> list[bytes]:
    places = [0, *sorted(min(at, len(raw)) for at in cuts), len(raw)]
    return [raw[start:end] for start, end in pairwise(places)]


@given(raw=STREAMS, cuts=CUTS)
@example(raw=b"data: a\n\n" + BOM + b"data: b\n\n", cuts=[9])
@example(raw=b"data\r\n\n", cuts=[5])
def test_as_the_standard_reads_it(raw: bytes, cuts: list[int]):
    """Any bytes in any reads: what the standard's own algorithm dispatches, ids and retry included."""
    reader = Reader()
    frames = read(cut(raw, cuts), reader)
    expected = interpret(raw)

    assert [(f.data.decode("utf-8", "replace"), f.event, f.id) for f in frames] == expected.events
    assert (reader.last_id, reader.retry_ms, reader.error) == (expected.last_event_id, expected.retry_ms, None)


@given(raw=STREAMS, cuts=CUTS)
def test_flush_at_end_adds_the_last_block_only(raw: bytes, cuts: list[int]):
    """As if the missing blank line had come, for lines that are whole."""
    expected = interpret(raw[: max(raw.rfind(b"\n"), raw.rfind(b"\r")) + 1] + b"\n\n").events

    frames = read(cut(raw, cuts), Reader(flush_at_end=True))

    assert [f.data.decode("utf-8", "replace") for f in frames] == [data for data, _, _ in expected]


@pytest.mark.parametrize("size", [1, 2, 3, 5, 100])
def test_single_newline_frames(size: int):
    """Each data line is a frame, with or without the blank line that is due."""
    raw = b"data: {1}\ndata: {2}\n\n: ping - 3\ndata: {4}\r\ndata: [DONE]\n"

    frames = read(in_steps(raw, size), Reader(single_newline=True))

    assert [f.data for f in frames] == [b"{1}", b"{2}", b"{4}", b"[DONE]"]


LIMIT = 64
TOO_LARGE: dict[str, bytes] = {
    "a data line": b"data: " + b"x" * LIMIT + b"\n\n",
    "many data lines": b"data: xxxxxxx\n" * 9 + b"\n",
    "empty data lines": b"data\n" * (LIMIT + 1) + b"\n",
    "a comment": b":" + b"x" * LIMIT + b"\n\n",
    "an id": b"id: " + b"x" * LIMIT + b"\n\n",
    "an event name": b"event: " + b"x" * LIMIT + b"\n\n",
    "an unknown field": b"x" * (LIMIT + 1) + b"\n\n",
    "a line without end": b"data: " + b"x" * LIMIT,
}


@pytest.mark.parametrize("raw", TOO_LARGE.values(), ids=TOO_LARGE)
def test_bounds_do_not_depend_on_reads(raw: bytes):
    """What is past the bound is so at every cut; frames before it arrive, nothing after it does."""
    before, after = b"data: 1\n\n", b"data: 2\n\n"
    whole = before + raw + after
    for reads in [[whole], list(in_steps(whole, 1)), *([whole[:at], whole[at:]] for at in range(len(whole)))]:
        reader = Reader(max_event_bytes=LIMIT, flush_at_end=True)

        frames = read(reads, reader)

        assert frames == [Frame(b"1")]
        assert reader.error is not None
        assert (reader.error.code, reader.error.status) == ("content_too_large", 502)


@pytest.mark.parametrize("raw", [b"data: " + b"x" * (LIMIT - 6) + b"\n\n", b":" + b"x" * (LIMIT - 1) + b"\ndata: 1\n\n"])
def test_what_just_fits(raw: bytes):
    for reads in [[raw], list(in_steps(raw, 1)), *([raw[:at], raw[at:]] for at in range(len(raw)))]:
        reader = Reader(max_event_bytes=LIMIT)

        assert len(read(reads, reader)) == 1
        assert reader.error is None


@given(reads=st.lists(STREAMS, max_size=20))
def test_memory_is_bounded_whatever_comes(reads: list[bytes]):
    """Never raises; holds no more than the bound and one read."""
    reader = Reader(max_event_bytes=LIMIT)
    for item in reads:
        reader.feed(item)

        held = sum(map(len, reader.tail)) + sum(map(len, reader.data))
        assert held <= 2 * LIMIT
    reader.close()


class CountingReader(Reader):
    """Counts the bytes of every line that is looked at."""

    looked_at = 0

    def line(self, line: bytes, frames: list[Frame]) -> bool:
        self.looked_at += len(line)
        return super().line(line, frames)


def test_a_long_line_in_small_reads_is_joined_once():
    """1 MB in reads of 7 bytes: each byte is kept once, joined once, looked at once."""
    raw = b"data: " + b"x" * 1_000_000 + b"\n\n"
    reader = CountingReader()
    frames: list[Frame] = []
    for number, item in enumerate(in_steps(raw, 7), start=1):
        frames.extend(reader.feed(item))
        assert frames or len(reader.tail) == number  # pieces wait in a list; none was copied into a longer one

    assert [len(frame.data) for frame in frames] == [1_000_000]
    assert reader.looked_at == len(raw) - 2


def test_encode():
    assert encode(b"{}") == b"data: {}\n\n"
    assert encode(b"{}", event="ping", id="7") == b"event: ping\nid: 7\ndata: {}\n\n"
    assert encode("\u2028".encode(), event="\u00e9") == "event: \u00e9\ndata: \u2028\n\n".encode()


@pytest.mark.parametrize("bad", ["\n", "\r", "a\r\ndata: x", "a\n"])
def test_encode_refuses_line_ends(bad: str):
    """Content must not be able to forge frames."""
    with pytest.raises(ValueError, match="single line"):
        encode(bad.encode())
    with pytest.raises(ValueError, match="line end"):
        encode(b"{}", event=bad)
    with pytest.raises(ValueError, match="line end"):
        encode(b"{}", id=bad)


@pytest.mark.parametrize("field", ["event", "id"])
def test_encode_refuses_nul(field: str):
    """Readers ignore an id with NUL: it would be lost."""
    with pytest.raises(ValueError, match="NUL"):
        encode(b"{}", **{field: "a\0"})


LINES = st.text(st.characters(blacklist_characters="\r\n", blacklist_categories=["Cs"]))
FIELDS = st.text(st.characters(blacklist_characters="\r\n\0", blacklist_categories=["Cs"]))


@given(frames=st.lists(st.tuples(LINES, FIELDS, FIELDS), max_size=4))
def test_what_is_written_can_be_read(frames: list[tuple[str, str, str]]):
    raw = b"".join(encode(data.encode(), event=event, id=number) for data, event, number in frames)

    assert read(raw) == [Frame(data.encode(), event, number) for data, event, number in frames]
    assert interpret(raw).events == frames


@pytest.mark.parametrize("comment", [KEEP_ALIVE, KEEP_ALIVE_BESIDE_IDS])
def test_keep_alives_are_no_events(comment: bytes):
    raw = encode(b"1", id="1") + comment + encode(b"2", id="2")

    assert [f.data for f in read(raw)] == [b"1", b"2"]
