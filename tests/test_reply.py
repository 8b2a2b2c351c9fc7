"""Replies: what events add up to, and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Error,
    Event,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
    UsageUpdate,
)
from streamward.grammar import violations
from streamward.reply import Collector, ReasoningBlock, RefusalBlock, Reply, TextBlock, ToolBlock, collect, replay

EXTRA = {"messages": {"x": 1}}
STREAM: list[Event] = [
    Start("id", "m", 5, EXTRA),
    ReasoningStart("r"), ReasoningDelta("r", "th"), ReasoningDelta("r", "ink"), ReasoningEnd("r", "sig", "red"),
    TextStart("t"), TextDelta("t", "a", [{"token": "a"}]), Source("s", url="u"), TextDelta("t", "b", [{"token": "b"}]),
    TextEnd("t"),
    ToolInputStart("c1", "f"), ToolInputStart("c2", "g"), ToolInputDelta("c2", "{}"), ToolInputDelta("c1", "{"),
    ToolInputDelta("c1", "}"), ToolInputEnd("c2", "signed"), ToolInputEnd("c1"),
    File("image/png", "eA=="),
    Finish("tool-calls", Usage(1, 2), "raw", EXTRA),
]  # fmt: skip
REPLY = Reply(
    id="id", model="m", created=5,
    blocks=(
        ReasoningBlock("r", "think", "sig", "red"), TextBlock("t", "ab", [{"token": "a"}, {"token": "b"}]),
        Source("s", url="u"), ToolBlock("c1", "f", "{}"), ToolBlock("c2", "g", "{}", "signed"), File("image/png", "eA=="),
    ),
    finish_reason="tool-calls", raw_reason="raw", usage=Usage(1, 2), extra=EXTRA, finish_extra=EXTRA,
)  # fmt: skip


def test_collect():
    """Blocks in the order they began, interleaved deltas each in their own."""
    reply = collect(STREAM)

    assert reply == REPLY
    assert (reply.text, reply.reasoning, [call.id for call in reply.tool_calls]) == ("ab", "think", ["c1", "c2"])
    assert reply.finished


def test_a_reply_at_any_time():
    """Open parts count with what they have; nothing is finished before the end."""
    collector = Collector()
    texts = []
    for event in STREAM[:-1]:
        collector.feed(event)
        texts.append(collector.reply().text)

    assert sorted(set(texts)) == ["", "a", "ab"]
    assert not collector.reply().finished


@pytest.mark.parametrize(
    ("last", "error", "aborted"),
    [(Error(ErrorInfo("c", "m"), Usage(3)), ErrorInfo("c", "m"), False), (Abort("gone", Usage(3)), None, True)],
)
def test_streams_that_did_not_finish(last: Event, error: ErrorInfo | None, aborted: bool):
    """They keep what arrived and say why; a finish reason is not made up."""
    reply = collect([*STREAM[:-1], last])

    assert (reply.blocks, reply.usage) == (REPLY.blocks, Usage(3))
    assert (reply.finish_reason, reply.finished, reply.error, reply.aborted) == (None, False, error, aborted)


def test_usage_comes_from_the_end_or_from_updates():
    assert collect([Start(), UsageUpdate(Usage(1)), UsageUpdate(Usage(2)), Finish("stop")]).usage == Usage(2)
    assert collect([Start(), UsageUpdate(Usage(1)), Finish("stop", Usage(9))]).usage == Usage(9)


def test_deltas_of_unknown_parts_are_ignored():
    assert (
        collect([Start(), TextDelta("x", "lost"), TextStart("t"), TextEnd("t"), TextDelta("t", "late"), Finish()]).text == ""
    )


def test_the_same_id_in_two_families():
    """A text part and a call may share an id."""
    reply = collect([Start(), TextStart("0"), ToolInputStart("0", "f"), ToolInputDelta("0", "{}"), TextDelta("0", "a")])

    assert reply.blocks == (TextBlock("0", "a"), ToolBlock("0", "f", "{}"))


def test_accumulation_is_linear():
    """Deltas are kept as they came and joined once."""
    collector = Collector()
    collector.feed(TextStart("t"))
    deltas = ["x" * 10 for _ in range(10_000)]
    for delta in deltas:
        collector.feed(TextDelta("t", delta))

    (block,) = collector.open.values()
    assert len(block.deltas) == len(deltas)
    assert all(kept is delta for kept, delta in zip(block.deltas, deltas, strict=True))
    assert len(collector.reply().text) == 100_000


IDS = st.text(max_size=3)
TEXT = st.text(max_size=5)
EXTRAS = st.none() | st.just(EXTRA)
SIGNED = st.none() | st.just("sig")
BLOCKS: st.SearchStrategy[Any] = st.one_of(
    st.builds(TextBlock, IDS, TEXT, st.none() | st.just([{"token": "a"}]), EXTRAS),
    st.builds(ReasoningBlock, IDS, TEXT, SIGNED, SIGNED, EXTRAS),
    st.builds(RefusalBlock, IDS, TEXT),
    st.builds(ToolBlock, IDS, TEXT, TEXT, SIGNED, st.booleans(), EXTRAS),
    st.builds(Source, IDS, url=TEXT, extra=EXTRAS),
    st.builds(File, TEXT, TEXT),
)
ENDINGS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.fixed_dictionaries(
        {"finish_reason": st.sampled_from(["stop", "length", "other"]), "raw_reason": SIGNED, "finish_extra": EXTRAS}
    ),
    st.just({"error": ErrorInfo("c", "m")}),
    st.just({"aborted": True}),
)


@given(
    blocks=st.lists(BLOCKS, max_size=5, unique_by=lambda block: (type(block), getattr(block, "id", ""))),
    ending=ENDINGS,
    usage=st.none() | st.builds(Usage, TEXT.map(len)),
    extra=EXTRAS,
)
def test_replay_collects_to_the_same_reply(blocks: list[Any], ending: dict[str, Any], usage: Usage | None, extra: Any):
    """For any reply that could have been collected; the events are a well-formed stream."""
    reply = Reply("id", "m", 5, tuple(blocks), usage=usage, extra=extra, **ending)

    events = list(replay(reply))

    assert violations(events) == []
    assert collect(events) == reply


def test_a_reply_that_never_ended_is_replayed_as_stopped():
    assert list(replay(Reply("id")))[-1] == Abort()
