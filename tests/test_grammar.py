"""The grammar checker: what it accepts, what it names, and that it agrees with a plain regular expression."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Data,
    Error,
    Event,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Start,
    StepFinish,
    StepStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolError,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
    Usage,
    UsageUpdate,
)
from streamward.grammar import Checker, violations

S, F = Start(), Finish("stop")
E, A = Error(ErrorInfo("c", "m")), Abort()
TEXT = [TextStart("0"), TextDelta("0", "a"), TextEnd("0")]
TOOL = [ToolInputStart("t", "f"), ToolInputDelta("t", "{}"), ToolInputEnd("t")]

GOOD: dict[str, list[Event]] = {
    "nothing": [S, F],
    "failed": [S, E],
    "stopped": [S, A],
    "parts": [S, *TEXT, ReasoningStart("0"), ReasoningDelta("0", "r"), ReasoningEnd("0"), RefusalStart("0"),
              RefusalDelta("0", "n"), RefusalEnd("0"), *TOOL, F],
    "interleaved": [S, TextStart("0"), ToolInputStart("t", "f"), TextDelta("0", "a"), ToolInputDelta("t", "{}"), TextEnd("0"),
                    ToolInputEnd("t"), F],
    "data between": [S, Data("x"), TextStart("0"), UsageUpdate(Usage(1)), TextEnd("0"), Data("x"), F],
    "steps": [S, StepStart(), *TOOL, ToolCall("t", "f"), ToolResult("t", "f"), StepFinish(), StepStart(), *TEXT,
              StepFinish(), F],
    "a failing tool": [S, StepStart(), ToolCall("t", "f"), ToolError("t", "f", "no"), StepFinish(), F],
    "stopped inside a step": [S, StepStart(), A],
    "failed inside a step": [S, StepStart(), E],
    "results of an earlier turn": [S, ToolResult("old", "f"), StepStart(), StepFinish(), F],
}  # fmt: skip


@pytest.mark.parametrize("stream", GOOD.values(), ids=GOOD)
def test_well_formed(stream: list[Event]):
    assert violations(stream) == []


@pytest.mark.parametrize(
    ("stream", "problems"),
    [
        ([], ["the stream has no terminal event"]),
        ([S], ["the stream has no terminal event"]),
        ([F], ["finish before start"]),
        ([TextStart("0"), TextEnd("0"), F], ["text-start before start"]),
        ([S, S, F], ["a second start"]),
        ([S, F, F], ["finish after the terminal event"]),
        ([S, E, *TEXT], ["text-start after the terminal event", "text-delta after the terminal event",
                         "text-end after the terminal event"]),
        ([S, F, S], ["start after the terminal event"]),
        ([S, TextDelta("0", "a"), F], ["delta for text part '0', which is not open"]),
        ([S, *TEXT, TextDelta("0", "a"), F], ["delta for text part '0', which is not open"]),
        ([S, TextStart("0"), ReasoningDelta("0", "a"), TextEnd("0"), F], ["delta for reasoning part '0', which is not open"]),
        ([S, TextEnd("0"), F], ["end of text part '0', which is not open"]),
        ([S, *TEXT, TextEnd("0"), F], ["end of text part '0', which is not open"]),
        ([S, TextStart("0"), TextStart("0"), TextEnd("0"), F], ["text part '0' opened twice"]),
        ([S, *TEXT, *TEXT[:1], F], ["text part '0' opened twice"]),
        ([S, TextStart("0"), ToolInputStart("t", "f"), F], ["finish while text:0 is open", "finish while tool:t is open"]),
        ([S, TextStart("0"), E], ["error while text:0 is open"]),
        ([S, TextStart("0"), A], ["abort while text:0 is open"]),
        ([S, StepStart(), StepStart(), StepFinish(), F], ["start-step inside a step"]),
        ([S, StepFinish(), F], ["finish-step without start-step"]),
        ([S, StepStart(), TextStart("0"), StepFinish(), F], ["finish-step while text:0 is open"]),
        ([S, StepStart(), F], ["finish inside a step"]),
        ([S, StepStart(), ToolResult("x", "f"), StepFinish(), F], ["tool-result for 'x', which was never called"]),
        ([S, StepStart(), ToolError("x", "f", "no"), StepFinish(), F], ["tool-error for 'x', which was never called"]),
    ],
)  # fmt: skip
def test_each_rule_broken(stream: list[Event], problems: list[str]):
    """Named in a sentence, once."""
    assert violations(stream) == problems


def test_live():
    """Each event is answered for itself."""
    checker = Checker()

    assert [bool(checker.feed(event)) for event in (S, TextDelta("0", "a"), *TEXT, F, F)] == [
        False, True, False, False, False, False, True,
    ]  # fmt: skip
    assert checker.close() == []


LETTERS: dict[str, Event] = {
    "s": S, "f": F, "e": E, "d": Data("x"),
    "(": TextStart("0"), "-": TextDelta("0", "a"), ")": TextEnd("0"),
    "[": ToolInputStart("t", "f"), "+": ToolInputDelta("t", "a"), "]": ToolInputEnd("t"),
}  # fmt: skip


@given(word=st.text(alphabet="".join(LETTERS), max_size=9) | st.from_regex(r"s(d|\(-*\)|\[\+*\]){0,2}[fe]", fullmatch=True))
def test_agrees_with_a_regular_expression(word: str):
    """For one text part and one tool part, the language is regular: seen through each part alone, and in all."""
    whole = re.fullmatch(r"s[^sfe]*[fe]", word) is not None
    text = re.fullmatch(r"(\(-*\))?", re.sub(r"[^(\-)]", "", word)) is not None
    tool = re.fullmatch(r"(\[\+*\])?", re.sub(r"[^\[+\]]", "", word)) is not None

    assert (violations([LETTERS[letter] for letter in word]) == []) == (whole and text and tool)
