"""Leaving out what a continued answer says again.

A model asked to go on often repeats the last words, or the whole answer so far. The beginning of what it says is held
back while it could still be such a repetition, then the part that was said already is dropped. Pure and linear but for
the window, which bounds the work (``MAX_WINDOW`` characters).
"""

from __future__ import annotations

MAX_WINDOW = 4096
"""Characters at the end of the earlier text in which a repetition is looked for."""

MIN_OVERLAP = 8
"""A shorter match is chance: "the" after "the" may be meant."""

MIN_ALL = 4
"""The whole earlier text said again counts from this length on."""

MIN_RESTART = 24
"""So much of the beginning said again means: this is a new answer, not the rest of the old one."""


class Overlap:
    """The beginning of a continuation of *said*. ``feed`` gives what is new in each delta, ``close`` what is left."""

    def __init__(self, said: str) -> None:
        self.said = said
        self.window = said[-MAX_WINDOW:]
        self.held: list[str] = []
        self.count = 0
        self.at = 0
        """Where in the window what is held was found; -1: nowhere."""
        self.from_start = True
        """What is held is how the earlier text begins."""
        self.decided = not said
        self.restarted = False
        """It began the whole answer again, and then said something else: the two do not fit together."""

    def feed(self, delta: str) -> str:
        if self.decided:
            return delta
        self.from_start = self.from_start and self.said.startswith(delta, self.count)
        self.held.append(delta)
        if self.at >= 0 and not self.window.startswith(delta, self.at + self.count):
            self.at = self.window.find("".join(self.held), self.at + 1)
        self.count += len(delta)
        if self.at >= 0 or (self.from_start and self.count <= len(self.said)):
            return ""
        return self.close()

    def close(self) -> str:
        """No more can be held: what is new in it."""
        if self.decided:
            return ""
        self.decided = True
        text = "".join(self.held)
        self.held = []
        known = repeated(self.said, self.window, text)
        if not known:
            begun = common_start(self.said, text)
            self.restarted = begun >= MIN_RESTART and begun < min(len(self.said), len(text))
        return text[known:]


def repeated(said: str, window: str, text: str) -> int:
    """How many characters at the start of *text* repeat the end of *said* (or all of it)."""
    if len(said) <= len(text) and text.startswith(said) and len(said) >= MIN_ALL:
        return len(said)
    length = longest_border(window, text[:MAX_WINDOW])
    return length if length >= MIN_OVERLAP else 0


def longest_border(window: str, text: str) -> int:
    """Length of the longest end of *window* that *text* begins with (Knuth, Morris, Pratt; linear)."""
    if not text:
        return 0
    failure = [0] * len(text)
    length = 0
    for i in range(1, len(text)):
        while length and text[i] != text[length]:
            length = failure[length - 1]
        if text[i] == text[length]:
            length += 1
        failure[i] = length
    length = 0
    for char in window:
        while length and (length == len(text) or char != text[length]):
            length = failure[length - 1]
        if char == text[length]:
            length += 1
    return length


def common_start(one: str, other: str) -> int:
    for i, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return i
    return min(len(one), len(other))
