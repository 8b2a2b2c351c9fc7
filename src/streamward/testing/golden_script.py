"""Neutral scripts of AI SDK samples as a model: ``{"t": "text", "d": [...]}`` and so on, one list per model call."""

from __future__ import annotations

import json
from typing import Any

from streamward.errors import ErrorInfo, UpstreamError
from streamward.events import (
    Error,
    Event,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Source,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
    Usage,
)  # fmt: skip
from streamward.testing.scripted import ScriptedModel

Json = dict[str, Any]
MARK = {"providerMetadata": {"mock": {"k": 1}}}
SOURCE_EXTRA = {"ui_message": MARK, "data_stream": MARK}


def play(script: list[list[Json]], options: Json) -> ScriptedModel:
    """A model that plays ``script[i]`` in call i."""
    if "doStreamThrows" in options:
        return ScriptedModel([UpstreamError(str(options["doStreamThrows"]))])
    return ScriptedModel(*(events(call) for call in script), id="mock-model")


def events(call: list[Json]) -> list[Any]:
    out: list[Event | Exception] = []
    blocks = 0  # numbered through, as in the samples
    at = 0
    while at < len(call):
        part = call[at]
        kind = part["t"]
        if kind in ("text", "reasoning"):
            deltas = list(part["d"])
            while kind == "text" and at + 1 < len(call) and call[at + 1]["t"] == "text":
                at += 1
                deltas += call[at]["d"]
            signature = call[at + 1]["s"] if at + 1 < len(call) and call[at + 1]["t"] == "rsig" else None
            out += block(kind, f"{kind}-{blocks}", deltas, signature)
            blocks += 1
        elif kind == "redacted":
            block_id = f"reasoning-{blocks}"
            blocks += 1
            out += [ReasoningStart(block_id), ReasoningEnd(block_id, redacted=part["data"])]
        elif kind == "error":
            last = next((usage_of(later) for later in call[at:] if later["t"] == "finish"), None)
            out.append(Error(ErrorInfo("upstream_error", part["m"], 502), last))
            break
        elif kind != "rsig":
            out += PARTS[kind](part)
        at += 1
    return out


def block(kind: str, block_id: str, deltas: list[str], signature: str | None) -> list[Event]:
    if kind == "text":
        return [TextStart(block_id), *(TextDelta(block_id, delta) for delta in deltas), TextEnd(block_id)]
    inner = (ReasoningDelta(block_id, delta) for delta in deltas)
    return [ReasoningStart(block_id), *inner, ReasoningEnd(block_id, signature)]


def tool(part: Json) -> list[Event]:
    fragments = (ToolInputDelta(part["id"], fragment) for fragment in part["frags"])
    return [ToolInputStart(part["id"], part["name"]), *fragments, ToolInputEnd(part["id"])]


def cut_tool(part: Json) -> list[Event]:
    """A call whose arguments break off."""
    return [ToolInputStart(part["id"], part["name"]), *(ToolInputDelta(part["id"], piece) for piece in part["frags"])]


def provider_tool(part: Json) -> list[Event]:
    call = (part["id"], part["name"])
    given = part["input"]
    text = given if isinstance(given, str) else json.dumps(given)
    return [
        ToolInputStart(*call, provider_executed=True), ToolInputDelta(call[0], text), ToolInputEnd(call[0]),
        ToolCall(*call, json.loads(text), provider_executed=True), ToolResult(*call, part["result"], provider_executed=True),
    ]  # fmt: skip


def usage_of(part: Json) -> Usage | None:
    usage = part.get("u")
    if usage is None:
        return None
    cached, reasoning = usage.get("cached"), usage.get("reasoning")
    return Usage(usage["in"], usage["out"], cached_input_tokens=cached, reasoning_tokens=reasoning)


PARTS: dict[str, Any] = {
    "tool": tool, "tool-cut": cut_tool, "ptool": provider_tool, "finish": lambda part: [Finish(part["r"], usage_of(part))],
    "source": lambda part: [Source(part["id"], "url", part["url"], part.get("title"), extra=SOURCE_EXTRA)],
    "doc": lambda part: [
        Source(part["id"], "document", None, part["title"], part["mediaType"], part["filename"], extra=SOURCE_EXTRA)
    ],
    "file": lambda part: [File(part["mime"], part["data"])],
    "throw": lambda part: [UpstreamError(part["m"])],
}  # fmt: skip
