"""The public SSE reader: what an application sees."""

import asyncio
from itertools import pairwise

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import TooLarge
from streamward.sse import Event, aiter_sse, decode, encode, iter_sse
from support.scripted_upstream import LAST, SSE, Fault, http_chunk, scripted_upstream

WIRE = (
    "\ufeff: hello\nid: 1\nevent: greet\ndata: Gr\u00fc\u00df dich \U0001f30a\n\n"
    "id: 2\n\ndata:no space\r\ndata: second line\r\n\r\ndata: raw \u2028 stays\r\rdata: cut off"
).encode()
EVENTS = [
    Event("Gr\u00fc\u00df dich \U0001f30a", "greet", "1"),
    Event("no space\nsecond line", "message", "2"),
    Event("raw \u2028 stays", "message", "2"),
]


def test_events_as_a_browser_dispatches_them():
    """No event for a block without data, none for the one that the end cuts off."""
    assert list(decode(WIRE)) == EVENTS


@given(st.lists(st.integers(0, len(WIRE)), max_size=20))
def test_where_reads_are_cut_changes_nothing(cuts: list[int]):
    marks = [0, *sorted(cuts), len(WIRE)]

    assert list(decode(WIRE[a:b] for a, b in pairwise(marks))) == EVENTS


def test_chunks_may_be_given_one_by_one():
    half = len(WIRE) // 2

    assert list(decode(WIRE[:half], [WIRE[half:]])) == EVENTS
    assert list(decode(bytearray(WIRE))) == EVENTS


def test_what_encode_writes_decode_reads():
    assert list(decode(encode(b'{"a":1}', event="x", id="7"))) == [Event('{"a":1}', "x", "7")]


def test_an_event_past_the_bound_is_refused():
    with pytest.raises(TooLarge, match="larger than 100 bytes"):
        list(decode([b"data: " + b"x" * 200, b"\n\n"], max_event_bytes=100))


async def test_httpx_responses_of_both_kinds_event_by_event():
    """The first event is there while the server still holds back the second."""
    answer = [SSE, http_chunk(b"data: one\n\n"), Fault.GATE, http_chunk(b"data: two\n\n"), LAST]
    async with scripted_upstream(answer) as server, httpx.AsyncClient() as client:
        async with client.stream("GET", server.base_url) as response:
            events = aiter_sse(response)
            first = await anext(events)
            server.gate.set()
            rest = [event.data async for event in events]

        def read_sync() -> list[str]:
            with httpx.stream("GET", server.base_url) as response:
                return [event.data for event in iter_sse(response)]

        assert (first.data, rest) == ("one", ["two"])
        assert await asyncio.to_thread(read_sync) == ["one", "two"]
