"""A Responses request to a canonical call.

Fields the call has no place for are kept in ``extra["responses"]``: for the echo in snapshots, for the gateway
(``store``, ``background``, ``previous_response_id``) and for a target of the same dialect; ``streamward.wire.foreign``
says which of them other targets may leave out. Follows Open Responses 2026-04-24, CreateResponseBody, and OpenAI's
superset of it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from streamward.call import Call, Message, Output, Text, Thinking, Tool, ToolChoice
from streamward.errors import InvalidRequest
from streamward.wire.dialect import MAX_TOOLS
from streamward.wire.responses import fields
from streamward.wire.responses.fields import join, wrong
from streamward.wire.responses.input import parse_items
from streamward.wire.responses.items import NAME, Item

MAX_METADATA = 16
MAX_METADATA_NAME_CHARS = 64
MAX_METADATA_VALUE_CHARS = 512
MAX_ALLOWED_TOOLS = 128
MAX_TOOL_NAME_CHARS = 128  # the specification says 64; several providers take 128
TOOL_NAME = re.compile(r"[a-zA-Z0-9_.:-]+")
MAX_TOP_LOGPROBS = 20
LOGPROBS = "message.output_text.logprobs"

EFFORTS = frozenset({"none", "minimal", "low", "medium", "high", "xhigh", "max"})
SUMMARIES = frozenset({"auto", "concise", "detailed"})
VERBOSITIES = frozenset({"low", "medium", "high"})
MODES = frozenset({"auto", "none", "required"})

CANONICAL = frozenset({
    "model", "input", "instructions", "tools", "tool_choice", "parallel_tool_calls", "max_output_tokens", "temperature",
    "top_p", "presence_penalty", "frequency_penalty", "top_logprobs", "text", "reasoning", "metadata", "user", "stream",
    "include",
})  # fmt: skip
"""Fields the call itself holds; every other one goes into ``extra``."""

HANDLED = frozenset({"store", "background", "previous_response_id", "stream_options"})
"""Fields the gateway answers for, whatever the target: never sent on."""

PARTIAL = frozenset({"tools", "tool_choice", "reasoning"})
"""Kept in ``extra`` as sent when the canonical form cannot hold all of it."""


def parse_request(body: dict[str, Any], *, history: Sequence[Item] | None = None) -> Call:
    """The call that *body* means; *history* are the items of the response it continues, already looked up.

    Without *history* and with ``previous_response_id``, outputs may belong to calls that are not in the body.

    Raises:
        InvalidRequest: naming the field in ``info.param``.
    """
    extra = {name: value for name, value in body.items() if name not in CANONICAL and value is not None}
    check_extra(body)
    tools = parse_tools(body, extra)
    logprobs = parse_include(body, extra)
    output, verbosity = parse_text(body)
    return Call(
        model=fields.required_text(body, "model"),
        messages=parse_messages(body, history),
        tools=tools,
        tool_choice=parse_tool_choice(body, tools, extra),
        parallel_tool_calls=fields.flag(body, "parallel_tool_calls"),
        max_output_tokens=fields.integer(body, "max_output_tokens", 1),
        temperature=fields.number(body, "temperature", 0, 2),
        top_p=fields.number(body, "top_p", 0, 1),
        presence_penalty=fields.number(body, "presence_penalty", -2, 2),
        frequency_penalty=fields.number(body, "frequency_penalty", -2, 2),
        top_logprobs=fields.integer(body, "top_logprobs", 0, MAX_TOP_LOGPROBS),
        logprobs=True if logprobs else None,
        output=output,
        verbosity=verbosity,
        thinking=parse_reasoning(body, extra),
        user=fields.text(body, "user"),
        metadata=parse_metadata(body),
        stream=fields.flag(body, "stream") or False,
        include_usage=True,
        extra={NAME: extra} if extra else None,
    )


def check_extra(body: dict[str, Any]) -> None:
    """Types and values of the fields that go into ``extra``."""
    for name in ("store", "background"):
        fields.flag(body, name)
    for name in ("previous_response_id", "prompt_cache_key", "service_tier"):
        fields.text(body, name)
    fields.text(body, "safety_identifier", longest=MAX_METADATA_NAME_CHARS)
    fields.choice(body, "truncation", ("auto", "disabled"))
    fields.integer(body, "max_tool_calls", 1)
    options = fields.mapping(body, "stream_options")
    if options is not None:
        if body.get("stream") is not True:
            raise InvalidRequest("'stream_options' is only allowed when 'stream' is true", param="stream_options")
        fields.flag(options, "include_obfuscation", "stream_options")
    if body.get("background") is True and body.get("store") is False:
        raise InvalidRequest("'background' needs 'store' to be true: a stored response is how it is read", param="background")
    if body.get("conversation") is not None and body.get("previous_response_id") is not None:
        raise InvalidRequest("give 'conversation' or 'previous_response_id', not both", param="previous_response_id")


def parse_messages(body: dict[str, Any], history: Sequence[Item] | None) -> tuple[Message, ...]:
    instructions = fields.text(body, "instructions")
    head = () if not instructions else (Message("system", (Text(instructions),), extra={NAME: {"instructions": True}}),)
    continues = body.get("previous_response_id") is not None or body.get("conversation") is not None
    given = body.get("input")
    if type(given) is str:
        items: list[Any] = [{"role": "user", "content": given}]
    elif type(given) is list:
        items = given
    elif given is None and (continues or body.get("prompt") is not None):
        items = []
    elif given is None:
        raise InvalidRequest("'input' is missing: a string or an array of items", param="input")
    else:
        raise wrong("input", "a string or an array of items", given)
    referring = any(type(item) is dict and item.get("type") == "item_reference" for item in items)
    if history is not None:
        # One pass over both: a call of the earlier response and its output in this one belong together.
        messages = parse_items([*history, *items], closed=not referring)
    else:
        messages = parse_items(items, closed=not (continues or referring))
    return head + messages


def parse_tools(body: dict[str, Any], extra: dict[str, Any]) -> tuple[Tool, ...]:
    given = fields.array(body, "tools")
    if len(given) > MAX_TOOLS:
        raise InvalidRequest(f"'tools' holds {len(given)} entries; at most {MAX_TOOLS} are taken", param="tools")
    tools: list[Tool] = []
    names: set[str] = set()
    for index, tool in enumerate(given):
        where = f"tools[{index}]"
        if type(tool) is not dict:
            raise wrong(where, "an object", tool)
        if fields.required_text(tool, "type", where) != "function":
            extra["tools"] = given  # hosted tools: a target of the same dialect gets the list as it is
            continue
        parsed = parse_function(tool, where)
        if parsed.name in names:
            raise InvalidRequest(f"'{where}.name' {parsed.name!r} is there twice; names must differ",
                                 param=join(where, "name"))  # fmt: skip
        names.add(parsed.name)
        tools.append(parsed)
    return tuple(tools)


def parse_function(tool: Item, where: str) -> Tool:
    source, place = tool, where
    nested = tool.get("function")
    if isinstance(nested, dict) and "name" not in tool:
        raise InvalidRequest(
            f"'{where}.name' is missing: in Responses the function's fields stand beside 'type', not under 'function'",
            param=join(where, "name"),
        )
    name = fields.required_text(source, "name", place, longest=MAX_TOOL_NAME_CHARS)
    if not TOOL_NAME.fullmatch(name):
        raise wrong(join(place, "name"), "letters, digits, '_' and '-' only", name)
    rest = {key: value for key, value in tool.items() if key not in TOOL_FIELDS and value is not None}
    return Tool(
        name, fields.text(source, "description", place), fields.mapping(source, "parameters", place),
        fields.flag(source, "strict", place), {NAME: rest} if rest else None,
    )  # fmt: skip


TOOL_FIELDS = frozenset({"type", "name", "description", "parameters", "strict"})


def parse_tool_choice(body: dict[str, Any], tools: tuple[Tool, ...], extra: dict[str, Any]) -> ToolChoice | None:
    choice = body.get("tool_choice")
    if choice is None:
        return None
    if type(choice) is str:
        mode: Any = fields.choice(body, "tool_choice", MODES)
        if mode == "required" and not tools and "tools" not in extra:
            raise InvalidRequest("'tool_choice' is required, but 'tools' is empty", param="tool_choice")
        return ToolChoice(mode)
    if type(choice) is not dict:
        raise wrong("tool_choice", "a string or an object", choice)
    kind = fields.required_text(choice, "type", "tool_choice")
    if kind == "function":
        name = fields.required_text(choice, "name", "tool_choice")
        known(name, tools, "tool_choice.name")
        return ToolChoice("tool", name)
    if kind == "allowed_tools":
        return parse_allowed(choice, tools, extra)
    extra["tool_choice"] = choice
    return None


def parse_allowed(choice: Item, tools: tuple[Tool, ...], extra: dict[str, Any]) -> ToolChoice | None:
    mode: Any = fields.choice(choice, "mode", MODES, "tool_choice") or "auto"
    entries = fields.array(choice, "tools", "tool_choice")
    if not entries or len(entries) > MAX_ALLOWED_TOOLS:
        raise InvalidRequest(f"'tool_choice.tools' must hold 1 to {MAX_ALLOWED_TOOLS} tools, not {len(entries)}",
                             param="tool_choice.tools")  # fmt: skip
    names: list[str] = []
    for index, entry in enumerate(entries):
        where = f"tool_choice.tools[{index}]"
        if type(entry) is not dict:
            raise wrong(where, "an object", entry)
        if fields.required_text(entry, "type", where) != "function":
            extra["tool_choice"] = choice
            return None
        name = fields.required_text(entry, "name", where)
        known(name, tools, join(where, "name"))
        names.append(name)
    return ToolChoice(mode, allowed=tuple(dict.fromkeys(names)))


def known(name: str, tools: tuple[Tool, ...], param: str) -> None:
    if all(tool.name != name for tool in tools):
        raise InvalidRequest(f"'{param}' names {fields.shown(name)}, which is not in 'tools'", param=param)


def parse_text(body: dict[str, Any]) -> tuple[Output | None, str | None]:
    text = fields.mapping(body, "text")
    if text is None:
        return None, None
    verbosity = fields.choice(text, "verbosity", VERBOSITIES, "text")
    form = fields.mapping(text, "format", "text")
    if form is None:
        return None, verbosity
    kind = fields.required_text(form, "type", "text.format")
    if kind == "text":
        return Output(), verbosity
    if kind == "json_object":
        return Output("json"), verbosity
    if kind != "json_schema":
        raise wrong("text.format.type", "text, json_object or json_schema", kind)
    schema = fields.mapping(form, "schema", "text.format")
    if schema is None:
        raise InvalidRequest("'text.format.schema' is missing: it must be a JSON Schema", param="text.format.schema")
    output = Output(
        "json-schema", fields.required_text(form, "name", "text.format", longest=MAX_METADATA_NAME_CHARS), schema,
        fields.flag(form, "strict", "text.format"), fields.text(form, "description", "text.format"),
    )  # fmt: skip
    return output, verbosity


def parse_reasoning(body: dict[str, Any], extra: dict[str, Any]) -> Thinking | None:
    reasoning = fields.mapping(body, "reasoning")
    if reasoning is None:
        return None
    effort: Any = fields.choice(reasoning, "effort", EFFORTS, "reasoning")
    summary = fields.choice(reasoning, "summary", SUMMARIES, "reasoning")
    summary = summary or fields.choice(reasoning, "generate_summary", SUMMARIES, "reasoning")
    rest = {
        name: value for name, value in reasoning.items()
        if name not in ("effort", "summary", "generate_summary") and value is not None
    }  # fmt: skip
    if rest:
        extra["reasoning"] = rest
    return Thinking(effort=effort, summary=summary)


def parse_include(body: dict[str, Any], extra: dict[str, Any]) -> bool:
    """Whether log probabilities are asked for; the other values stay in ``extra``."""
    include = fields.array(body, "include")
    for index, name in enumerate(include):
        if type(name) is not str:
            raise wrong(f"include[{index}]", "a string", name)
    rest = [name for name in include if name != LOGPROBS]
    if rest:
        extra["include"] = rest
    return LOGPROBS in include


def parse_metadata(body: dict[str, Any]) -> dict[str, str] | None:
    metadata = fields.mapping(body, "metadata")
    if metadata is None:
        return None
    if len(metadata) > MAX_METADATA:
        raise InvalidRequest(f"'metadata' must have at most {MAX_METADATA} keys, not {len(metadata)}", param="metadata")
    for name in metadata:
        where = f"metadata.{name[:MAX_METADATA_NAME_CHARS]}"
        if len(name) > MAX_METADATA_NAME_CHARS:
            raise InvalidRequest(
                f"a key of 'metadata' has {len(name)} characters; at most {MAX_METADATA_NAME_CHARS} are allowed", param=where
            )
        if fields.text(metadata, name, "metadata", longest=MAX_METADATA_VALUE_CHARS) is None:
            raise wrong(where, "a string", None)
    return metadata
