"""Lines and texts of AI SDK 2 are those of the real package."""

from __future__ import annotations

import json
from typing import Any

import pytest

from streamward.wire.legacy import CODES, KEEP_ALIVE, ChunkText, format_line, headers, parse_line
from support.aisdk_captures import document

CAPTURES = document("v2")


@pytest.mark.parametrize("case", CAPTURES["streams"], ids=lambda case: case["name"])
def test_chunks_become_the_captured_pieces_of_text(case: dict[str, Any]) -> None:
    text = ChunkText()

    assert [piece for chunk in case["input_chunks"] if (piece := text.feed(chunk))] == case["chunks"]


@pytest.mark.parametrize("case", CAPTURES["lines"], ids=lambda case: case["line"])
def test_a_line_is_parsed_like_the_ai_sdk_does(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(ValueError, match=r".") as caught:
            parse_line(case["line"])
        assert str(caught.value) == case["error"]
    else:
        assert parse_line(case["line"]) == (case["type"], case["value"])


def test_the_complex_mode_has_the_captured_bytes_and_header() -> None:
    wire = b"".join((
        format_line("data", [{"first": True}]), format_line("text", "Hi"), format_line("text", " there 👋\u2028"),
        format_line("data", ["end"]), format_line("message_annotations", [{"m": 1}]),
    ))  # fmt: skip

    assert wire.decode() == CAPTURES["complex"]["wire"]
    assert headers(stream_data=True) == CAPTURES["complex"]["headers"]
    assert headers(stream_data=False)["x-experimental-stream-data"] == "false"


@pytest.mark.parametrize("name", CODES)
def test_every_code_is_its_own_line(name: str) -> None:
    line = format_line(name, "a\nb")

    assert line == CODES[name].encode() + b':"a\\nb"' + KEEP_ALIVE


@pytest.mark.parametrize("chunk", [{}, {"choices": []}, {"choices": [None]}, {"choices": [{"delta": {"tool_calls": [1]}}]}])
def test_odd_chunks_are_no_text(chunk: dict[str, Any]) -> None:
    assert ChunkText().feed(chunk) == ""


def test_bad_json_in_a_line_is_an_error() -> None:
    with pytest.raises(ValueError, match="Unexpected token"):
        parse_line("0:{")


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        (
            [{"delta": {"tool_calls": [
                {"index": 0, "id": "a", "function": {"name": "f", "arguments": '{"x":1}'}},
                {"index": 1, "id": "b", "function": {"name": "g", "arguments": "{}"}},
            ]}, "finish_reason": "stop"}],
            {"tool_calls": [
                {"id": "a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}},
                {"id": "b", "type": "function", "function": {"name": "g", "arguments": "{}"}},
            ]},
        ),
        (
            [{"delta": {"function_call": {"name": "f", "arguments": '{"x":'}}},
             {"delta": {"function_call": {"arguments": '"/"}'}}, "finish_reason": "tool_calls"}],
            {"function_call": {"name": "f", "arguments": '{"x":"/"}'}},
        ),
    ],
)  # fmt: skip
def test_calls_that_come_whole_lose_nothing(chunks: list[dict[str, Any]], expected: dict[str, Any]) -> None:
    text = ChunkText()

    assert json.loads("".join(text.feed({"choices": [choice]}) for choice in chunks)) == expected
