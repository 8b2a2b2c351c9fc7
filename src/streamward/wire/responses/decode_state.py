"""What the stream decoder remembers of the items it is reading, and the frequent events as it reads them."""

from __future__ import annotations

from typing import Any

import msgspec


class Line(msgspec.Struct, gc=False):
    """What the frequent delta events hold; the other events are read in full."""

    type: Any = None
    delta: Any = None
    output_index: Any = None
    item_id: Any = None
    content_index: Any = None
    summary_index: Any = None
    logprobs: Any = None


class Place:
    """Where a fully read event belongs, with the names of :class:`Line`."""

    __slots__ = ("item_id", "output_index")

    def __init__(self, value: dict[str, Any]) -> None:
        self.output_index = value.get("output_index")
        self.item_id = value.get("item_id")


class Part:
    """One waist part being read. ``sent`` is what was handed on: the same strings as in the events, not copies."""

    __slots__ = ("half", "id", "kind", "length", "open", "sent")

    def __init__(self, kind: str, id: str) -> None:  # noqa: A002 - the field's name
        self.kind = kind
        self.id = id
        self.length = 0
        self.sent: list[str] = []
        self.open = True
        self.half = ""  # first half of a surrogate pair that a provider split over two deltas


class ItemState:
    """One output item being read. ``kind`` is its type; parts are keyed by content index (reasoning has one)."""

    __slots__ = ("annotations", "breaks", "call_id", "done", "extra", "id", "kind", "parts", "place", "places", "size",
                 "waiting")  # fmt: skip

    def __init__(self, kind: str, id: str) -> None:  # noqa: A002
        self.kind = kind
        self.id = id
        self.call_id = ""
        self.extra: dict[str, Any] = {}
        self.parts: dict[Any, Part] = {}
        self.place: Any = None  # reasoning: which summary or content part the last text belonged to
        self.places: set[Any] = set()  # and all that had text
        self.breaks: list[int] = []
        self.annotations = 0
        self.waiting: list[str] = []  # arguments that came before the call's name
        self.size = 0  # of a call's arguments
        self.done = False


def joined(part: Part, delta: str) -> str:
    """*delta* with the half pair before it put back, and a half pair at its own end held."""
    delta, part.half = part.half + delta, ""
    if delta and "\ud800" <= delta[-1] <= "\udbff":
        delta, part.half = delta[:-1], delta[-1]
    if any("\ud800" <= char <= "\udfff" for char in delta):
        return delta.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return delta
