"""The segmenter: words and characters of any script."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward import Segmenter
from streamward.errors import InvalidRequest


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Hello, world!", ["Hello", ",", " ", "world", "!"]),
        ("It isn't 3.14 or 1,000, v.2", [
            "It", " ", "isn't", " ", "3.14", " ", "or", " ", "1,000", ",", " ", "v", ".", "2",
        ]),
        ("snake_case and naïve", ["snake_case", " ", "and", " ", "naïve"]),
        ("नमस्ते दुनिया", ["नमस्ते", " ", "दुनिया"]),
        ("日本語のテキスト", ["日", "本", "語", "の", "テキスト"]),
        ("한국어 문장", ["한국어", " ", "문장"]),
        ("a  b\r\n\nc", ["a", "  ", "b", "\r\n", "\n", "c"]),
        ("ends'", ["ends", "'"]),
        ("", []),
    ],
)  # fmt: skip
def test_words(text: str, expected: list[str]):
    assert list(Segmenter().segment(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("e\u0301x", ["e\u0301", "x"]),
        ("🇳🇴🇩🇰🇸", ["🇳🇴", "🇩🇰", "🇸"]),
        ("👍🏽👩\u200d🚀", ["👍🏽", "👩\u200d🚀"]),
        ("\u1112\u1161\u11ab한", ["\u1112\u1161\u11ab", "한"]),
        ("❤\ufe0f\r\n", ["❤\ufe0f", "\r\n"]),
        ("\n\u0301", ["\n", "\u0301"]),
    ],
)
def test_graphemes(text: str, expected: list[str]):
    assert list(Segmenter("grapheme").segment(text)) == expected


@given(st.text() | st.text("a1'.,_ \u0301\u200d日ア👩🇳\r\n", max_size=12))
def test_nothing_is_lost(text: str):
    assert "".join(Segmenter().segment(text)) == "".join(Segmenter("grapheme").segment(text)) == text
    assert all(Segmenter().segment(text))


def test_an_unknown_granularity_is_refused():
    with pytest.raises(InvalidRequest, match="syllable"):
        Segmenter("syllable")  # type: ignore[arg-type]
