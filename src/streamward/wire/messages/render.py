"""Canonical calls to Messages requests.

Follows "Create a message". System and developer messages become the top-level ``system``, wherever they stood; turns
of one role in a row are merged, and results of several calls end up in one user turn. Earlier reasoning that another
provider signed, or none, is left out: the provider accepts only its own. ``metadata`` labels and names of speakers
have no place here and change no answer; they are left out as well.
"""

from __future__ import annotations

import base64
import re
from typing import Any

from streamward.call import (
    Audio,
    Call,
    Document,
    Image,
    Message,
    Part,
    Reasoning,
    Refusal,
    Text,
    ToolOutput,
    ToolUse,
)  # fmt: skip
from streamward.errors import InvalidRequest, Unsupported
from streamward.wire.dialect import Profile
from streamward.wire.foreign import SIGNATURE_MARK, refuse_foreign, tool_input
from streamward.wire.messages.shapes import NAME, extra_of

DEFAULT_MAX_TOKENS = 32_000
"""``max_tokens`` when the caller set no limit, which the dialect demands: the smallest output limit in the Claude 4
family. A profile may lower it (``default_max_tokens``)."""

MIN_BUDGET = 1024
"""The smallest thinking budget the dialect accepts."""

BUDGET_OF_EFFORT = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_000, "max": 31_000}
"""Thinking budgets for effort words, below DEFAULT_MAX_TOKENS."""

TOOL_ID = re.compile(r"[^a-zA-Z0-9_-]")
"""What ids of tool calls must not hold; ids of other providers (``functions.get:0``) do."""


def render_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """Raises Unsupported for what this dialect or *profile* cannot do."""
    refuse(call, profile)
    extra = dict(extra_of(call.extra))
    max_tokens = call.max_output_tokens or profile.default_max_tokens or DEFAULT_MAX_TOKENS
    body: dict[str, Any] = {"model": model, "max_tokens": max_tokens}
    system = [block for message in call.messages if message.role in SYSTEM for block in render_system(message)]
    if system:
        body["system"] = system
    body["messages"] = render_messages(call.messages)
    render_tools(call, body)
    sampling = {"temperature": call.temperature, "top_p": call.top_p, "top_k": call.top_k}
    body |= {name: value for name, value in sampling.items() if value is not None}
    if call.stop:
        body["stop_sequences"] = list(call.stop)
    if call.stream:
        body["stream"] = True
    render_thinking(call, max_tokens, profile, body=body, extra=extra)
    metadata = extra.pop("metadata", {}) | ({"user_id": call.user} if call.user else {})
    if metadata and "metadata" not in profile.drops_fields:
        body["metadata"] = metadata
    return body | {name: value for name, value in extra.items() if name not in profile.drops_fields}


def render_count_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """A ``count_tokens`` request: what would be sent, without the settings of the answer."""
    body = render_request(call, model=model, profile=profile)
    return {name: value for name, value in body.items() if name not in NOT_COUNTED}


def refuse(call: Call, profile: Profile) -> None:
    """What no Messages target can do, and what this one cannot."""
    output = call.output.kind if call.output is not None else "text"
    asked = {
        "n": call.choices != 1,
        "presence_penalty": bool(call.presence_penalty),
        "frequency_penalty": bool(call.frequency_penalty),
        "seed": call.seed is not None,
        "logprobs": bool(call.logprobs) or bool(call.top_logprobs),
        "response_format": output == "json",
        "verbosity": call.verbosity not in (None, "medium"),
    }
    for field, needed in asked.items():
        if needed:
            raise Unsupported(
                f"{CANNOT.get(field, field)} is not available from Messages targets; leave it out or pick another model",
                param=field,
            )
    if call.temperature is not None and call.temperature > 1:
        raise Unsupported("temperature above 1 is not available from Messages targets; use 0 to 1", param="temperature")
    features = {
        "tools": bool(call.tools),
        "thinking": call.thinking is not None and call.thinking.enabled is not False and call.thinking.effort != "none",
        "json_schema": output == "json-schema",
        "images": any(isinstance(part, Image) for message in call.messages for part in message.parts),
        "documents": any(isinstance(part, Document) for message in call.messages for part in message.parts),
    }
    for feature in profile.unsupported:
        if features.get(feature):
            raise Unsupported(f"this provider cannot do {feature}; leave it out or pick another model", param=feature)
    refuse_foreign(call, NAME)


def render_tools(call: Call, body: dict[str, Any]) -> None:
    choice = call.tool_choice
    allowed = choice.allowed if choice is not None else ()
    tools = [tool for tool in call.tools if not allowed or tool.name in allowed]
    if not tools:
        return
    body["tools"] = rendered = []
    for tool in tools:
        extra = extra_of(tool.extra)
        if "type" in extra:
            rendered.append({"name": tool.name} | extra)
            continue
        item: dict[str, Any] = {"name": tool.name}
        if tool.description is not None:
            item["description"] = tool.description
        item["input_schema"] = tool.schema or {"type": "object", "properties": {}}
        if tool.strict:
            item["strict"] = True
        rendered.append(item | extra)
    wire: dict[str, Any] = {}
    if choice is not None:
        wire["type"] = CHOICES[choice.mode]
        if choice.mode == "tool":
            wire["name"] = choice.name
    if call.parallel_tool_calls is False and wire.get("type") != "none":
        wire.setdefault("type", "auto")
        wire["disable_parallel_tool_use"] = True
    if wire:
        body["tool_choice"] = wire


def render_thinking(call: Call, max_tokens: int, profile: Profile, *, body: dict[str, Any], extra: dict[str, Any]) -> None:
    """``thinking`` and ``output_config``.

    An effort word goes out as it came when the caller spoke this dialect; from others it becomes a budget, or adaptive
    thinking where the profile says that the provider's models want that.
    """
    config = dict(extra.pop("output_config", {}))
    kept = extra.pop("thinking", {})
    thinking = call.thinking
    if call.output is not None and call.output.kind == "json-schema":
        config["format"] = {"type": "json_schema", "schema": call.output.schema or {"type": "object"}}
    if thinking is not None:
        wire: dict[str, Any] = {}
        if "type" in kept:
            pass  # a kind of thinking only this dialect knows: it goes back as it came
        elif thinking.max_tokens is not None:
            wire = {"type": "enabled", "budget_tokens": thinking.max_tokens}
        elif thinking.enabled is False:
            wire = {"type": "disabled"}
        elif "effort" not in config and (thinking.effort or thinking.enabled):
            wire = thinking_of_effort(thinking.effort or "medium", max_tokens, profile)
            config |= wire.pop("output_config", {})
            refuse_beside_thinking(call, wire)
        if wire or kept:
            body["thinking"] = wire | kept
    if config:
        body["output_config"] = config


def thinking_of_effort(effort: str, max_tokens: int, profile: Profile) -> dict[str, Any]:
    if effort == "none":
        return {"type": "disabled"}
    if profile.effort_form == "adaptive":
        return {"type": "adaptive", "output_config": {"effort": "low" if effort == "minimal" else effort}}
    budget = BUDGET_OF_EFFORT[effort]
    if budget >= max_tokens:  # thinking is part of max_tokens: leave half of it for the answer
        budget = max_tokens // 2
    if budget < MIN_BUDGET:
        raise Unsupported(
            f"reasoning needs at least {2 * MIN_BUDGET} output tokens from Messages targets, not {max_tokens}",
            param="max_output_tokens",
        )
    return {"type": "enabled", "budget_tokens": budget}


def refuse_beside_thinking(call: Call, wire: dict[str, Any]) -> None:
    """What the provider rejects together with thinking; its own error would not name the field of the caller's dialect."""
    forced = call.tool_choice is not None and call.tool_choice.mode in ("required", "tool")
    asked = {"temperature": call.temperature not in (None, 1), "top_k": call.top_k is not None, "tool_choice": forced}
    for field, needed in asked.items():
        if needed and wire["type"] != "disabled":
            raise Unsupported(
                f"{field} together with reasoning is not available from Messages targets; leave one of them out",
                param=field,
            )


# -- messages


def render_system(message: Message) -> list[dict[str, Any]]:
    blocks = []
    for part in message.parts:
        if not isinstance(part, Text):
            raise Unsupported(f"{part_name(part)} in a system message is not available from Messages targets")
        if part.text:
            blocks.append({"type": "text", "text": part.text} | extra_of(part.extra))
    return blocks


def render_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Turns that strictly alternate."""
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        if message.role in SYSTEM:
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts for block in render_part(part, f"messages[{index}]")]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks} | extra_of(message.extra))
    for turn in turns:
        if turn["role"] == "user":  # results must come first in the turn that answers the calls
            turn["content"].sort(key=lambda block: block["type"] != "tool_result")
    if not turns:
        raise InvalidRequest("messages must hold a user message besides instructions", param="messages")
    return turns


def render_part(part: Part, path: str) -> list[dict[str, Any]]:
    if isinstance(part, Text):
        return render_text(part)
    if isinstance(part, Refusal):
        return [{"type": "text", "text": part.text}] if part.text else []
    if isinstance(part, Image):
        return [render_image(part)]
    if isinstance(part, Document):
        return [render_document(part)]
    if isinstance(part, Reasoning):
        if part.redacted is not None:
            return [{"type": "redacted_thinking", "data": part.redacted}]
        if part.signature is None or part.signature.startswith(SIGNATURE_MARK):
            return []
        return [{"type": "thinking", "thinking": part.text, "signature": part.signature}]
    if isinstance(part, ToolUse):
        value = {"type": "tool_use", "id": tool_id(part.id), "name": part.name, "input": tool_input(part, path)}
        return [value | extra_of(part.extra)]
    if isinstance(part, ToolOutput):
        return [render_tool_output(part)]
    raise Unsupported(f"{part_name(part)} is not available from Messages targets", param=path)


def render_text(part: Text) -> list[dict[str, Any]]:
    """Text, or a block kept whole. Empty text is left out: the provider refuses it."""
    extra = extra_of(part.extra)
    if part.text:
        return [{"type": "text", "text": part.text} | extra]
    return [block for kind, block in extra.items() if type(block) is dict and block.get("type") == kind]


def render_image(part: Image) -> dict[str, Any]:
    extra = extra_of(part.extra)
    if part.url is not None:
        return {"type": "image", "source": {"type": "url", "url": part.url}} | extra
    if part.data is None:
        return {"type": "image"} | extra
    source = {"type": "base64", "media_type": part.media_type or "image/png", "data": part.data}
    return {"type": "image", "source": source} | extra


def render_document(part: Document) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "document"}
    if part.url is not None:
        out["source"] = {"type": "url", "url": part.url}
    elif part.file_id is not None:
        out["source"] = {"type": "file", "file_id": part.file_id}
    elif part.data is not None:
        out["source"] = document_source(part.data, part.media_type or "application/pdf")
    if part.filename is not None:
        out["title"] = part.filename
    return out | extra_of(part.extra)


def document_source(data: str, media_type: str) -> dict[str, Any]:
    if media_type == "application/pdf":
        return {"type": "base64", "media_type": media_type, "data": data}
    if media_type.startswith("text/"):
        try:
            text = base64.b64decode(data, validate=True).decode()
        except ValueError:
            raise InvalidRequest(f"a file of type {media_type} must be UTF-8 text in base64") from None
        return {"type": "text", "media_type": "text/plain", "data": text}
    raise Unsupported(f"a file of type {media_type} is not available from Messages targets; send a PDF or text")


def render_tool_output(part: ToolOutput) -> dict[str, Any]:
    out: dict[str, Any] = {"type": "tool_result", "tool_use_id": tool_id(part.id)}
    if isinstance(part.output, str):
        out["content"] = part.output
    else:
        out["content"] = [block for inner in part.output for block in render_part(inner, "messages")]
    if part.is_error:
        out["is_error"] = True
    return out | extra_of(part.extra)


def tool_id(call_id: str) -> str:
    """The same on the call and on its result."""
    return TOOL_ID.sub("_", call_id)


def part_name(part: Part) -> str:
    return "audio" if isinstance(part, Audio) else type(part).__name__.lower()


SYSTEM = frozenset({"system", "developer"})
CHOICES = {"auto": "auto", "none": "none", "required": "any", "tool": "tool"}
CANNOT = {
    "n": "more than one choice (n)",
    "logprobs": "log probabilities (logprobs)",
    "response_format": "JSON mode without a schema (response_format json_object)",
}
NOT_COUNTED = frozenset(
    {"max_tokens", "stream", "temperature", "top_p", "top_k", "stop_sequences", "metadata", "service_tier"}
)
