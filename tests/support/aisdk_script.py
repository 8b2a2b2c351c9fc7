"""A scripted run as events: the same neutral scripts that the capture program plays to the real AI SDK.

A tiny stand-in for the engine: it plays model calls in order, runs the known tools, and stops where the AI SDK of that
version stops. Only what the UI dialects' tests need.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    ApprovalRequest,
    Error,
    Event,
    File,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Source,
    Start,
    StepFinish,
    StepStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolCall,
    ToolDenied,
    ToolError,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    ToolResult,
    Usage,
)  # fmt: skip
from streamward.wire import data_stream, ui_message

EXTRA = {"providerMetadata": {"mock": {"k": 1}}}
SOURCE_EXTRA = {"ui_message": EXTRA, "data_stream": EXTRA}
ABORTED = "This operation was aborted"
EXPLODED = "tool exploded: internal detail"

TOOLS: dict[str, Any] = {
    "weather": lambda i: {"city": i["city"], "tempC": 21},
    "add": lambda i: {"sum": i["a"] + i["b"]},
    "ping": lambda _: "pong",
    "dyn": lambda i: {"y": i["x"] + 1},
    "danger": lambda i: {"removed": i["path"]},
}
NO_EXECUTE = {"askUser"}
DYNAMIC = {"dyn"}


class Run:
    """One scripted generation."""

    def __init__(self, capture: dict[str, Any], version: int) -> None:
        self.version = version
        self.options: dict[str, Any] = capture.get("options") or {}
        self.script: list[list[dict[str, Any]]] = capture["script"]
        self.input_errors = iter(input_errors(capture["wire"]))
        self.usages: list[Usage] = []
        self.texts = 0
        self.over = False

    def events(self) -> Iterator[Event]:
        yield Start("resp-1", "mock-model")
        if "doStreamThrows" in self.options:
            yield Error(ErrorInfo("upstream_error", self.options["doStreamThrows"]))
            return
        if "approval" in self.options:
            approved = self.options["approval"]
            yield ToolResult("a1", "danger", {"removed": "/tmp/x"}) if approved else ToolDenied("a1", "danger")
        for number, call in enumerate(self.script, 1):
            yield StepStart()
            yield from self.step(number, call)
            if self.over:
                return

    def step(self, number: int, call: list[dict[str, Any]]) -> Iterator[Event]:
        calls: list[ToolCall] = []
        for position, part in enumerate(call):
            kind = part["t"]
            if kind == "error":
                usages = [*self.usages, *(usage_of(p) for p in call if p["t"] == "finish")]
                yield Error(ErrorInfo("upstream_error", part["m"]), total(usages))
                self.over = True
                return
            if kind == "finish":
                break
            for event in self.part(part, f"{number}-{position}", call[position + 1 : position + 2]):
                if isinstance(event, ToolCall) and not event.provider_executed:
                    calls.append(event)
                yield event
            if self.over:
                return
        done = True
        for result in self.results(calls):
            done = done and isinstance(result, (ToolResult, ToolError))
            done = done and not (self.version < 5 and isinstance(result, ToolError))
            yield result
        done = done and not any(c.name in NO_EXECUTE or (c.error and self.version < 5) for c in calls)
        finish = next((p for p in call if p["t"] == "finish"), {"r": "unknown", "u": None})
        self.usages.append(usage_of(finish))
        yield StepFinish(finish["r"], self.usages[-1])
        if not calls or not done or number >= self.options.get("maxSteps", 1):
            self.over = True
            yield Finish(finish["r"], total(self.usages))

    def part(self, part: dict[str, Any], part_id: str, following: list[dict[str, Any]]) -> Iterator[Event]:
        kind = part["t"]
        if kind == "text":
            yield TextStart(part_id)
            for delta in part["d"]:
                yield TextDelta(part_id, delta)
                self.texts += 1
                if self.texts == self.options.get("abortAfter"):
                    self.over = True
                    yield TextEnd(part_id)
                    yield Abort(ABORTED)
                    return
            yield TextEnd(part_id)
        elif kind == "reasoning":
            yield ReasoningStart(part_id)
            for delta in part["d"]:
                yield ReasoningDelta(part_id, delta)
            signature = following[0]["s"] if following and following[0]["t"] == "rsig" else None
            yield ReasoningEnd(part_id, signature)
        elif kind == "redacted":
            yield ReasoningStart(part_id)
            yield ReasoningEnd(part_id, redacted=part["data"])
        elif kind == "tool":
            yield from self.tool(part)
        elif kind == "tool-cut":
            yield ToolInputStart(part["id"], part["name"])
            for fragment in part["frags"]:
                yield ToolInputDelta(part["id"], fragment)
            yield ToolInputEnd(part["id"])
        elif kind == "ptool":
            call = (part["id"], part["name"])
            yield ToolInputStart(*call, provider_executed=True)
            yield ToolInputDelta(call[0], part["input"])
            yield ToolInputEnd(call[0])
            yield ToolCall(*call, json.loads(part["input"]), provider_executed=True)
            yield ToolResult(*call, part["result"], provider_executed=True)
        elif kind == "source":
            yield Source(part["id"], "url", part["url"], part.get("title"), extra=SOURCE_EXTRA)
        elif kind == "doc":
            document = (part["title"], part["mediaType"], part["filename"])
            yield Source(part["id"], "document", None, *document, extra=SOURCE_EXTRA)
        elif kind == "file":
            yield File(part["mime"], part["data"])

    def tool(self, part: dict[str, Any]) -> Iterator[Event]:
        call_id, name, dynamic = part["id"], part["name"], part["name"] in DYNAMIC
        yield ToolInputStart(call_id, name, dynamic=dynamic)
        for fragment in part["frags"]:
            yield ToolInputDelta(call_id, fragment)
        yield ToolInputEnd(call_id)
        value = json.loads("".join(part["frags"]))
        error = None
        if (name == "weather" and "city" not in value) or name not in self.options.get("tools", ()):
            error = next(self.input_errors, "invalid input")
        yield ToolCall(call_id, name, value, error, dynamic=dynamic)

    def results(self, calls: list[ToolCall]) -> Iterator[Event]:
        for call in sorted(calls, key=lambda c: isinstance(c.input, dict) and c.input.get("city") == "Slowville"):
            if call.error is not None or call.name in NO_EXECUTE:
                continue
            if call.name == "danger":
                yield ApprovalRequest("approval-1", call.id)
            elif call.name == "failing":
                yield ToolError(call.id, call.name, EXPLODED)
            elif call.name == "progress":
                for pct in (10, 50, 100):
                    yield ToolResult(call.id, call.name, {"pct": pct}, preliminary=True)
                yield ToolResult(call.id, call.name, {"pct": 100})
            else:
                yield ToolResult(call.id, call.name, TOOLS[call.name](call.input), dynamic=call.dynamic)


def usage_of(finish: dict[str, Any]) -> Usage:
    usage = finish["u"]
    return Usage() if usage is None else Usage(usage["in"], usage["out"])


def total(usages: list[Usage]) -> Usage | None:
    if any(usage.input_tokens is None for usage in usages):
        return None
    return Usage(sum(u.input_tokens or 0 for u in usages), sum(u.output_tokens or 0 for u in usages))


def input_errors(wire: str) -> list[str]:
    """What the AI SDK said about invalid arguments: its schema library's own words, which are not ours to imitate."""
    return [json.loads(f'"{text}"') for text in re.findall(r'"tool-input-error".*?"errorText":"((?:[^"\\]|\\.)*)"', wire)]


def message_metadata(event: Event) -> Any:
    """The metadata callback of the capture program."""
    if isinstance(event, Start):
        return {"model": "mock-model", "t0": 1}
    if isinstance(event, StepFinish):
        return {"step": True}
    if isinstance(event, Finish) and event.usage is not None:
        return {"tokens": event.usage.total}
    return None


def ui_options(options: dict[str, Any], version: int) -> ui_message.Options:
    """The capture's options as our encoder's."""
    message_id = {"user": "srv-msg-1", "assistant": "a-prev"}.get(options.get("persist", ""))
    if "approval" in options:
        message_id = "a-prev"
    return ui_message.Options(
        version=version,  # type: ignore[arg-type]  # 5, 6 or 7
        send_reasoning=options.get("sendReasoning", True),
        send_sources=options.get("sendSources", False),
        send_start=options.get("sendStart", True),
        send_finish=options.get("sendFinish", True),
        message_id=message_id,
        metadata=message_metadata if options.get("metadata") else None,
        tools=frozenset(options.get("tools", ())),
        error_text=named_error if options.get("onError") else None,
        provider="mock",
    )


def data_options(options: dict[str, Any], version: int) -> data_stream.Options:
    return data_stream.Options(
        version=version,  # type: ignore[arg-type]  # 3 or 4
        send_usage=options.get("sendUsage", True),
        send_reasoning=options.get("sendReasoning", False),
        send_sources=options.get("sendSources", False),
        send_finish=options.get("sendFinish", True),
        tool_call_streaming=options.get("toolCallStreaming", False),
        error_text=named_error_v4 if options.get("onError") else None,
    )


def named_error(_kind: str, message: str) -> str:
    """What the capture program's onError makes of an Error."""
    return f"E:Error:{message}"


def named_error_v4(kind: str, message: str) -> str:
    """Version 4 wraps what a tool raised."""
    if kind == "tool-error":
        return f"E:AI_ToolExecutionError:Error executing tool failing: {message}"
    return named_error(kind, message)


def opaque_ids(wire: str) -> str:
    """Ids that the generating side makes up, numbered in order of appearance; the repeated ones of version 5 too."""
    current: dict[str, str] = {}
    count = 0

    def renamed(match: re.Match[str]) -> str:
        nonlocal count
        family, phase, old = match[2], match[3], match[5]
        if phase == "start":
            count += 1
            current[family + old] = f"part-{count}"
        return f"{match[1]}{match[4]}{current.get(family + old, old)}"

    wire = re.sub(r'("type":"(text|reasoning)-(start|delta|end)")(,"id":")([^"]*)', renamed, wire)
    wire = re.sub(r'"approvalId":"[^"]*"', '"approvalId":"opaque"', wire)
    return re.sub(r'^f:\{"messageId":"[^"]*"', 'f:{"messageId":"opaque"', wire, flags=re.MULTILINE)
