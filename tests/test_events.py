"""The events: one closed union, values that encode, decode and never change."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest

from streamward import events
from streamward.errors import ErrorInfo
from streamward.events import (
    CONTENT,
    PART_DELTA,
    PART_END,
    PART_END_OF,
    PART_START,
    TERMINAL,
    Event,
    EventBase,
    Usage,
    is_content,
)

KINDS: list[type[Any]] = [
    kind for kind in vars(events).values()
    if isinstance(kind, type) and issubclass(kind, EventBase) and kind is not EventBase
]  # fmt: skip
FIELDS = {
    "id": "1", "delta": "d", "name": "n", "error": "e", "tool_call_id": "t", "approved": True, "media_type": "image/png",
    "usage": Usage(1, 2), "dialect": "messages",
}  # fmt: skip
VISIBLE = {
    "text-delta", "reasoning-delta", "refusal-delta", "tool-input-start", "tool-input-delta", "tool-call", "tool-result",
    "tool-error", "source", "file", "data", "reasoning-end",
}  # fmt: skip


def sample(kind: type[Any]) -> Any:
    """An event of *kind* with what it requires."""
    if kind is events.Error:
        return kind(ErrorInfo("c", "m"))
    needed = [field.name for field in msgspec.structs.fields(kind) if field.required]
    return kind(**{name: FIELDS[name] for name in needed})


@pytest.mark.parametrize("kind", KINDS)
def test_every_event_is_in_the_union(kind: type[Any]):
    """And comes back from JSON as itself, under its tag."""
    event = sample(kind)
    text = msgspec.json.encode(event)

    assert kind in get_args(Event)
    assert msgspec.json.decode(text, type=Event) == event
    assert msgspec.json.decode(text)["type"] == kind.__struct_config__.tag


def test_tags_are_unique_and_spelled_alike():
    tags = [kind.__struct_config__.tag for kind in KINDS]

    assert len(set(tags)) == len(tags) == len(get_args(Event))
    assert all(tag == tag.lower() and "_" not in tag for tag in tags)


@pytest.mark.parametrize("kind", KINDS)
def test_events_are_values(kind: type[Any]):
    """Equal by content, and frozen."""
    event = sample(kind)

    assert event == sample(kind)
    for name in kind.__struct_fields__:
        with pytest.raises(AttributeError):
            setattr(event, name, None)


def test_parts_open_feed_and_close():
    """Four kinds of part, each with its three events."""
    assert set(PART_END_OF) == set(PART_START)
    assert set(PART_END_OF.values()) == set(PART_END)
    assert len(PART_START) == len(PART_DELTA) == len(PART_END) == 4
    assert not set(TERMINAL) & {*PART_START, *PART_DELTA, *PART_END, *CONTENT}


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_caller_has_been_shown(kind: type[Any]):
    """From the first such event on no other target can be tried."""
    assert is_content(sample(kind)) == (kind.__struct_config__.tag in VISIBLE)


@pytest.mark.parametrize("kind", [events.TextDelta, events.ReasoningDelta, events.RefusalDelta])
def test_an_empty_delta_shows_nothing(kind: type[Any]):
    assert not is_content(kind("0", ""))


@pytest.mark.parametrize(
    ("usage", "total"),
    [
        (Usage(), 0),
        (Usage(1), 1),
        (Usage(1, 2), 3),
        (Usage(1, 2, stated_total=9), 9),
        (Usage(stated_total=0, input_tokens=4), 0),
    ],
)
def test_total(usage: Usage, total: int):
    """As stated, else the sum of what is known."""
    assert usage.total == total


def test_total_tokens_are_known_when_anything_is():
    """The field on the wire keeps its name; what is counted is told without being stored."""
    assert [Usage(1, 2).total_tokens, Usage(1).total_tokens, Usage().total_tokens] == [3, 1, None]
    assert Usage(1, 2, stated_total=9).total_tokens == 9
    assert msgspec.json.encode(Usage(1, 2, stated_total=9)) == b'{"input_tokens":1,"output_tokens":2,"total_tokens":9}'
