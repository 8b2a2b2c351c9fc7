"""Transforms: smoothing by words, lines, patterns; generator functions; chains."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward import Segmenter, smooth_stream, stream_text
from streamward.errors import InvalidRequest
from streamward.events import Event, ReasoningDelta, TextDelta, TextEnd, TextStart
from streamward.testing import ScriptedModel, assert_stream, reasoning, text


async def said(pieces: list[str], transform: Any) -> list[str]:
    result = stream_text(ScriptedModel([text(*pieces)]), prompt="x", transforms=transform)
    events = await result.full_stream
    assert_stream(events)
    return [event.delta for event in events if isinstance(event, TextDelta)]


class Objects:
    """A segmenter as ``Intl.Segmenter`` is one."""

    def segment(self, text: str) -> Iterator[dict[str, Any]]:
        for at in range(0, len(text), 2):
            yield {"segment": text[at : at + 2], "index": at}


@pytest.mark.parametrize(
    ("chunking", "expected"),
    [
        ("word", ["Hello ", "world, ", "how  ", "are\n\n", "you"]),
        ("line", ["Hello world, how  are\n\n", "you"]),
        (re.compile("o"), ["Hello", " wo", "rld, ho", "w  are\n\nyo", "u"]),
        (lambda held: held[:4] if len(held) >= 4 else None, ["Hell", "o wo", "rld,", " how", "  ar", "e\n\ny", "ou"]),
    ],
)
async def test_chunking(chunking: Any, expected: list[str]):
    assert await said(["He", "llo wor", "ld, how  are\n\nyou"], smooth_stream(chunking, delay_ms=None)) == expected


@pytest.mark.parametrize(
    ("chunking", "pieces", "expected"),
    [
        # The patterns that the AI SDK's documentation gives for Japanese and Chinese.
        (re.compile("[\u3040-\u309f\u30a0-\u30ff]|\\S+\\s+"), ["こんに", "ちは"], ["こ", "ん", "に", "ち", "は"]),
        (re.compile("[\u4e00-\u9fff]|\\S+\\s+"), ["你好", "世界 hi "], ["你", "好", "世", "界", " hi "]),
        (Segmenter(), ["Hello, wor", "ld! カナと漢字"], ["Hello", ",", " ", "wor", "ld", "!", " ", "カナ", "と", "漢", "字"]),
        (Segmenter("grapheme"), ["e\u0301a", "👩\u200d👩\u200d👧!"], ["e\u0301", "a", "👩\u200d👩\u200d👧", "!"]),
        (Objects(), ["abc", "d"], ["ab", "c", "d"]),
    ],
)
async def test_languages_without_spaces(chunking: Any, pieces: list[str], expected: list[str]):
    """A segmenter's first piece is released at once, as the AI SDK does: what a model sends comes out whole or smaller."""
    assert await said(pieces, smooth_stream(chunking, delay_ms=None)) == expected


async def test_words_come_apart_by_the_delay():
    began = time.monotonic()

    await said(["one two three four "], smooth_stream(delay_ms=20))

    assert time.monotonic() - began >= 0.08


async def test_reasoning_is_smoothed_and_kept_apart():
    model = ScriptedModel([reasoning("think", "ing hard"), text("an", "swer")])
    events = await stream_text(model, prompt="x", transforms=smooth_stream(delay_ms=None)).full_stream

    assert [e.delta for e in events if isinstance(e, ReasoningDelta)] == ["thinking ", "hard"]
    assert [e.delta for e in events if isinstance(e, TextDelta)] == ["answer"]


async def test_an_async_generator_function_is_a_transform():
    async def shout(events: Any) -> Any:
        async for event in events:
            yield TextDelta(event.id, event.delta.upper()) if isinstance(event, TextDelta) else event

    assert await said(["a", "b"], shout) == ["A", "B"]


async def test_transforms_form_a_chain():
    async def double(events: Any) -> Any:
        async for event in events:
            yield event
            if isinstance(event, TextDelta):
                yield event

    assert await said(["a b ", "c"], [smooth_stream(delay_ms=None), double]) == ["a ", "a ", "b ", "b ", "c", "c"]


async def test_what_a_transform_raises_ends_the_stream_with_an_error():
    async def broken(events: Any) -> Any:
        async for event in events:
            if isinstance(event, TextDelta):
                raise LookupError("mine")
            yield event

    with pytest.raises(LookupError, match="mine"):
        await stream_text(ScriptedModel("x"), prompt="x", transforms=broken).text


async def test_one_smoothing_can_serve_many_streams():
    smooth = smooth_stream(delay_ms=None)

    assert await said(["left over"], smooth) == ["left ", "over"]
    assert await said(["x"], smooth) == ["x"]


def test_unknown_chunking_is_refused():
    with pytest.raises(InvalidRequest, match="syllable"):
        smooth_stream("syllable")


async def test_a_chunking_function_must_return_a_beginning():
    with pytest.raises(InvalidRequest, match="beginning"):
        await stream_text(ScriptedModel("abc"), prompt="x", transforms=smooth_stream(lambda _: "zzz", delay_ms=None)).text


@given(st.lists(st.text("ab \n", max_size=6), max_size=8), st.sampled_from(["word", "line", Segmenter()]))
async def test_smoothing_never_loses_a_character(pieces: list[str], chunking: Any):
    seen: list[Event] = []

    async def emit(events: Any) -> None:
        seen.extend(events)

    smooth = smooth_stream(chunking, delay_ms=None).fresh()
    for piece in pieces:
        await smooth.feed(TextDelta("t", piece), emit)
    await smooth.close(emit)

    assert "".join(event.delta for event in seen if isinstance(event, TextDelta)) == "".join(pieces)


async def test_what_only_a_dialect_knows_goes_with_the_next_piece():
    delta = TextDelta("t", "one two", extra={"messages": {"citation": 1}})
    script = ScriptedModel([[TextStart("t"), delta, TextEnd("t")]])

    events = await stream_text(script, prompt="x", transforms=smooth_stream(delay_ms=None)).full_stream

    deltas = [event for event in events if isinstance(event, TextDelta)]
    assert deltas == [TextDelta("t", "one ", extra=delta.extra), TextDelta("t", "two")]
