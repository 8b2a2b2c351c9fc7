"""Rules of Chat Completions streams. Follows the reference, "The chat completion chunk object", and what both official
SDKs demand beyond it: they concatenate every string of a delta, and index tool calls by position.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamward.wire.lint.finding import Finding, Json, Rule, as_key, shown
from streamward.wire.lint.values import is_json, parsed
from streamward.wire.sse import DONE, Frame

RULES = (
    Rule("chat-json", "every frame is a JSON object, or [DONE]"),
    Rule("chat-no-event-names", "frames carry no `event:` name", "warning"),
    Rule("chat-chunk", "chunks have id, object `chat.completion.chunk`, created, model and choices"),
    Rule("chat-choice", "choices have index, delta and finish_reason (null until the end)"),
    Rule("chat-same-id", "id, created and model are the same in all chunks"),
    Rule("chat-role-once", "the first delta of a choice has the role, and no other one: SDKs join strings"),
    Rule("chat-finish-once", "each choice finishes once, with a known reason, and says nothing after it"),
    Rule("chat-tools-finish", "a choice with tool calls finishes with tool_calls"),
    Rule("chat-tool-index", "tool calls have index 0, 1, 2 without holes"),
    Rule("chat-tool-head", "id, type and name stand in a call's first fragment only, ids are unique"),
    Rule("chat-tool-arguments", "the arguments of a finished call are JSON"),
    Rule("chat-usage", "usage comes once, in the last chunk before [DONE], with empty choices", "warning"),
    Rule("chat-error", "an error is the last frame: an object with message, type, param and code, and no [DONE]"),
    Rule("chat-terminal", "a stream ends with one [DONE] after a finish reason, or with an error; nothing follows"),
)
REASONS = frozenset({"stop", "length", "tool_calls", "content_filter", "function_call"})


class ChatRules:
    """Checks one stream."""

    rules = RULES

    def __init__(self) -> None:
        self.first: Json | None = None
        self.roles: set[int] = set()
        self.finished: dict[int, str] = {}
        self.tools: dict[tuple[int, int], list[str]] = {}
        self.tool_ids: set[str] = set()
        self.usages: list[int] = []
        self.done = False
        self.failed = False
        self.chunks = 0

    def feed(self, number: int, frame: Frame) -> Iterator[Finding]:
        if self.done or self.failed:
            after = "the end" if self.done else "an error"
            yield Finding("chat-terminal", f"{shown(frame.data[:40])} follows {after}", number)
            return
        if frame.data == DONE:
            yield from self.ended(number)
            return
        if frame.event:
            yield Finding("chat-no-event-names", f"event: {shown(frame.event)}", number)
        chunk = parsed(frame.data)
        if not isinstance(chunk, dict):
            yield Finding("chat-json", shown(frame.data[:60]), number)
        elif "error" in chunk:
            self.failed = True
            yield from self.error(number, chunk)
        else:
            self.chunks += 1
            yield from self.chunk(number, chunk)

    def ended(self, number: int) -> Iterator[Finding]:
        self.done = True
        if not self.finished:
            yield Finding("chat-terminal", "[DONE] without a finish reason before it", number)
        if self.usages and self.usages[-1] != number - 1:
            yield Finding("chat-usage", "usage is not in the last chunk", self.usages[-1])

    def error(self, number: int, chunk: Json) -> Iterator[Finding]:
        error = chunk["error"]
        missing = [name for name in ("message", "type", "param", "code") if not isinstance(error, dict) or name not in error]
        if missing:
            yield Finding("chat-error", f"without {', '.join(missing)}", number)
        if chunk.get("choices"):
            yield Finding("chat-error", "inside a chunk with choices", number)

    def chunk(self, number: int, chunk: Json) -> Iterator[Finding]:
        missing = [name for name in ("id", "created", "model", "choices") if name not in chunk]
        if missing:
            yield Finding("chat-chunk", f"without {', '.join(missing)}", number)
        if chunk.get("object") != "chat.completion.chunk":
            yield Finding("chat-chunk", f"object is {shown(chunk.get('object'))}", number)
        if self.first is None:
            self.first = chunk
        for name in ("id", "created", "model"):
            if name in chunk and chunk[name] != self.first.get(name, chunk[name]):
                yield Finding("chat-same-id", f"{name} changes to {shown(chunk[name])}", number)
        choices = chunk.get("choices")
        if not isinstance(choices, list):
            yield Finding("chat-chunk", "choices is not an array", number)
            choices = []
        if chunk.get("usage") is not None:
            if choices:
                yield Finding("chat-usage", "usage beside choices", number)
            if self.usages:
                yield Finding("chat-usage", "usage a second time", number)
            self.usages.append(number)
        for choice in choices:
            yield from self.choice(number, choice)

    def choice(self, number: int, choice: Any) -> Iterator[Finding]:
        if not isinstance(choice, dict) or not isinstance(choice.get("index"), int):
            yield Finding("chat-choice", "a choice without an index", number)
            return
        index, delta = choice["index"], choice.get("delta")
        if not isinstance(delta, dict) or "finish_reason" not in choice:
            yield Finding("chat-choice", "without delta" if not isinstance(delta, dict) else "without finish_reason", number)
        delta = delta if isinstance(delta, dict) else {}
        if index in self.finished and any(delta.values()):
            yield Finding("chat-finish-once", f"choice {index} goes on after its finish reason", number)
        if "role" in delta and delta["role"] is not None:
            if index in self.roles:
                yield Finding("chat-role-once", f"role again in choice {index}", number)
            self.roles.add(index)
        elif index not in self.roles:
            self.roles.add(index)
            yield Finding("chat-role-once", f"the first delta of choice {index} has no role", number)
        calls = delta.get("tool_calls")
        for call in calls if isinstance(calls, list) else ():
            yield from self.call(number, index, call)
        reason = choice.get("finish_reason")
        if reason is not None:
            yield from self.finish(number, index, reason)

    def finish(self, number: int, index: int, reason: Any) -> Iterator[Finding]:
        if index in self.finished:
            yield Finding("chat-finish-once", f"choice {index} finishes again", number)
        if as_key(reason) not in REASONS:
            yield Finding("chat-finish-once", f"unknown reason {shown(reason)}", number)
        self.finished[index] = str(reason)
        calls = {key: pieces for key, pieces in self.tools.items() if key[0] == index}
        if calls and reason == "stop":
            yield Finding("chat-tools-finish", "finished with stop", number)
        if reason != "length":
            for key, pieces in calls.items():
                text = "".join(pieces)
                if text and not is_json(text):
                    yield Finding("chat-tool-arguments", f"call {key[1]}: {shown(text)}", number)

    def call(self, number: int, choice: int, call: Any) -> Iterator[Finding]:
        if not isinstance(call, dict) or not isinstance(call.get("index"), int):
            yield Finding("chat-tool-index", "a fragment without an index", number)
            return
        key = (choice, call["index"])
        function = call.get("function")
        function = function if isinstance(function, dict) else {}
        if key not in self.tools:
            if call["index"] != sum(1 for known in self.tools if known[0] == choice):
                yield Finding("chat-tool-index", f"index {call['index']} is not the next one", number)
            self.tools[key] = []
            named = call.get("id") and call.get("type") == "function" and function.get("name")
            if not named:
                yield Finding("chat-tool-head", f"call {key[1]} begins without id, type or name", number)
            if as_key(call.get("id")) in self.tool_ids:
                yield Finding("chat-tool-head", f"the id {shown(call['id'])} is used twice", number)
            self.tool_ids.add(str(call.get("id")))
        elif call.get("id") or function.get("name"):
            yield Finding("chat-tool-head", f"call {key[1]} repeats its id or name", number)
        arguments = function.get("arguments")
        if isinstance(arguments, str):
            self.tools[key].append(arguments)
        elif arguments is not None:
            yield Finding("chat-tool-arguments", "a fragment that is not a string", number)

    def close(self, *, cut: bool) -> Iterator[Finding]:
        if not (self.done or self.failed):
            how = "broke off" if cut else "ended"
            yield Finding("chat-terminal", f"the body {how} without [DONE] or an error")
