"""The response object: 31 keys, all present in every snapshot, with the caller's request echoed.

Open Responses requires all of them and allows ``null`` only for some; the values here satisfy its schema and OpenAI's
at once. Two values are wider than OpenAI's enumerations on purpose, because the truth is not in them: ``error.code``
holds this gateway's codes, and ``incomplete_details.reason`` is ``cancelled`` when somebody on our side stopped it.
"""

from __future__ import annotations

from typing import Any

from streamward.call import Call, Output, Tool, ToolChoice
from streamward.errors import ErrorInfo
from streamward.events import FinishReason
from streamward.wire.dialect import Context
from streamward.wire.responses.items import EMPTY, NAME, WHOLE, Item, own, response_id

INCOMPLETE_REASONS: dict[FinishReason, str] = {"length": "max_output_tokens", "content-filter": "content_filter"}

OWNED = frozenset({
    "id", "object", "created_at", "completed_at", "status", "incomplete_details", "model", "previous_response_id",
    "instructions", "output", "error", "tools", "tool_choice", "parallel_tool_calls", "text", "usage", "metadata",
    "max_output_tokens", "max_tool_calls", "store", "background", "safety_identifier", "prompt_cache_key", "user",
    "conversation", "prompt", "output_text",
})  # fmt: skip
"""Keys that an upstream's response object never overrides: they are ours or the caller's."""


def base(context: Context) -> dict[str, Any]:
    """The snapshot of a response that has begun; ``{**base(context), ...}`` gives every later one."""
    call = context.call or Call(model=context.model)
    extra = own(call.extra)
    return {
        "id": response_id(context.id),
        "object": "response",
        "created_at": context.created,
        "completed_at": None,
        "status": "in_progress",
        "background": bool(extra.get("background")),
        "error": None,
        "frequency_penalty": or_default(call.frequency_penalty, 0.0),
        "incomplete_details": None,
        "instructions": instructions_of(call),
        "max_output_tokens": call.max_output_tokens,
        "max_tool_calls": extra.get("max_tool_calls"),
        "metadata": call.metadata or {},
        "model": context.model,
        "output": [],
        "parallel_tool_calls": or_default(call.parallel_tool_calls, True),
        "presence_penalty": or_default(call.presence_penalty, 0.0),
        "previous_response_id": extra.get("previous_response_id"),
        "prompt_cache_key": extra.get("prompt_cache_key"),
        "reasoning": reasoning_echo(call),
        "safety_identifier": extra.get("safety_identifier"),
        "service_tier": tier(extra.get("service_tier")),
        "store": context.options.get("store", or_default(extra.get("store"), True)),
        "temperature": or_default(call.temperature, 1.0),
        "text": text_echo(call),
        "tool_choice": extra.get("tool_choice") or tool_choice_echo(call.tool_choice),
        "tools": extra.get("tools") or [tool_echo(tool) for tool in call.tools],
        "top_logprobs": or_default(call.top_logprobs, 0),
        "top_p": or_default(call.top_p, 1.0),
        "truncation": extra.get("truncation") or "disabled",
        "usage": None,
    }


def or_default(value: Any, default: Any) -> Any:
    return default if value is None else value


def upstream_fields(extra: Any, call: Call | None) -> dict[str, Any]:
    """What an upstream of this dialect said about the response and nobody here knows better: tier, unknown keys."""
    response = own(extra).get("response", EMPTY)
    said = said_by(call)
    return {name: value for name, value in response.items() if value is not None and name not in said}


def said_by(call: Call | None) -> frozenset[str]:
    """Fields in which the caller's word stands, whatever the upstream echoes."""
    if call is None:
        return OWNED
    names = ("temperature", "top_p", "top_logprobs", "presence_penalty", "frequency_penalty")
    said = {name for name in names if getattr(call, name) is not None}
    if call.thinking is not None:
        said.add("reasoning")
    if own(call.extra).get("truncation"):
        said.add("truncation")
    return OWNED | said


def instructions_of(call: Call) -> str | None:
    """The ``instructions`` field, which parsing turned into the first message."""
    for message in call.messages[:1]:
        if own(message.extra).get("instructions"):
            return "".join(part.text for part in message.parts if hasattr(part, "text"))
    return None


def tier(asked: Any) -> str:
    return "default" if asked in (None, "auto") else str(asked)


def reasoning_echo(call: Call) -> dict[str, Any]:
    thinking = call.thinking
    echo = {"effort": thinking and thinking.effort, "summary": thinking and thinking.summary}
    return {**echo, **own(call.extra).get("reasoning", EMPTY)}


def text_echo(call: Call) -> dict[str, Any]:
    text: dict[str, Any] = {"format": format_echo(call.output)}
    if call.verbosity is not None:
        text["verbosity"] = call.verbosity
    return text


def format_echo(output: Output | None) -> dict[str, Any]:
    if output is None or output.kind == "text":
        return {"type": "text"}
    if output.kind == "json":
        return {"type": "json_object"}
    return {
        "type": "json_schema", "name": output.name or "response", "description": output.description,
        "schema": output.schema or {}, "strict": bool(output.strict),
    }  # fmt: skip


def tool_echo(tool: Tool) -> Item:
    return {
        "type": "function", "name": tool.name, "description": tool.description, "parameters": tool.schema,
        "strict": tool.strict, **own(tool.extra),
    }  # fmt: skip


def tool_choice_echo(choice: ToolChoice | None) -> Any:
    if choice is None:
        return "auto"
    if choice.mode == "tool":
        return {"type": "function", "name": choice.name}
    if choice.allowed:
        tools = [{"type": "function", "name": name} for name in choice.allowed]
        return {"type": "allowed_tools", "mode": choice.mode, "tools": tools}
    return choice.mode


# -- endings


def finished(reason: FinishReason, raw_reason: str | None, completed_at: int) -> dict[str, Any]:
    """The fields of a response whose provider said it was done: completed, or incomplete and why."""
    if reason in INCOMPLETE_REASONS:
        return {"status": "incomplete", "incomplete_details": {"reason": INCOMPLETE_REASONS[reason]}}
    if reason == "error":
        return failed(ErrorInfo("upstream_error", f"the model ended its answer with an error ({raw_reason or reason})"))
    if reason in WHOLE:
        return {"status": "completed", "completed_at": completed_at}
    return {"status": "incomplete", "incomplete_details": {"reason": raw_reason or reason}}


def failed(error: ErrorInfo) -> dict[str, Any]:
    return {"status": "failed", "error": {"code": error.code, "message": error.message}}


def cancelled() -> dict[str, Any]:
    return {"status": "cancelled", "incomplete_details": {"reason": "cancelled"}}


def response_extra(response: dict[str, Any]) -> dict[str, dict[str, Any]] | None:
    """Fields of a response object that the waist has no word for."""
    kept = {name: value for name, value in response.items() if name not in OWNED and value is not None}
    return {NAME: {"response": kept}} if kept else None
