"""What the tests of the Responses dialect share: frames as objects, both published schemas, streams to encode."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from streamward.call import Call, Message, Output, Text, Thinking, Tool, ToolChoice
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
    RefusalDelta,
    RefusalEnd,
    RefusalStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from streamward.wire.dialect import Context

SPECS = Path(__file__).parents[1] / "fixtures" / "specs"
USAGE = Usage(input_tokens=12, output_tokens=7, cached_input_tokens=4, reasoning_tokens=2)
MARKER = b": end\rdata: [DONE]\n\n"

CALL = Call(
    model="acme/large",
    messages=(
        Message("system", (Text("Be brief."),), extra={"responses": {"instructions": True}}),
        Message("user", (Text("Weather?"),)),
    ),
    tools=(Tool("weather", "Looks it up", {"type": "object", "properties": {"city": {"type": "string"}}}, True),),
    tool_choice=ToolChoice("auto", allowed=("weather",)),
    temperature=0.5,
    max_output_tokens=100,
    output=Output("json"),
    thinking=Thinking(effort="low", summary="auto"),
    metadata={"team": "blue"},
    stream=True,
)


def context(call: Call | None = None, **options: Any) -> Context:
    return Context(id="abc", model="acme/large", created=1_700_000_000, call=call, options=options)


def frames(raw: bytes) -> list[dict[str, Any]]:
    """The events in *raw*: named as their type, numbered without a gap, the end marker last."""
    assert raw.endswith(MARKER)
    out = []
    for frame in raw.removesuffix(MARKER).decode().removesuffix("\n\n").split("\n\n"):
        event, data = frame.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert event == f"event: {value['type']}"
        out.append(value)
    assert [value["sequence_number"] for value in out] == list(range(len(out)))
    return out


@cache
def validators(spec: str) -> dict[str, Draft202012Validator]:
    """Validators of *spec* by event type, with the response object's under ``response``.

    Loosened where the specification cannot hold what we have to say: Open Responses types the echo of a JSON Schema as
    null only; OpenAI closes the lists of error codes and of reasons for an incomplete response, and has no null for
    usage although its own snapshots hold one until the end.
    """
    loaded = json.loads((SPECS / f"{spec}.json").read_text())
    defs = loaded["$defs"]
    if spec == "open_responses":
        defs["JsonSchemaResponseFormat"]["properties"]["schema"] = {"type": "object"}
    else:
        defs["ResponseErrorCode"].pop("enum")
        defs["ResponseUsage"]["type"] = ["object", "null"]
        for part in defs["Response"]["allOf"]:
            reason = part.get("properties", {}).get("incomplete_details")
            if reason is not None:
                reason["anyOf"][0]["properties"]["reason"].pop("enum")
    names = {**loaded["events"], "response": loaded["response"]}
    return {
        kind: Draft202012Validator({"$ref": f"#/$defs/{name}", "$defs": defs}) for kind, name in names.items()
    }  # fmt: skip


def problems(kind: str, value: dict[str, Any]) -> list[str]:
    """What either specification finds wrong with event (or ``response``) *value*."""
    return [
        f"{spec}: {kind}: {error.json_path}: {error.message[:200]}"
        for spec in ("open_responses", "openai_responses")
        for error in validators(spec)[kind].iter_errors(value)
    ]


def text(part_id: str, *deltas: str) -> list[Event]:
    return [TextStart(part_id), *(TextDelta(part_id, delta) for delta in deltas), TextEnd(part_id)]


def reasoning(part_id: str, *deltas: str, signature: str | None = None, redacted: str | None = None) -> list[Event]:
    deltas_of = (ReasoningDelta(part_id, delta) for delta in deltas)
    return [ReasoningStart(part_id), *deltas_of, ReasoningEnd(part_id, signature, redacted)]


def tool(call_id: str, name: str, *deltas: str, signature: str | None = None) -> list[Event]:
    deltas_of = (ToolInputDelta(call_id, delta) for delta in deltas)
    return [ToolInputStart(call_id, name), *deltas_of, ToolInputEnd(call_id, signature)]


START = Start("up_1", "model-1", 1_699_999_999)
LOGPROB = {"token": "a", "logprob": -0.5, "bytes": None, "top_logprobs": [{"token": "b", "logprob": -1.0}]}

STREAMS: dict[str, list[Event]] = {
    "text": [START, *text("t", "Hel", "lo"), Finish("stop", USAGE)],
    "empty": [START, Finish("stop", USAGE)],
    "thinking_tools": [
        START, *reasoning("r", "Let me ", "see.", signature="c2ln"), *text("t", "I will look."),
        *tool("call_1", "weather", '{"city":', '"Paris"}'), *tool("call_2", "weather", "{}"),
        Finish("tool-calls", USAGE),
    ],
    "parallel": [
        START, ToolInputStart("call_1", "weather"), ToolInputStart("call_2", "weather"), ToolInputDelta("call_1", "{"),
        ToolInputDelta("call_2", "{}"), ToolInputDelta("call_1", "}"), ToolInputEnd("call_1"), ToolInputEnd("call_2"),
        Finish("tool-calls"),
    ],
    "signed_call": [START, *tool("call_1", "weather", "{}", signature="Z2VtaW5p"), Finish("tool-calls", USAGE)],
    "redacted": [START, *reasoning("r", redacted="b3BhcXVl"), *text("t", "Hi"), Finish("stop", USAGE)],
    "refusal": [START, RefusalStart("f"), RefusalDelta("f", "I can"), RefusalDelta("f", "not."), RefusalEnd("f"),
                Finish("content-filter", USAGE)],
    "sources": [
        START, Source("s1", url="https://a.example/", title="A"), TextStart("t"), TextDelta("t", "As A says"),
        Source("s2", url="https://b.example/", title="B", part_id="t", start=0, end=9), TextEnd("t"),
        Source("s3", url="https://c.example/", title="C"), Finish("stop", USAGE),
    ],
    "logprobs": [START, TextStart("t"), TextDelta("t", "a", [LOGPROB]), TextDelta("t", "b"), TextEnd("t"),
                 Finish("stop")],
    "image": [START, *text("t", "Here:"), File("image/png", "aGk="), Finish("stop")],
    "length": [START, *text("t", "One"), *text("u", "Tw"), Finish("length", USAGE)],
    "other": [START, *text("t", "Wait"), Finish("other", USAGE, "pause_turn")],
    "model_error": [START, *text("t", "Hm"), Finish("error", USAGE, "MALFORMED_FUNCTION_CALL")],
    "failed": [START, *text("t", "Half an ans"),
               Error(ErrorInfo("upstream_reset", "the provider's connection broke", 502), Usage(input_tokens=3))],
    "cancelled": [START, *text("t", "Half an ans"), Abort("stopped")],
}  # fmt: skip
"""Streams that between them use everything the dialect has a word for."""
