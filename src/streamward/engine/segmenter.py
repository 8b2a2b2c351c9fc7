"""Text cut into words or characters as people see them, for languages that put no spaces between words.

What ``Intl.Segmenter`` is in JavaScript, without its dictionaries: Chinese characters, Hiragana, Thai and its neighbours
come one at a time, Katakana and everything that is written with spaces in words. Follows the main rules of Unicode
Standard Annex 29 (grapheme clusters GB3-GB13, words WB3-WB13d); the standard library's tables stand for its properties.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from typing import Literal

from streamward.errors import InvalidRequest

Granularity = Literal["word", "grapheme"]

ZWJ = "\u200d"
EXTENDING = frozenset((ZWJ, "\u200c", *map(chr, range(0xFE00, 0xFE10)), *map(chr, range(0x1F3FB, 0x1F400))))
"""Joiners, variation selectors and skin tones: with marks and tags they belong to the character before."""

BETWEEN_LETTERS = frozenset("'\u2019.:\u00b7\u2027\u05f4")
BETWEEN_DIGITS = frozenset("'\u2019.,;\u066c")


class Segmenter:
    """``Segmenter().segment(text)`` gives *text* in pieces, in order and without loss: words, spaces, single marks."""

    def __init__(self, granularity: Granularity = "word") -> None:
        if granularity not in ("word", "grapheme"):
            raise InvalidRequest(f'granularity: expected "word" or "grapheme", got {granularity!r}', param="granularity")
        self.granularity = granularity

    def segment(self, text: str) -> Iterator[str]:
        return words(text) if self.granularity == "word" else graphemes(text)


def graphemes(text: str) -> Iterator[str]:
    start, size = 0, len(text)
    while start < size:
        end = start + 1
        while end < size and joined(text, start, end):
            end += 1
        yield text[start:end]
        start = end


def joined(text: str, start: int, at: int) -> bool:
    """No boundary before ``text[at]``, in a cluster that began at *start*."""
    before, after = text[at - 1], text[at]
    if before < "\u0300" and after < "\u0300":
        return before == "\r" and after == "\n"
    if before in "\r\n":
        return False
    if extends(after):
        return True
    if before == ZWJ:
        return unicodedata.category(after) == "So" and unicodedata.category(text[start]) == "So"
    if is_regional(before) and is_regional(after):
        return (at - start) % 2 == 1  # flags are pairs
    return hangul_joined(before, after)


def extends(char: str) -> bool:
    return char in EXTENDING or unicodedata.category(char)[0] == "M" or "\U000e0020" <= char <= "\U000e007f"


def is_regional(char: str) -> bool:
    return "\U0001f1e6" <= char <= "\U0001f1ff"


def hangul_joined(before: str, after: str) -> bool:
    """Leading consonants, vowels and trailing consonants of one syllable (GB6 to GB8)."""
    first, second = hangul(before), hangul(after)
    return bool(second) and second in FOLLOWS.get(first, "")


def hangul(char: str) -> str:
    if "\u1100" <= char <= "\u115f":
        return "L"
    if "\u1160" <= char <= "\u11a7":
        return "V"
    if "\u11a8" <= char <= "\u11ff":
        return "T"
    if "\uac00" <= char <= "\ud7a3":
        return "S" if (ord(char) - 0xAC00) % 28 == 0 else "C"  # without and with a trailing consonant
    return ""


FOLLOWS = {"L": "LVSC", "V": "VT", "S": "VT", "C": "T", "T": "T"}


def words(text: str) -> Iterator[str]:
    pieces: list[str] = []
    kind = ""
    waiting = ""  # a mark that may stand within a word
    for cluster in graphemes(text):
        found = kind_of(cluster)
        if waiting:
            if found == kind and fits(waiting, pieces[-1], cluster):
                pieces += [waiting, cluster]
                waiting = ""
                continue
            yield "".join(pieces)
            yield waiting
            pieces, kind, waiting = [], "", ""
        if kind == "word" and (cluster in BETWEEN_LETTERS or cluster in BETWEEN_DIGITS):
            waiting = cluster
        elif pieces and found and found == kind:
            pieces.append(cluster)
        else:
            if pieces:
                yield "".join(pieces)
            pieces, kind = [cluster], found
    if pieces:
        yield "".join(pieces)
    if waiting:
        yield waiting


def fits(mark: str, before: str, after: str) -> bool:
    """``3.14`` and ``isn't`` are one word, ``a,b`` and ``v.2`` are not."""
    if before[0].isdigit() and after[0].isdigit():
        return mark in BETWEEN_DIGITS
    return before[0].isalpha() and after[0].isalpha() and mark in BETWEEN_LETTERS


def kind_of(cluster: str) -> str:
    """What joins with its like; empty for what stands alone."""
    char = cluster[0]
    if char == "_" or ("a" <= char <= "z") or ("A" <= char <= "Z") or ("0" <= char <= "9"):
        return "word"
    if any(first <= char <= last for first, last in ALONE):
        return ""
    if any(first <= char <= last for first, last in KATAKANA):
        return "katakana"
    if char.isalnum():
        return "word"
    return "space" if unicodedata.category(char) == "Zs" else ""


ALONE = (
    ("\u3041", "\u309f"),  # Hiragana
    ("\u3400", "\u4dbf"), ("\u4e00", "\u9fff"), ("\uf900", "\ufaff"), ("\U00020000", "\U0003ffff"),  # Chinese characters
    ("\u0e00", "\u0eff"), ("\u1000", "\u109f"), ("\u1780", "\u17ff"),  # Thai, Lao, Myanmar, Khmer
)  # fmt: skip
KATAKANA = (("\u30a0", "\u30ff"), ("\u31f0", "\u31ff"), ("\uff66", "\uff9f"))
