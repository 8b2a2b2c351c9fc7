"""Tool-call fragments of a stream: which call each belongs to.

Chat Completions sends a call in fragments that name it by ``index``; ``id`` and name come with the first. Vendors leave
the index out, repeat the id, use one index for several calls, or send arguments as an object. One place knows.
"""

from __future__ import annotations

from typing import Any

from streamward.wire import json_text
from streamward.wire.dialect import MAX_PARTS


class Fragment:
    """One fragment, resolved: the ``slot`` (dense from 0) it belongs to; ``new`` when it begins that call."""

    __slots__ = ("arguments", "id", "name", "new", "slot")

    def __init__(self, slot: int, new: bool, id: str, name: str, arguments: str) -> None:  # noqa: A002
        self.slot = slot
        self.new = new
        self.id = id
        self.name = name
        self.arguments = arguments


class ToolSlots:
    """The tool calls of one choice, in order of their first fragment."""

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.used: set[str] = set()
        self.of_id: dict[str, int] = {}  # ids as they were sent
        self.of_index: dict[int, int] = {}

    def resolve(self, raw: Any, stream_id: str) -> Fragment | None:
        """The fragment *raw* (an item of ``delta.tool_calls``); None if it is none, or past MAX_PARTS calls.

        A missing or repeated id is made from *stream_id* and the slot, so the same stream always gives the same ids.
        """
        if type(raw) is not dict:
            return None
        function = raw.get("function")
        function = function if type(function) is dict else {}
        call_id = raw.get("id") if type(raw.get("id")) is str else ""
        name = function.get("name") if type(function.get("name")) is str else ""
        index = raw.get("index") if type(raw.get("index")) is int else None
        if index is not None and not 0 <= index < MAX_PARTS:
            return None  # clients keep calls in lists: it would be an order to make a large one
        slot = self.slot_of(index, call_id or "", name or "")
        new = slot is None
        if slot is None:
            slot = len(self.ids)
            if slot >= MAX_PARTS:
                return None
            self.ids.append(self.unused_id(call_id or "", f"call_{stream_id or 'stream'}_{slot}"))
            if call_id:
                self.of_id[call_id] = slot
        if index is not None:
            self.of_index[index] = slot
        return Fragment(slot, new, self.ids[slot], name or "", arguments_text(function.get("arguments")))

    def slot_of(self, index: int | None, call_id: str, name: str) -> int | None:
        """The known slot a fragment continues; None when it begins a new call."""
        known = self.of_id.get(call_id)
        if index is None:
            if known is not None or call_id or name or not self.ids:
                return known
            return len(self.ids) - 1
        slot = self.of_index.get(index)
        if slot is not None and call_id and known != slot:  # a vendor that counts every call as 0: its id decides
            return known if known is not None or name else slot
        return slot

    def unused_id(self, wanted: str, made: str) -> str:
        """*wanted* if no other call has it, else *made*: an id names one call of its stream."""
        while wanted in self.used or not wanted:
            wanted, made = made, f"{made}_"
        self.used.add(wanted)
        return wanted


def arguments_text(value: Any) -> str:
    """Arguments as JSON text; a vendor's object is encoded once."""
    if type(value) is str:
        return value
    if value is None:
        return ""
    return json_text.encode(value).decode()
