"""Rules of Messages streams (Anthropic). Follows "Streaming Messages"; the official SDKs skip frames without a name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamward.wire.lint.finding import Finding, Json, Rule, as_key, shown
from streamward.wire.lint.values import is_json, parsed
from streamward.wire.sse import Frame

RULES = (
    Rule("messages-json", "every frame is a JSON object with a type"),
    Rule("messages-event-name", "`event:` equals the type: SDKs skip frames without it"),
    Rule("messages-start", "message_start is first and comes once, with an empty message and usage"),
    Rule("messages-block-index", "content blocks have index 0, 1, 2 without holes"),
    Rule("messages-block-open", "deltas and stops go to an open block; all are stopped at the end"),
    Rule("messages-delta-kind", "deltas fit the type of their block"),
    Rule("messages-tool-input", "the input of a finished tool_use block is a JSON object"),
    Rule("messages-stop-reason", "one message_delta has a known stop_reason and output_tokens, after all blocks"),
    Rule("messages-known", "only known event types", "warning"),
    Rule("messages-error", "an error carries a type and a message, and is the last frame"),
    Rule("messages-terminal", "message_stop or an error is the last frame"),
)
DELTAS = {
    "text": {"text_delta", "citations_delta"}, "thinking": {"thinking_delta", "signature_delta"},
    "tool_use": {"input_json_delta"}, "server_tool_use": {"input_json_delta"}, "redacted_thinking": set(),
}  # fmt: skip
REASONS = frozenset({
    "end_turn", "max_tokens", "stop_sequence", "tool_use", "pause_turn", "refusal", "model_context_window_exceeded",
})  # fmt: skip
KNOWN = frozenset({
    "message_start", "content_block_start", "content_block_delta", "content_block_stop", "message_delta", "message_stop",
    "ping", "error",
})  # fmt: skip


class MessagesRules:
    """Checks one stream."""

    rules = RULES

    def __init__(self) -> None:
        self.started = False
        self.blocks: dict[Any, tuple[str, list[str]]] = {}
        self.seen = 0
        self.reason: Any = None
        self.terminal = ""

    def feed(self, number: int, frame: Frame) -> Iterator[Finding]:
        event = parsed(frame.data)
        kind = event.get("type") if isinstance(event, dict) else None
        if not isinstance(kind, str):
            yield Finding("messages-json", shown(frame.data[:60]), number)
            return
        if self.terminal:
            yield Finding("messages-terminal", f"{kind} follows {self.terminal}", number)
        if frame.event != kind:
            yield Finding("messages-event-name", f"event {frame.event!r} for type {kind!r}", number)
        if kind not in KNOWN:
            yield Finding("messages-known", kind, number)
        elif not self.started and kind not in ("message_start", "ping", "error"):
            yield Finding("messages-start", f"{kind} comes before it", number)
            self.started = True
        handler = HANDLERS.get(kind)
        if handler is not None:
            yield from handler(self, number, event)

    def start(self, number: int, event: Json) -> Iterator[Finding]:
        message = event.get("message")
        message = message if isinstance(message, dict) else {}
        if self.started:
            yield Finding("messages-start", "a second one", number)
        self.started = True
        missing = [name for name in ("id", "type", "role", "model", "content", "usage") if name not in message]
        if missing or message.get("content"):
            what = f"without {', '.join(missing)}" if missing else "its content is not empty"
            yield Finding("messages-start", what, number)

    def block_start(self, number: int, event: Json) -> Iterator[Finding]:
        index, block = as_key(event.get("index")), event.get("content_block")
        if index != self.seen:
            yield Finding("messages-block-index", f"{shown(index)} where {self.seen} was due", number)
        self.seen += 1
        kind = block.get("type") if isinstance(block, dict) else None
        self.blocks[index] = (str(kind), [])

    def block_delta(self, number: int, event: Json) -> Iterator[Finding]:
        block, delta = self.blocks.get(as_key(event.get("index"))), event.get("delta")
        if block is None:
            yield Finding("messages-block-open", f"a delta for block {shown(event.get('index'))}", number)
            return
        kind = delta.get("type") if isinstance(delta, dict) else None
        if block[0] in DELTAS and kind not in DELTAS[block[0]]:
            yield Finding("messages-delta-kind", f"{shown(kind)} in a {block[0]} block", number)
        elif kind == "input_json_delta":
            block[1].append(str(delta.get("partial_json", "")))  # type: ignore[union-attr] # kind came from it

    def block_stop(self, number: int, event: Json) -> Iterator[Finding]:
        block = self.blocks.pop(as_key(event.get("index")), None)
        if block is None:
            yield Finding("messages-block-open", f"a stop for block {shown(event.get('index'))}", number)
        elif block[0] == "tool_use":
            text = "".join(block[1])
            if text and not (is_json(text) and text.lstrip().startswith("{")):
                yield Finding("messages-tool-input", shown(text), number)

    def message_delta(self, number: int, event: Json) -> Iterator[Finding]:
        delta, usage = event.get("delta"), event.get("usage")
        reason = delta.get("stop_reason") if isinstance(delta, dict) else None
        if self.reason is not None:
            yield Finding("messages-stop-reason", "a second message_delta", number)
        if reason not in REASONS:
            yield Finding("messages-stop-reason", f"stop_reason is {shown(reason)}", number)
        if not isinstance(usage, dict) or "output_tokens" not in usage:
            yield Finding("messages-stop-reason", "without usage.output_tokens", number)
        if self.blocks:
            yield Finding("messages-block-open", "message_delta while a block is open", number)
        self.reason = reason or ""

    def stop(self, number: int, event: Json) -> Iterator[Finding]:
        self.terminal = "message_stop"
        if self.reason is None:
            yield Finding("messages-stop-reason", "message_stop without a message_delta before it", number)
        if self.blocks:
            yield Finding("messages-block-open", "message_stop while a block is open", number)

    def error(self, number: int, event: Json) -> Iterator[Finding]:
        self.terminal = "error"
        error = event.get("error")
        if not isinstance(error, dict) or not error.get("type") or not error.get("message"):
            yield Finding("messages-error", "an error without type or message", number)

    def close(self, *, cut: bool) -> Iterator[Finding]:
        if not self.terminal:
            how = "broke off" if cut else "ended"
            yield Finding("messages-terminal", f"the body {how} without message_stop or an error")


HANDLERS = {
    "message_start": MessagesRules.start, "content_block_start": MessagesRules.block_start,
    "content_block_delta": MessagesRules.block_delta, "content_block_stop": MessagesRules.block_stop,
    "message_delta": MessagesRules.message_delta, "message_stop": MessagesRules.stop, "error": MessagesRules.error,
}  # fmt: skip
