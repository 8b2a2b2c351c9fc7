"""Items being streamed: the frames that open, feed and close their parts.

Each holds its deltas (joined once, when its part closes) and the bytes around the next delta, encoded beforehand.
"""

from __future__ import annotations

from typing import Any, Protocol

from streamward.events import ReasoningEnd
from streamward.wire.json_text import encode
from streamward.wire.responses import items
from streamward.wire.responses.items import EMPTY, Item, logprob


class Emit(Protocol):
    """Where an item's frames go: the encoder."""

    sequence: int
    out: list[bytes]

    def emit(self, kind: str, fields: dict[str, Any]) -> None: ...


class OpenItem:
    """What all kinds share. ``hot``: the bytes around a delta are ready and nothing special is due before it."""

    __slots__ = ("deltas", "head", "hot", "id", "index", "middle", "tail")

    def __init__(self, index: int, id: str) -> None:  # noqa: A002 - the field's name
        self.index = index
        self.id = id
        self.deltas: list[str] = []
        self.hot = False
        self.head = self.middle = self.tail = b""

    def prepare(self, kind: str, place: dict[str, int], tail: bytes) -> None:
        """Encode the bytes around each delta of event *kind*; the hot path fills in number and text."""
        name = kind.encode()
        self.head = b'event: %b\ndata: {"type":"%b","sequence_number":' % (name, name)
        fields = encode({"item_id": self.id, "output_index": self.index, **place})
        self.middle = b"," + fields[1:-1] + b',"delta":'
        self.tail = tail + b"}\n\n"
        self.hot = True

    def begun(self) -> Item:
        """The item as ``output_item.added`` shows it: named, and empty."""
        raise NotImplementedError

    def close_part(self, to: Emit) -> None:
        """The done events of the part that is open, if one is."""
        raise NotImplementedError

    def finished(self, status: str) -> Item:
        """The item as ``output_item.done`` and the final response show it."""
        raise NotImplementedError


class MessageItem(OpenItem):
    """A message; its text and refusal parts follow one another."""

    __slots__ = ("annotations", "content", "logprobs", "native_id", "open", "phase", "refusal")

    def __init__(self, index: int, id: str, native_id: str | None = None, phase: str | None = None) -> None:  # noqa: A002
        super().__init__(index, id)
        self.native_id = native_id
        self.phase = phase
        self.content: list[Item] = []
        self.open = False
        self.refusal = False
        self.annotations: list[Item] = []
        self.logprobs: list[Any] = []

    def begun(self) -> Item:
        return items.message(self.id, [], "in_progress", self.phase)

    def place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index, "content_index": len(self.content)}

    def open_part(self, to: Emit, *, refusal: bool = False) -> None:
        self.open, self.refusal = True, refusal
        self.deltas, self.annotations, self.logprobs = [], [], []
        part = items.refusal_part("") if refusal else items.text_part("")
        to.emit("response.content_part.added", {**self.place(), "part": part})
        place = {"content_index": len(self.content)}
        if refusal:
            self.prepare("response.refusal.delta", place, b"")
        else:
            self.prepare("response.output_text.delta", place, b',"logprobs":[]')

    def delta_with_logprobs(self, to: Emit, delta: str, logprobs: list[Any]) -> None:
        entries = [logprob(entry) for entry in logprobs]
        self.deltas.append(delta)
        self.logprobs.extend(entries)
        to.emit("response.output_text.delta", {**self.place(), "delta": delta, "logprobs": entries})

    def annotate(self, to: Emit, annotation: Item) -> None:
        to.emit(
            "response.output_text.annotation.added",
            {**self.place(), "annotation_index": len(self.annotations), "annotation": annotation},
        )
        self.annotations.append(annotation)

    def close_part(self, to: Emit) -> None:
        if not self.open:
            return
        self.open = self.hot = False
        text, place = "".join(self.deltas), self.place()
        if self.refusal:
            part = items.refusal_part(text)
            to.emit("response.refusal.done", {**place, "refusal": text})
        else:
            part = items.text_part(text, self.annotations, self.logprobs)
            to.emit("response.output_text.done", {**place, "text": text, "logprobs": self.logprobs})
        to.emit("response.content_part.done", {**place, "part": part})
        self.content.append(part)
        self.deltas = []

    def finished(self, status: str) -> Item:
        return items.message(self.id, self.content, status, self.phase)


class ThoughtItem(OpenItem):
    """A reasoning item; its text is a summary of one or more parts, opened when their first text comes."""

    __slots__ = ("end", "fields", "open", "summary")

    def __init__(self, index: int, id: str, extra: Any) -> None:  # noqa: A002
        super().__init__(index, id)
        self.fields = extra.get("fields", EMPTY)
        self.summary: list[str] = []
        self.open = False
        self.end: ReasoningEnd | None = None

    def begun(self) -> Item:
        return items.reasoning(self.id, [], "in_progress")

    def place(self) -> dict[str, Any]:
        return {"item_id": self.id, "output_index": self.index, "summary_index": len(self.summary)}

    def open_part(self, to: Emit) -> None:
        if self.open:
            return
        self.open = True
        self.deltas = []
        part = {"type": "summary_text", "text": ""}
        to.emit("response.reasoning_summary_part.added", {**self.place(), "part": part})
        self.prepare("response.reasoning_summary_text.delta", {"summary_index": len(self.summary)}, b"")

    def close_part(self, to: Emit) -> None:
        if not self.open:
            return
        self.open = self.hot = False
        text, place = "".join(self.deltas), self.place()
        to.emit("response.reasoning_summary_text.done", {**place, "text": text})
        to.emit("response.reasoning_summary_part.done", {**place, "part": {"type": "summary_text", "text": text}})
        self.summary.append(text)
        self.deltas = []

    def finished(self, status: str) -> Item:
        sealed = None if self.end is None else items.seal(self.end)
        return {**items.reasoning(self.id, self.summary, status, sealed), **self.fields}


class CallItem(OpenItem):
    """A function call; it has no parts, only arguments."""

    __slots__ = ("call_id", "fields", "name", "open", "signature")

    def __init__(self, index: int, id: str, call_id: str, name: str, extra: Any) -> None:  # noqa: A002
        super().__init__(index, id)
        self.call_id = call_id
        self.name = name
        self.fields = extra.get("fields", EMPTY)
        self.signature: str | None = None
        self.open = True
        self.prepare("response.function_call_arguments.delta", {}, b"")

    def begun(self) -> Item:
        return {**items.function_call(self.id, self.call_id, self.name, "", "in_progress"), **self.fields}

    def close_part(self, to: Emit) -> None:
        if not self.open:
            return
        self.open = self.hot = False
        to.emit("response.function_call_arguments.done", {
            "item_id": self.id, "output_index": self.index, "name": self.name, "arguments": "".join(self.deltas),
        })  # fmt: skip

    def finished(self, status: str) -> Item:
        arguments = "".join(self.deltas)
        return {**items.function_call(self.id, self.call_id, self.name, arguments, status), **self.fields}
