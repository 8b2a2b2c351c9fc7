"""Checks that hold for the codec of every dialect: cuts, truncations and round trips."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from hypothesis import strategies as st

from streamward.events import (
    TERMINAL,
    Event,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from streamward.grammar import violations
from streamward.reply import Reply, collect
from streamward.wire.dialect import Context, Decoded, Profile, frames_of

REFERENCE = Profile()
CONTEXT = Context(id="msg_1", model="model-1", created=1_700_000_000)


def decode(dialect: Any, reads: bytes | Iterable[bytes], profile: Profile = REFERENCE) -> list[Event]:
    """The events of one upstream body, given whole or in reads."""
    stage = Decoded(dialect.Reader(profile), dialect.Decoder(profile))
    events: list[Event] = []
    for read in [reads] if isinstance(reads, bytes) else reads:
        events.extend(stage.feed(read))
    events.extend(stage.close())
    assert violations(events) == []
    return events


def encode(dialect: Any, events: Iterable[Event], context: Context = CONTEXT) -> bytes:
    return frames_of(dialect.Encoder(context), events)


def check_cuts(dialect: Any, raw: bytes, profile: Profile = REFERENCE) -> None:
    """Every position of one cut, and reads of a single byte, give the events of the whole."""
    whole = decode(dialect, raw, profile)
    for at in range(1, len(raw)):
        assert decode(dialect, (raw[:at], raw[at:]), profile) == whole, f"cut at {at}"
    assert decode(dialect, (raw[at : at + 1] for at in range(len(raw))), profile) == whole


def check_truncations(dialect: Any, raw: bytes, whole_from: int, profile: Profile = REFERENCE) -> None:
    """Every proper prefix ends in exactly one terminal event, which is a Finish only from *whole_from* bytes on."""
    for at in range(len(raw)):
        events = decode(dialect, raw[:at], profile)
        assert sum(isinstance(event, TERMINAL) for event in events) == 1
        assert isinstance(events[-1], Finish) == (at >= whole_from), f"truncated at {at}: {events[-1]}"


def merged(events: Iterable[Event]) -> Reply:
    """What the events add up to: equal for streams that differ in how deltas are split only."""
    return collect(events)


TEXTS = st.text(min_size=1, max_size=8)
TOKENS = st.integers(0, 1 << 40)
ARGUMENTS = ["{}", '{"city":"Paris"}', '{"a":[1,2.5,null,true,{"b":"\\u00e9 \\"q\\""}],"c":{}}']
"""Arguments' JSON text as ``json_text`` writes it; codecs that rebuild it from an object give the same."""


@st.composite
def streams(
    draw: st.DrawFn,
    *,
    ids: Callable[[int], str],
    arguments: st.SearchStrategy[list[str]],
    usages: st.SearchStrategy[Usage],
    finishes: st.SearchStrategy[Finish],
    signed_text: bool = True,
) -> list[Event]:
    """A well-formed stream of text, reasoning and tool calls."""
    events: list[Event] = [Start("msg_1", "model-1")]
    kinds = draw(st.lists(st.sampled_from(["text", "reasoning", "tool"]), max_size=4))
    calls = 0
    for number, kind in enumerate(kinds):
        part_id = ids(number)
        if kind == "text":
            events.append(TextStart(part_id))
            events.extend(TextDelta(part_id, delta) for delta in draw(st.lists(TEXTS, min_size=1, max_size=3)))
            events.append(TextEnd(part_id))
        elif kind == "reasoning":
            events.append(ReasoningStart(part_id))
            events.extend(ReasoningDelta(part_id, delta) for delta in draw(st.lists(TEXTS, min_size=1, max_size=3)))
            signature = draw(st.none() | st.just("c2lnbmF0dXJl")) if signed_text else None
            events.append(ReasoningEnd(part_id, signature))
        else:
            calls += 1
            call_id = f"call_{calls}"
            events.append(ToolInputStart(call_id, draw(st.sampled_from(["weather", "search"]))))
            events.extend(ToolInputDelta(call_id, delta) for delta in draw(arguments))
            events.append(ToolInputEnd(call_id))
    finish = draw(finishes)
    usage = draw(usages)
    events.append(Finish(finish.reason, usage, finish.raw_reason))
    return events
