"""Cursors as clients write them."""

from __future__ import annotations

import pytest

from streamward.durable import START, parse_cursor, parse_last_event_id
from streamward.errors import InvalidRequest


@pytest.mark.parametrize(("text", "offset"), [("0", 0), ("17", 17), ("007", 7), ("-1", START), ("9" * 15, 10**15 - 1)])
def test_a_cursor_is_a_plain_number(text: str, offset: int):
    assert offset == parse_cursor(text)


@pytest.mark.parametrize("text", ["", " 1", "1 ", "+1", "-2", "1.0", "1e3", "0x1", "١", "²", "9" * 16, "9" * 10_000, "\0"])
def test_anything_else_is_malformed(text: str):
    with pytest.raises(InvalidRequest) as refusal:
        parse_cursor(text, param="starting_after")

    assert (refusal.value.info.status, refusal.value.info.param) == (400, "starting_after")


def test_last_event_id_holds_stream_and_offset():
    assert parse_last_event_id("st_0a:12") == ("st_0a", 12)


@pytest.mark.parametrize("text", ["", ":", "12", "st_0a", "st_0a:", ":12", "st_0a:x", "st:0a:1", "st 0:1", "st_é:1"])
def test_a_malformed_last_event_id_is_refused(text: str):
    with pytest.raises(InvalidRequest):
        parse_last_event_id(text)
