"""Renderings of the matrix, what they mean to a reader, and where the files are."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from matrix.upstreams import BUILDERS, CASES, Meaning
from streamward.call import Call, Message, Text
from streamward.events import (
    Event,
    Finish,
    Start,
    StepFinish,
    StepStart,
    ToolCall,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
)
from streamward.reply import Reply, collect
from streamward.wire import data_stream, ui_message
from streamward.wire.dialect import Context, Profile
from streamward.wire.relay import Relay
from streamward.wire.table import decoded, relay

HERE = Path(__file__).parent
LLM_CLIENTS = ("chat_completions", "responses", "messages")
UI_CLIENTS = ("ui_message", "data_stream")
CLIENTS = (*LLM_CLIENTS, *UI_CLIENTS)
UPSTREAMS = tuple(BUILDERS)
SUFFIX = {"ollama": ".ndjson", "data_stream": ".txt"}
PROFILES = {"generate_content": Profile(ends_with="finish")}
CALL = Call(model="acme/large", messages=(Message("user", (Text("Hello?"),)),), stream=True)
CONTEXT = Context(id="7", model="acme/large", created=1_760_000_000, include_usage=True, call=CALL)

PAIRS = [(upstream, case) for upstream in UPSTREAMS for case in CASES if BUILDERS[upstream](CASES[case]) is not None]
"""(upstream dialect, case) that the dialect has words for."""


def upstream_file(upstream: str, case: str) -> Path:
    return HERE / "upstream" / upstream / f"{case}{SUFFIX.get(upstream, '.sse')}"


def client_file(client: str, upstream: str, case: str) -> Path:
    return HERE / "clients" / client / upstream / f"{case}{SUFFIX.get(client, '.sse')}"


def profile(upstream: str) -> Profile:
    return PROFILES.get(upstream, Profile())


def events_of(upstream: str, reads: Iterable[bytes]) -> list[Event]:
    stage = decoded(upstream, profile(upstream))
    events = [event for read in reads for event in stage.feed(read)]
    return events + stage.close()


def make_relay(client: str, upstream: str) -> Relay:
    return relay(upstream, client, profile(upstream), CONTEXT)


def render(client: str, upstream: str, reads: Iterable[bytes]) -> bytes:
    """What a client of dialect *client* is sent for these reads."""
    if client in UI_CLIENTS:
        encoder: Any = (
            ui_message.Encoder() if client == "ui_message" else data_stream.Encoder(data_stream.Options(send_reasoning=True))
        )
        out = [frame for event in as_steps(events_of(upstream, reads)) for frame in encoder.feed(event)]
        return b"".join([*out, *encoder.close()])
    stage = make_relay(client, upstream)
    out = [stage.feed(read) for read in reads]
    if not stage.ended:
        out.append(stage.close())
    return b"".join(out)


def as_steps(events: list[Event]) -> Iterator[Event]:
    """One step of the engine, which stands between a model and a UI: calls are announced once their input is whole."""
    names: dict[str, str] = {}
    inputs: dict[str, list[str]] = {}
    failed = not isinstance(events[-1], Finish)
    for event in events:
        if isinstance(event, Finish):
            yield StepFinish(event.reason, event.usage)
        yield event
        if isinstance(event, Start):
            yield StepStart(event.id)
        elif isinstance(event, ToolInputStart):
            names[event.id] = event.name
        elif isinstance(event, ToolInputDelta):
            inputs.setdefault(event.id, []).append(event.delta)
        elif isinstance(event, ToolInputEnd) and not failed:
            yield ToolCall(event.id, names[event.id], json.loads("".join(inputs.get(event.id, ["{}"]))))


# -- what it means


def meaning_of_reply(reply: Reply) -> Meaning:
    usage = reply.usage
    known = usage is not None and usage.input_tokens is not None and usage.output_tokens is not None
    refusals = [block.text for block in reply.blocks if type(block).__name__ == "RefusalBlock"]
    return Meaning(
        reasoning=reply.reasoning, text=reply.text, refusal="".join(refusals),
        tools=tuple((call.id, call.name, call.input) for call in reply.tool_calls), finish=reply.finish_reason,
        usage=(usage.input_tokens or 0, usage.output_tokens or 0) if usage is not None and known else None,
        error=reply.error.code if reply.error is not None else None,
    )  # fmt: skip


def meaning(dialect: str, raw: bytes) -> Meaning:
    """What these bytes say to a reader of *dialect*: our own decoder, or the message a UI hook would show."""
    if dialect == "ui_message":
        return meaning_of_ui(ui_message.read(raw))
    if dialect == "data_stream":
        return meaning_of_data(data_stream.read(raw))
    return meaning_of_reply(collect(events_of(dialect, [raw])))


def meaning_of_ui(shown: ui_message.Assembler) -> Meaning:
    parts: list[Any] = (shown.message or {}).get("parts", [])
    tools = tuple(
        (part["toolCallId"], part["type"].removeprefix("tool-"), compact(part.get("input")))
        for part in parts
        if part["type"].startswith("tool-")
    )
    return Meaning(
        reasoning="".join(part["text"] for part in parts if part["type"] == "reasoning"), tools=tools, usage=None,
        text="".join(part["text"] for part in parts if part["type"] == "text"), finish=shown.finish_reason,
        error="upstream_error" if shown.error is not None else None,
    )  # fmt: skip


def meaning_of_data(shown: data_stream.Assembler) -> Meaning:
    message: dict[str, Any] = shown.message or {}
    tools = tuple(
        (call["toolCallId"], call["toolName"], compact(call["args"])) for call in message.get("toolInvocations", ())
    )
    return Meaning(
        reasoning=message.get("reasoning", ""), text=message.get("content", ""), tools=tools, usage=None,
        finish=shown.finish_reason, error="upstream_error" if shown.error is not None else None,
    )  # fmt: skip


def compact(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def understood(upstream: str, case: str) -> Meaning:
    """What a reader of the upstream's own dialect understands of *case*."""
    said = CASES[case]
    if upstream == "messages" and said.refusal:  # text whose stop reason is "refusal"
        return replace(said, text=said.refusal, refusal="", finish="content-filter")
    if upstream == "messages" and said.error:  # usage so far is in the first frame
        return replace(said, usage=(12, 1))
    return said


def expected(client: str, upstream: str, case: str) -> Meaning:
    """What a reader of *client* understands: all of it, but for what the client's dialect has no word for."""
    said = understood(upstream, case)
    said = replace(said, error=failed(said.error))
    if client in UI_CLIENTS:
        said = replace(said, usage=None, text=said.text + said.refusal, refusal="")  # no hook knows refusals
    if client == "ui_message":
        # A hook shows the arguments so far as an object, the broken string closed.
        broken = tuple((i, name, given if given.endswith("}") else given + '"}') for i, name, given in said.tools)
        return replace(said, tools=broken, finish=said.finish or "error")
    if client == "data_stream":  # calls are announced when they are whole
        return replace(said, tools=() if said.error else said.tools, finish=said.finish or "unknown")
    if client == "messages":
        if said.refusal:
            said = replace(said, text=said.refusal, refusal="", finish="content-filter")
        return replace(said, usage=said.usage or (0, 0))  # the format demands figures from the first frame on
    return replace(said, usage=None) if said.error else said


def failed(error: str | None) -> str | None:
    """Readers of these dialects take every code of ours for a provider's error."""
    return "upstream_error" if error else None
