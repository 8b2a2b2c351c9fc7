"""Canonical calls to Ollama requests.

Follows "Generate a chat completion". A thinking budget becomes plain thinking: the dialect knows no budget. Signatures
and redacted reasoning of other providers, ``user``, ``metadata`` and names of speakers have no place and change no
answer; they are left out.
"""

from __future__ import annotations

from typing import Any

from streamward.call import (
    Audio,
    Call,
    Document,
    Image,
    Message,
    Reasoning,
    Refusal,
    Text,
    Thinking,
    Tool,
    ToolOutput,
    ToolUse,
)
from streamward.errors import Unsupported
from streamward.wire.dialect import Profile
from streamward.wire.foreign import refuse_foreign, tool_input
from streamward.wire.ollama.shapes import NAME, extra_of


def render_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """Raises Unsupported for what this dialect or *profile* cannot do."""
    refuse(call, profile)
    extra = dict(extra_of(call.extra))
    names: dict[str, str] = {}
    messages = [item for at, message in enumerate(call.messages) for item in render_message(message, names, at)]
    body: dict[str, Any] = {"model": model, "messages": messages, "stream": call.stream}
    choice = call.tool_choice
    if call.tools and (choice is None or choice.mode == "auto"):
        allowed = choice.allowed if choice is not None else ()
        body["tools"] = [render_tool(tool) for tool in call.tools if not allowed or tool.name in allowed]
    if call.output is not None and call.output.kind != "text":
        body["format"] = call.output.schema if call.output.schema is not None else "json"
    if call.thinking is not None:
        body["think"] = render_think(call.thinking, profile)
    options = render_options(call) | extra.pop("options", {})
    if options:
        body["options"] = options
    return body | {name: value for name, value in extra.items() if name not in profile.drops_fields}


def refuse(call: Call, profile: Profile) -> None:
    """What no Ollama target can do, and what this one cannot."""
    choice = call.tool_choice.mode if call.tool_choice is not None else "auto"
    asked = {
        "n": call.choices != 1,
        "logprobs": bool(call.logprobs) or bool(call.top_logprobs),
        "verbosity": call.verbosity not in (None, "medium"),
        "tool_choice": choice in ("required", "tool"),
        "parallel_tool_calls": call.parallel_tool_calls is False and bool(call.tools),
    }
    for field, needed in asked.items():
        if needed:
            raise Unsupported(
                f"{CANNOT.get(field, field)} is not available from Ollama targets; leave it out or pick another model",
                param=field,
            )
    images = any(isinstance(part, Image) for message in call.messages for part in message.parts)
    features = {"tools": bool(call.tools), "images": images}
    for feature in profile.unsupported:
        if features.get(feature):
            raise Unsupported(f"this provider cannot do {feature}; leave it out or pick another model", param=feature)
    refuse_foreign(call, NAME)


def render_options(call: Call) -> dict[str, Any]:
    named = {
        "num_predict": call.max_output_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "top_k": call.top_k,
        "presence_penalty": call.presence_penalty,
        "frequency_penalty": call.frequency_penalty,
        "seed": call.seed,
        "stop": list(call.stop) or None,
    }
    return {name: value for name, value in named.items() if value is not None}


def render_think(thinking: Thinking, profile: Profile) -> bool | str:
    """Levels only where the provider's models have them, or where the caller named one in this dialect's words."""
    if thinking.enabled is False or thinking.effort == "none":
        return False
    if thinking.effort is None or (profile.effort_form == "budget" and thinking.enabled is not None):
        return True
    return LEVELS[thinking.effort]


def render_tool(tool: Tool) -> dict[str, Any]:
    function: dict[str, Any] = {"name": tool.name}
    if tool.description is not None:
        function["description"] = tool.description
    function["parameters"] = tool.schema or {"type": "object", "properties": {}}
    return {"type": "function", "function": function} | extra_of(tool.extra)


def render_message(message: Message, names: dict[str, str], at: int) -> list[dict[str, Any]]:
    """A message; one for each result in a message of results."""
    path = f"messages[{at}]"
    texts: list[str] = []
    thoughts: list[str] = []
    images: list[str] = []
    calls: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for part in message.parts:
        if isinstance(part, (Text, Refusal)):
            texts.extend([part.text] if part.text else [])
        elif isinstance(part, Reasoning):
            thoughts.extend([part.text] if part.text else [])
        elif isinstance(part, Image):
            images.append(image_data(part, path))
        elif isinstance(part, ToolUse):
            names[part.id] = part.name
            calls.append({"id": part.id, "function": {"name": part.name, "arguments": tool_input(part, path)}})
        elif isinstance(part, ToolOutput):
            results.append(render_result(part, names, path))
        else:
            raise cannot(part, path)
    if results:
        return results
    out: dict[str, Any] = {"role": "system" if message.role == "developer" else message.role, "content": "\n".join(texts)}
    kept = {"thinking": "\n".join(thoughts), "images": images, "tool_calls": calls}
    return [out | {name: value for name, value in kept.items() if value} | extra_of(message.extra)]


def render_result(part: ToolOutput, names: dict[str, str], path: str) -> dict[str, Any]:
    out: dict[str, Any] = {"role": "tool"}
    if isinstance(part.output, str):
        out["content"] = part.output
    else:
        out["content"] = "\n".join(inner.text for inner in part.output if isinstance(inner, Text))
        images = [image_data(inner, path) for inner in part.output if isinstance(inner, Image)]
        if images:
            out["images"] = images
        for inner in part.output:
            if isinstance(inner, Document):
                raise cannot(inner, path)
    if part.is_error:
        out["content"] = f"Error: {out['content']}"
    name = names.get(part.id) or part.name
    return out | ({"tool_name": name} if name is not None else {}) | {"tool_call_id": part.id}


def image_data(image: Image, path: str) -> str:
    if image.data is None:
        raise Unsupported("images by URL are not available from Ollama targets; send the image itself in base64", param=path)
    return image.data


def cannot(part: Document | Audio, path: str) -> Unsupported:
    kind = "audio" if isinstance(part, Audio) else "a file"
    return Unsupported(f"{kind} as input is not available from Ollama targets; pick another model", param=path)


LEVELS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
CANNOT = {
    "n": "more than one choice (n)",
    "logprobs": "log probabilities (logprobs)",
    "tool_choice": "forcing a tool call (tool_choice)",
    "parallel_tool_calls": "one tool call at a time (parallel_tool_calls false)",
}
