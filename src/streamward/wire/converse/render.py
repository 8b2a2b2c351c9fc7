"""Canonical calls to Converse requests.

Follows ``Converse`` in the Amazon Bedrock Runtime API reference. System and developer messages become the top-level
``system``, wherever they stood; turns of one role in a row are merged. What the API has no word for and models take
beside it (``top_k``, thinking) goes into ``additionalModelRequestFields`` as the family of the model wants it. Earlier
reasoning without a signature is left out, as are ``user`` and names of speakers.
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
    Thinking,
    ToolOutput,
    ToolUse,
)
from streamward.errors import InvalidRequest, Unsupported
from streamward.wire import json_text
from streamward.wire.converse.shapes import DOCUMENT_FORMATS, IMAGE_FORMATS, NAME, extra_of
from streamward.wire.dialect import Profile
from streamward.wire.foreign import SIGNATURE_MARK, refuse_foreign, tool_input

ID = re.compile(r"[^a-zA-Z0-9_.:-]")
"""What ids of tool calls must not hold."""
MAX_ID_CHARS = 64
DOCUMENT_NAME = re.compile(r"[^a-zA-Z0-9()\[\]-]+")
"""What names of documents must not hold."""
MIN_BUDGET, DEFAULT_BUDGET = 1024, 8192
BUDGET_OF_EFFORT = {"minimal": 1024, "low": 2048, "medium": 8192, "high": 16_384, "xhigh": 24_000, "max": 31_000}


def render_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """Raises Unsupported for what this dialect, the model's family or *profile* cannot do."""
    refuse(call, profile)
    extra = dict(extra_of(call.extra))
    body: dict[str, Any] = {"messages": render_messages(call.messages)}
    system = [
        {"text": part.text}
        for message in call.messages if message.role in SYSTEM
        for part in message.parts if isinstance(part, Text) and part.text
    ]  # fmt: skip
    if system:
        body["system"] = system
    inference = {
        "maxTokens": call.max_output_tokens, "temperature": call.temperature, "topP": call.top_p,
        "stopSequences": list(call.stop) or None,
    }  # fmt: skip
    named = {name: value for name, value in inference.items() if value is not None}
    if named:
        body["inferenceConfig"] = named
    tools = render_tools(call)
    if tools is not None:
        body["toolConfig"] = tools
    if call.output is not None and call.output.kind == "json-schema":
        schema = {"schema": json_text.encode_compact(call.output.schema or {"type": "object"}).decode()}
        about = {"name": call.output.name, "description": call.output.description}
        schema |= {name: value for name, value in about.items() if value}
        body["outputConfig"] = {"textFormat": {"type": "json_schema", "structure": {"jsonSchema": schema}}}
    fields = render_thinking(call.thinking, model, call.max_output_tokens) | render_top_k(call.top_k, model)
    fields |= extra.pop("additionalModelRequestFields", {})
    if fields:
        body["additionalModelRequestFields"] = fields
    if call.metadata:
        body["requestMetadata"] = call.metadata
    return body | {name: value for name, value in extra.items() if name not in profile.drops_fields}


def refuse(call: Call, profile: Profile) -> None:
    """What no Converse target can do, and what this one cannot."""
    output = call.output.kind if call.output is not None else "text"
    asked = {
        "n": call.choices != 1,
        "presence_penalty": bool(call.presence_penalty),
        "frequency_penalty": bool(call.frequency_penalty),
        "seed": call.seed is not None,
        "logprobs": bool(call.logprobs) or bool(call.top_logprobs),
        "response_format": output == "json",
        "verbosity": call.verbosity not in (None, "medium"),
        "parallel_tool_calls": call.parallel_tool_calls is False and bool(call.tools),
    }
    for field, needed in asked.items():
        if needed:
            raise Unsupported(
                f"{CANNOT.get(field, field)} is not available from Converse targets; leave it out or pick another model",
                param=field,
            )
    parts = [part for message in call.messages for part in message.parts]
    features = {
        "tools": bool(call.tools),
        "json_schema": output == "json-schema",
        "images": any(isinstance(part, Image) for part in parts),
        "documents": any(isinstance(part, Document) for part in parts),
    }
    for feature in profile.unsupported:
        if features.get(feature):
            raise Unsupported(f"this provider cannot do {feature}; leave it out or pick another model", param=feature)
    refuse_foreign(call, NAME)


def render_tools(call: Call) -> dict[str, Any] | None:
    choice = call.tool_choice
    allowed = choice.allowed if choice is not None else ()
    mode = choice.mode if choice is not None else "auto"
    if mode == "none":
        if any(isinstance(part, (ToolUse, ToolOutput)) for message in call.messages for part in message.parts):
            raise Unsupported(
                "tool_choice none after tool calls is not available from Converse targets, which demand the tools then",
                param="tool_choice",
            )
        return None
    tools = [tool for tool in call.tools if not allowed or tool.name in allowed]
    if not tools:
        return None
    specs = []
    for tool in tools:
        spec: dict[str, Any] = {"name": tool.name}
        if tool.description:
            spec["description"] = tool.description
        spec["inputSchema"] = {"json": tool.schema or {"type": "object", "properties": {}}}
        if tool.strict:
            spec["strict"] = True
        specs.append({"toolSpec": spec})
    out: dict[str, Any] = {"tools": specs}
    if choice is not None and mode == "tool":
        out["toolChoice"] = {"tool": {"name": choice.name}}
    elif choice is not None:
        out["toolChoice"] = {"any" if mode == "required" else "auto": {}}
    return out


# -- what depends on the model's family


def family(model: str) -> str:
    """Whose model it is: ``us.anthropic.claude-...`` and ``anthropic.claude-...`` are Anthropic's; ARNs name it as well."""
    return next((name for name in FAMILIES if name in model), "")


def render_top_k(top_k: int | None, model: str) -> dict[str, Any]:
    if top_k is None:
        return {}
    form = FAMILIES.get(family(model))
    if form is None or form == "effort":
        raise Unsupported("top_k is not available from this model; leave it out", param="top_k")
    return {"top_k": top_k} if form == "thinking" else {"inferenceConfig": {"topK": top_k}}


def render_thinking(thinking: Thinking | None, model: str, max_tokens: int | None) -> dict[str, Any]:
    if thinking is None:
        return {}
    off = thinking.enabled is False or thinking.effort == "none"
    form = FAMILIES.get(family(model))
    if form is None:
        if off:
            return {}
        raise Unsupported("reasoning settings are not available from this model; leave them out", param="reasoning")
    if form == "effort":
        return {"reasoning_effort": EFFORTS.get(thinking.effort or "medium", "low")} if not off else {}
    if form == "nova":
        if off:
            return {"reasoningConfig": {"type": "disabled"}}
        effort = EFFORTS.get(thinking.effort or "medium", "medium")
        return {"reasoningConfig": {"type": "enabled", "maxReasoningEffort": effort}}
    if off:
        return {"thinking": {"type": "disabled"}}
    budget = thinking.max_tokens or BUDGET_OF_EFFORT.get(thinking.effort or "", DEFAULT_BUDGET)
    if max_tokens is not None and budget >= max_tokens and thinking.max_tokens is None:
        budget = max_tokens // 2  # thinking is part of it: half is left for the answer
    if budget < MIN_BUDGET:
        raise Unsupported(
            f"reasoning needs at least {2 * MIN_BUDGET} output tokens from this model, not {max_tokens}",
            param="max_output_tokens",
        )
    return {"thinking": {"type": "enabled", "budget_tokens": budget}}


# -- messages


def render_messages(messages: tuple[Message, ...]) -> list[dict[str, Any]]:
    """Turns that strictly alternate."""
    turns: list[dict[str, Any]] = []
    for index, message in enumerate(messages):
        path = f"messages[{index}]"
        if message.role in SYSTEM:
            if not all(isinstance(part, Text) for part in message.parts):
                raise Unsupported("only text in a system message is available from Converse targets", param=path)
            continue
        role = "assistant" if message.role == "assistant" else "user"
        blocks = [block for part in message.parts for block in render_part(part, path)]
        if not blocks:
            continue
        if turns and turns[-1]["role"] == role:
            turns[-1]["content"].extend(blocks)
        else:
            turns.append({"role": role, "content": blocks})
    for turn in turns:
        if turn["role"] == "user":  # results must come first in the turn that answers the calls
            turn["content"].sort(key=lambda block: "toolResult" not in block)
    if not turns:
        raise InvalidRequest("messages must hold a user message besides instructions", param="messages")
    return turns


def render_part(part: Part, path: str) -> list[dict[str, Any]]:
    if isinstance(part, (Text, Refusal)):
        return [{"text": part.text}] if part.text else []
    if isinstance(part, Image):
        return [render_image(part, path)]
    if isinstance(part, Document):
        return [render_document(part, path)]
    if isinstance(part, Audio):
        return [{"audio": {"format": part.format, "source": {"bytes": part.data}}}]
    if isinstance(part, Reasoning):
        if part.redacted is not None:
            return [{"reasoningContent": {"redactedContent": part.redacted}}]
        if part.signature is None or part.signature.startswith(SIGNATURE_MARK):
            return []
        return [{"reasoningContent": {"reasoningText": {"text": part.text, "signature": part.signature}}}]
    if isinstance(part, ToolUse):
        use = {"toolUseId": tool_id(part.id), "name": part.name, "input": tool_input(part, path)}
        return [{"toolUse": use}]
    return [render_result(part, path)]


def render_result(part: ToolOutput, path: str) -> dict[str, Any]:
    if isinstance(part.output, str):
        content: list[dict[str, Any]] = [{"text": part.output}]
    else:
        content = [block for inner in part.output for block in render_part(inner, path)]
    result: dict[str, Any] = {"toolUseId": tool_id(part.id), "content": content}
    if part.is_error:
        result["status"] = "error"
    return {"toolResult": result}


def render_image(image: Image, path: str) -> dict[str, Any]:
    kind = IMAGE_FORMATS.get(image.media_type or "image/png")
    if image.data is None:
        raise Unsupported("images by URL are not available from Converse targets; send the image itself in base64", param=path)
    if kind is None:
        raise Unsupported(
            f"images of type {image.media_type} are not available from Converse targets; send {', '.join(IMAGE_FORMATS)}",
            param=path,
        )
    return {"image": {"format": kind, "source": {"bytes": image.data}}}


def render_document(part: Document, path: str) -> dict[str, Any]:
    media_type = part.media_type or "application/pdf"
    kind = DOCUMENT_FORMATS.get(media_type)
    if part.data is None:
        raise Unsupported("files by URL or id are not available from Converse targets; send the file in base64", param=path)
    if kind is None:
        raise Unsupported(
            f"files of type {media_type} are not available from Converse targets; send {', '.join(DOCUMENT_FORMATS)}",
            param=path,
        )
    name = DOCUMENT_NAME.sub(" ", (part.filename or "document").rpartition(".")[0] or "document").strip() or "document"
    source: dict[str, Any] = {"bytes": part.data}
    if kind == "txt":
        try:
            source = {"text": base64.b64decode(part.data, validate=True).decode()}
        except ValueError:
            raise InvalidRequest(f"{path}: a file of type {media_type} must be UTF-8 text in base64", param=path) from None
    return {"document": {"format": kind, "name": name, "source": source}}


def tool_id(call_id: str) -> str:
    """The same on the call and on its result."""
    return ID.sub("_", call_id)[:MAX_ID_CHARS]


SYSTEM = frozenset({"system", "developer"})
FAMILIES = {"anthropic.": "thinking", "amazon.nova": "nova", "openai.": "effort"}
"""How the models of a family take thinking and ``top_k``, by what stands in their ids."""
EFFORTS = {"minimal": "low", "low": "low", "medium": "medium", "high": "high", "xhigh": "high", "max": "high"}
CANNOT = {
    "n": "more than one choice (n)",
    "logprobs": "log probabilities (logprobs)",
    "response_format": "JSON mode without a schema (response_format json_object)",
    "parallel_tool_calls": "one tool call at a time (parallel_tool_calls false)",
}
