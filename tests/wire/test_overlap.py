"""Leaving out what a continuation says again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.wire.overlap import MAX_WINDOW, MIN_ALL, MIN_OVERLAP, Overlap, longest_border

SAID = "The quick brown fox jumps over the lazy dog, and then it "


def continued(said: str, text: str, size: int = 3) -> str:
    overlap = Overlap(said)
    out = [overlap.feed(text[at : at + size]) for at in range(0, len(text), size)]
    return said + "".join(out) + overlap.close()


@pytest.mark.parametrize("size", [1, 2, 7, 100])
@pytest.mark.parametrize(
    ("text", "whole"),
    [
        ("sleeps.", SAID + "sleeps."),
        ("and then it sleeps.", SAID + "sleeps."),
        (SAID + "sleeps.", SAID + "sleeps."),
        (SAID, SAID),
        ("it sleeps.", SAID + "it sleeps."),  # three letters are chance
        ("", SAID),
    ],
)
def test_a_repetition_is_left_out(text: str, whole: str, size: int):
    assert continued(SAID, text, size) == whole


def test_a_new_answer_is_recognised():
    """It begins as the old one did, at length, and then goes another way: the two do not fit together."""
    overlap = Overlap(SAID)
    for delta in ("The quick brown fox jumps over ", "a fence."):
        overlap.feed(delta)
    overlap.close()

    assert overlap.restarted


@pytest.mark.parametrize("text", ["The end.", "sleeps.", "and then it sleeps.", SAID + "sleeps."])
def test_a_continuation_is_no_new_answer(text: str):
    overlap = Overlap(SAID)
    overlap.feed(text)
    overlap.close()

    assert not overlap.restarted


def test_nothing_is_held_longer_than_needed():
    """What cannot be a repetition any more goes out in the same call."""
    overlap = Overlap(SAID)

    assert overlap.feed("sleeps") == "sleeps"
    assert overlap.feed(" well") == " well"


def test_text_that_occurs_earlier_is_not_lost():
    """Held while it might be a repetition of the end; it is not, so all of it is new."""
    assert continued("one two three. four five six. ", "two three four") == "one two three. four five six. two three four"


def test_a_long_answer_said_again():
    said = "".join(f"line {number}\n" for number in range(2000))
    assert len(said) > 4 * MAX_WINDOW

    assert continued(said, said + "end", 50) == said + "end"
    assert continued(said, said[-300:] + "end", 50) == said + "end"


@given(st.text("ab ", max_size=60), st.text("ab ", max_size=60), st.integers(1, 9))
def test_only_a_real_repetition_is_left_out(said: str, text: str, size: int):
    """What comes out is the text but for a beginning that repeats the end of what was said."""
    whole = continued(said, text, size)

    assert whole.startswith(said)
    left_out = len(said) + len(text) - len(whole)
    assert whole[len(said) :] == text[left_out:]
    assert said.endswith(text[:left_out])
    assert left_out == 0 or left_out >= min(MIN_OVERLAP, max(len(said), MIN_ALL))


@given(st.text("ab", max_size=40), st.text("ab", max_size=40))
def test_the_longest_border(window: str, text: str):
    slow = max((size for size in range(len(text) + 1) if window.endswith(text[:size])), default=0)

    assert longest_border(window, text) == slow
