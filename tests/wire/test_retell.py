"""A stored stream told in another dialect: from any number on, nothing is lost, nothing comes twice."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from itertools import pairwise

import pytest

from matrix.render import CONTEXT, LLM_CLIENTS, PAIRS, client_file, events_of, meaning
from streamward.events import (
    PART_DELTA,
    Error,
    Event,
    Finish,
    ReasoningDelta,
    RefusalDelta,
    TextDelta,
    ToolInputDelta,
    ToolInputStart,
)
from streamward.grammar import violations
from streamward.wire.retell import Retelling

TRIPLES = [
    (stored, wanted, upstream, case)
    for stored in LLM_CLIENTS for wanted in LLM_CLIENTS for upstream, case in PAIRS
    if stored != wanted and upstream == "chat_completions"
]  # fmt: skip
BY_KIND = {TextDelta: "text", ReasoningDelta: "reasoning", RefusalDelta: "refusal"}


def stored_frames(stored: str, upstream: str, case: str) -> list[bytes]:
    raw = client_file(stored, upstream, case).read_bytes()
    return [block + b"\n\n" for block in raw.split(b"\n\n") if block]


def retold(frames: list[bytes], stored: str, wanted: str, *, after: int = -1, opening: bool = True) -> bytes:
    stage = Retelling(stored, wanted, CONTEXT, after=after, opening=opening)
    return stage.feed(frames, 0) + stage.close()


def said(events: Iterable[Event]) -> dict[str, str]:
    """The deltas of *events* joined, by what they are of."""
    parts: dict[str, list[str]] = {}
    tools: dict[str, int] = {}
    for event in events:
        if isinstance(event, ToolInputStart):
            tools.setdefault(event.id, len(tools))
        elif isinstance(event, PART_DELTA):
            kind = f"tool {tools[event.id]}" if isinstance(event, ToolInputDelta) else BY_KIND[type(event)]
            parts.setdefault(kind, []).append(event.delta)
    return {kind: "".join(pieces) for kind, pieces in parts.items()}


DELTAS = {
    "response.output_text.delta": "text", "response.refusal.delta": "refusal",
    "response.reasoning_summary_text.delta": "reasoning", "text_delta": "text", "thinking_delta": "reasoning",
}  # fmt: skip


def said_in(dialect: str, raw: bytes) -> dict[str, str]:
    """The deltas on the wire. Of Responses and Messages as they stand: what our decoder makes of a part without any
    (the whole text that ``done`` events repeat, ``{}`` for a call) is no delta."""
    if dialect == "chat_completions":
        return said(events_of(dialect, [raw]))
    parts: dict[str, list[str]] = {}
    tools: dict[int, str] = {}
    for line in raw.split(b"\n"):
        event = json.loads(line[6:]) if line.startswith(b"data: {") else {}
        kind, delta = event.get("type"), event.get("delta")
        index = event.get("output_index", event.get("index"))
        if "call" in str(event.get("item", {}).get("type")) or event.get("content_block", {}).get("type") == "tool_use":
            tools.setdefault(index, f"tool {len(tools)}")
        if kind == "content_block_delta":
            kind = delta["type"]
            delta = next(delta[name] for name in ("text", "thinking", "partial_json", "signature") if name in delta)
        name = tools.get(index) if kind in ("response.function_call_arguments.delta", "input_json_delta") else DELTAS.get(kind)
        if name is not None:
            parts.setdefault(name, []).append(delta)
    return {kind: "".join(pieces) for kind, pieces in parts.items()}


def as_text(parts: dict[str, str], dialect: str) -> dict[str, str]:
    """Messages has no refusals: they are text there."""
    if dialect == "messages" and "refusal" in parts:
        parts = {"text": parts.get("text", "") + parts["refusal"]}
    return parts


def joined(first: dict[str, str], then: dict[str, str]) -> dict[str, str]:
    return {kind: first.get(kind, "") + then.get(kind, "") for kind in {**first, **then}}


def ending(events: list[Event]) -> Event:
    assert isinstance(events[-1], Finish | Error)
    return events[-1]


@pytest.mark.parametrize(("stored", "wanted", "upstream", "case"), TRIPLES)
def test_told_from_the_start_it_means_the_same(stored: str, wanted: str, upstream: str, case: str):
    frames = stored_frames(stored, upstream, case)

    before, after = meaning(stored, b"".join(frames)), meaning(wanted, retold(frames, stored, wanted))

    assert before.text + before.refusal == after.text + after.refusal
    assert before.error == after.error
    if not before.refusal:  # which Messages says in its stop reason
        assert (before.finish == "stop") == (after.finish == "stop")
    assert [call[1:] for call in before.tools] == [call[1:] for call in after.tools]


@pytest.mark.parametrize(("stored", "wanted", "upstream", "case"), TRIPLES)
def test_the_dialect_can_be_changed_at_any_number(stored: str, wanted: str, upstream: str, case: str):
    """What was read before the change and what comes after it make the whole; and the rest is a stream by itself."""
    frames = stored_frames(stored, upstream, case)
    whole = as_text(said_in(stored, b"".join(frames)), wanted)

    for after in range(len(frames) - 1):
        seen = as_text(said_in(stored, b"".join(frames[: after + 1])), wanted)
        raw = retold(frames, stored, wanted, after=after)
        rest = events_of(wanted, [raw])

        assert joined(seen, said_in(wanted, raw)) == whole
        assert not violations(rest)
        assert type(ending(rest)) is type(ending(events_of(stored, frames)))


@pytest.mark.parametrize("wanted", ["responses", "messages"])
@pytest.mark.parametrize("case", ["text", "tools"])
def test_a_reader_that_comes_back_gets_the_rest_byte_for_byte(wanted: str, case: str):
    """In the same new dialect, by the number it saw last: the bytes it had and the bytes it gets are the whole."""
    name = next(name for _, name in PAIRS if case in name)
    frames = stored_frames("chat_completions", "chat_completions", name)
    whole = retold(frames, "chat_completions", wanted)
    marks = [(int(match[1]), match.end()) for match in re.finditer(rb"id: (\d+)\n(?:[^\n]+\n)*\n", whole)]

    assert all(a < b for (a, _), (b, _) in pairwise(marks)), "numbers rise"
    for number, end in marks:
        assert whole[:end] + retold(frames, "chat_completions", wanted, after=number, opening=False) == whole


def test_frames_may_come_in_any_lots():
    frames = stored_frames("chat_completions", "chat_completions", "text")
    stage = Retelling("chat_completions", "messages", CONTEXT, after=2, opening=True)

    out = b"".join(stage.feed([frame], number) for number, frame in enumerate(frames)) + stage.close()

    assert out == retold(frames, "chat_completions", "messages", after=2)


def test_a_stream_without_an_ending_is_told_as_cut():
    frames = stored_frames("chat_completions", "chat_completions", "text")[:-2]

    events = events_of("messages", [retold(frames, "chat_completions", "messages")])

    assert isinstance(events[-1], Error)
