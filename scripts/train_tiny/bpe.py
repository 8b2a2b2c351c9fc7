"""Byte-level BPE: learn merges from text, encode with them, in plain Python.

The split is GPT-2's, so that llama.cpp's ``gpt2`` tokenizer with the ``gpt-2`` pre-tokenizer cuts text the same way.
Special tokens are never produced from text here: callers put their ids in themselves.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from itertools import pairwise

# GPT-2's pattern with \p{L} and \p{N} spelled for the standard library: letters are \w without digits and underscore.
SPLIT = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\s\w]|_)+|\s+(?!\S)|\s+")

CONTROL = ("<|end|>", "<|system|>", "<|user|>", "<|assistant|>", "<|tool|>")
VISIBLE = ("<tool_call>", "</tool_call>")  # must reach the engine's tool-call parser as text


def byte_alphabet() -> dict[int, str]:
    """Return GPT-2's map from byte to printable character; vocabularies in GGUF files are written in it."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    alphabet = {byte: chr(byte) for byte in printable}
    for byte in range(256):
        alphabet.setdefault(byte, chr(256 + len(alphabet) - len(printable)))
    return alphabet


ALPHABET = byte_alphabet()


class Tokenizer:
    """Special tokens first, then the 256 bytes, then one token per merge, in order of rank."""

    def __init__(self, merges: list[tuple[str, str]]) -> None:
        self.merges = merges
        self.tokens = [*CONTROL, *VISIBLE, *(ALPHABET[byte] for byte in range(256)), *(a + b for a, b in merges)]
        self.ids = {token: index for index, token in enumerate(self.tokens)}
        self.ranks = {pair: rank for rank, pair in enumerate(merges)}
        self.words: dict[str, tuple[int, ...]] = {}

    def special(self, token: str) -> int:
        return self.ids[token]

    def encode(self, text: str) -> list[int]:
        """Return token ids of plain text."""
        return [token for word in SPLIT.findall(text) for token in self.encode_word(word)]

    def encode_word(self, word: str) -> tuple[int, ...]:
        known = self.words.get(word)
        if known is None:
            parts = [ALPHABET[byte] for byte in word.encode()]
            while len(parts) > 1:
                ranked = [(self.ranks.get(pair, 1 << 30), at) for at, pair in enumerate(pairwise(parts))]
                rank, at = min(ranked)
                if rank == 1 << 30:
                    break
                parts[at : at + 2] = [parts[at] + parts[at + 1]]
            known = self.words[word] = tuple(self.ids[part] for part in parts)
        return known

    def decode(self, ids: list[int]) -> str:
        back = {char: byte for byte, char in ALPHABET.items()}
        specials = len(CONTROL) + len(VISIBLE)
        out = bytearray()
        for index in ids:
            token = self.tokens[index]
            out += token.encode() if index < specials else bytes(back[char] for char in token)
        return out.decode(errors="replace")


def learn(texts: list[str], vocabulary: int) -> Tokenizer:
    """Merge the most frequent pair again and again until the vocabulary is full; ties go to the smaller pair."""
    counts = Counter(word for text in texts for word in SPLIT.findall(text))
    words = [[ALPHABET[byte] for byte in word.encode()] for word in counts]
    weights = list(counts.values())
    pairs: Counter[tuple[str, str]] = Counter()
    where: defaultdict[tuple[str, str], set[int]] = defaultdict(set)
    for index, parts in enumerate(words):
        for pair in pairwise(parts):
            pairs[pair] += weights[index]
            where[pair].add(index)
    merges: list[tuple[str, str]] = []
    while len(merges) + 256 + len(CONTROL) + len(VISIBLE) < vocabulary and pairs:
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        if pairs[best] < 2:
            break
        merges.append(best)
        for index in sorted(where.pop(best)):
            merge_word(words, index, best, weights[index], pairs, where)
        pairs.pop(best, None)
    return Tokenizer(merges)


def merge_word(
    words: list[list[str]],
    index: int,
    best: tuple[str, str],
    weight: int,
    pairs: Counter[tuple[str, str]],
    where: defaultdict[tuple[str, str], set[int]],
) -> None:
    """Apply one merge to one word and keep the pair counts right."""
    parts = words[index]
    for pair in pairwise(parts):
        pairs[pair] -= weight
    merged: list[str] = []
    at = 0
    while at < len(parts):
        if at + 1 < len(parts) and (parts[at], parts[at + 1]) == best:
            merged.append(parts[at] + parts[at + 1])
            at += 2
        else:
            merged.append(parts[at])
            at += 1
    words[index] = merged
    for pair in pairwise(merged):
        pairs[pair] += weight
        where[pair].add(index)
