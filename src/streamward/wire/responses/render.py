"""A canonical call to a Responses request, for upstreams that speak the dialect.

Always stateless: the whole conversation is sent and ``store`` is false, since responses are stored here. Reasoning goes
back only to where it can be read: what another dialect signed is left out.
"""

from __future__ import annotations

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
    Tool,
    ToolOutput,
    ToolUse,
)  # fmt: skip
from streamward.errors import Unsupported
from streamward.wire.dialect import Profile
from streamward.wire.foreign import refuse_foreign
from streamward.wire.responses.items import NAME, PART_BREAK, Item, own, unmark
from streamward.wire.responses.request import HANDLED, LOGPROBS, PARTIAL
from streamward.wire.responses.snapshot import format_echo, instructions_of, tool_choice_echo

# Token budgets of other dialects as an effort: the bounds providers document for their own translation.
LOW_EFFORT_TOKENS = 2048
MEDIUM_EFFORT_TOKENS = 8192


def render_request(call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
    """The request body.

    Raises:
        Unsupported: the call holds something this dialect has no field for, or the profile says it cannot do.
    """
    refuse_foreign(call, NAME)
    refuse_unsupported(call, profile)
    extra = own(call.extra)
    kept = {name: value for name, value in extra.items() if name not in HANDLED and name not in PARTIAL}
    instructions = instructions_of(call)
    messages = call.messages if instructions is None else call.messages[1:]
    body: dict[str, Any] = {
        "model": model,
        "input": [item for message in messages for item in render_message(message, profile)],
        "instructions": instructions,
        "tools": extra.get("tools") or [render_tool(tool) for tool in call.tools] or None,
        "tool_choice": extra.get("tool_choice") or (call.tool_choice and tool_choice_echo(call.tool_choice)),
        "parallel_tool_calls": call.parallel_tool_calls,
        "max_output_tokens": call.max_output_tokens,
        "temperature": call.temperature,
        "top_p": call.top_p,
        "presence_penalty": call.presence_penalty,
        "frequency_penalty": call.frequency_penalty,
        "top_logprobs": call.top_logprobs,
        "text": render_text(call),
        "reasoning": render_thinking(call.thinking, extra.get("reasoning")),
        "metadata": call.metadata,
        "user": call.user,
        "stream": call.stream or None,
        **kept,
        "store": False,
        "include": [*kept.get("include", ()), *([LOGPROBS] if call.logprobs else ())] or None,
    }
    return {name: value for name, value in body.items() if value is not None and name not in profile.drops_fields}


def refuse_unsupported(call: Call, profile: Profile) -> None:
    asked = {
        "stop": bool(call.stop), "seed": call.seed is not None, "top_k": call.top_k is not None, "n": call.choices > 1,
    }  # fmt: skip
    for name, wanted in asked.items():
        if wanted and name not in profile.drops_fields:
            raise Unsupported(f"'{name}' cannot be sent to this target: the Responses API has no such field", param=name)
    could = {
        "tools": bool(call.tools), "logprobs": bool(call.logprobs),
        "images": any(isinstance(part, Image) for message in call.messages for part in message.parts),
        "files": any(isinstance(part, Document) for message in call.messages for part in message.parts),
        "json_schema": call.output is not None and call.output.kind == "json-schema",
        "reasoning": call.thinking is not None and call.thinking.enabled is not False,
        "presence_penalty": call.presence_penalty is not None, "frequency_penalty": call.frequency_penalty is not None,
    }  # fmt: skip
    for name, wanted in could.items():
        if wanted and name in profile.unsupported:
            raise Unsupported(f"'{name}' is not supported by this target; leave it out or choose another model", param=name)


def render_message(message: Message, profile: Profile) -> list[Item]:
    extra = own(message.extra)
    if "item" in extra:
        return [extra["item"]]
    if message.role == "tool":
        return [render_output(part) for part in message.parts if isinstance(part, ToolOutput)]
    if message.role == "assistant":
        return render_turn(message)
    role = "system" if message.role == "developer" and not profile.developer_role else message.role
    content = [render_part(part) for part in message.parts]
    return [{"type": "message", "role": role, "content": content, **extra.get("fields", {})}]


def render_turn(message: Message) -> list[Item]:
    """The items of one turn of the model, in its order; texts that follow one another are one message."""
    items: list[Item] = []
    content: list[Item] = []
    phase: Any = None
    for part in message.parts:
        if isinstance(part, (Text, Refusal)):
            part_phase = own(part.extra).get("phase") if isinstance(part, Text) else phase
            if not content or part_phase != phase:
                content, phase = [], part_phase
                said = {"type": "message", "role": "assistant", "content": content}
                items.append(said if phase is None else {**said, "phase": phase})
            content.append({"type": "output_text", "text": part.text} if isinstance(part, Text) else render_part(part))
            continue
        content = []
        if isinstance(part, ToolUse):
            items.append({
                "type": "function_call", "call_id": part.id, "name": part.name, "arguments": part.input,
                **own(part.extra).get("fields", {}),
            })  # fmt: skip
        elif isinstance(part, Reasoning):
            items.extend(render_reasoning(part))
        else:
            raise Unsupported(f"an assistant message holds {type(part).__name__.lower()} content, which the Responses "
                              "API takes from users only", param="messages")  # fmt: skip
    return items


def render_reasoning(part: Reasoning) -> list[Item]:
    """Reasoning that a Responses provider signed, or nobody; another's proof would be refused here."""
    marked = None if part.signature is None else unmark(part.signature)
    if part.redacted is not None or (part.signature is not None and marked is None):
        return []
    if marked is None and not part.text:
        return []
    item: Item = {"type": "reasoning", "summary": []}
    if own(part.extra).get("content"):
        item["content"] = [{"type": "reasoning_text", "text": part.text}]
    elif part.text:
        item["summary"] = [{"type": "summary_text", "text": text} for text in part.text.split(PART_BREAK)]
    if marked is not None:
        item_id, item["encrypted_content"] = marked
        if item_id:
            item["id"] = item_id
    return [item]


def render_output(part: ToolOutput) -> Item:
    output: Any = part.output if isinstance(part.output, str) else [render_part(inner) for inner in part.output]
    return {"type": "function_call_output", "call_id": part.id, "output": output}


def render_part(part: Part) -> Item:
    if isinstance(part, Text):
        return {"type": "input_text", "text": part.text}
    if isinstance(part, Refusal):
        return {"type": "refusal", "refusal": part.text}
    if isinstance(part, Image):
        file_id = own(part.extra).get("file_id")
        where = {"file_id": file_id} if file_id else {"image_url": part.url or data_url(part.media_type, part.data)}
        return {"type": "input_image", **where, "detail": part.detail or "auto"}
    if isinstance(part, Document):
        item = {
            "type": "input_file", "filename": part.filename, "file_url": part.url, "file_id": part.file_id,
            "file_data": None if part.data is None else data_url(part.media_type, part.data),
        }  # fmt: skip
        return {name: value for name, value in item.items() if value is not None}
    if isinstance(part, Audio):
        return {"type": "input_audio", "input_audio": {"data": part.data, "format": part.format}}
    raise Unsupported(f"{type(part).__name__.lower()} content cannot stand in this message", param="messages")


def data_url(media_type: str | None, data: str | None) -> str:
    return f"data:{media_type or 'application/octet-stream'};base64,{data or ''}"


def render_tool(tool: Tool) -> Item:
    parameters = tool.schema or {"type": "object", "properties": {}}
    item: Item = {"type": "function", "name": tool.name, "parameters": parameters, "strict": bool(tool.strict)}
    if tool.description is not None:
        item["description"] = tool.description
    return {**item, **own(tool.extra)}


def render_text(call: Call) -> Item | None:
    text: Item = {}
    if call.output is not None:
        form = format_echo(call.output)
        text["format"] = {name: value for name, value in form.items() if value is not None}
    if call.verbosity is not None:
        text["verbosity"] = call.verbosity
    return text or None


def render_thinking(thinking: Thinking | None, rest: Any) -> Item | None:
    if thinking is None:
        return rest or None
    effort = thinking.effort
    if effort is None and thinking.enabled is False:
        effort = "none"
    if effort is None and thinking.max_tokens is not None:
        budget = thinking.max_tokens
        effort = "low" if budget <= LOW_EFFORT_TOKENS else "medium" if budget <= MEDIUM_EFFORT_TOKENS else "high"
    reasoning = {"effort": effort, "summary": thinking.summary, **(rest or {})}
    return {name: value for name, value in reasoning.items() if value is not None} or None
