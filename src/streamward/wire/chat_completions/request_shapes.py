"""The fields of a Chat Completions request with their types and bounds.

Follows the Chat Completions reference, "Create chat completion". What they mean is in ``parse``.
"""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streamward.errors import InvalidRequest
from streamward.wire.dialect import MAX_TOOLS

Penalty = Annotated[float, Meta(ge=-2, le=2)]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class FunctionIn(Struct):
    name: Annotated[str, Meta(min_length=1, max_length=256)]
    description: str | None = None
    parameters: dict[str, Any] | None = None
    strict: bool | None = None


class ToolIn(Struct):
    type: str
    function: FunctionIn | None = None


class CalledIn(Struct):
    name: str
    arguments: str = ""


class ToolCallIn(Struct):
    id: str = ""
    type: str = "function"
    function: CalledIn | None = None


class MessageIn(Struct):
    role: Literal["system", "developer", "user", "assistant", "tool", "function"]
    content: str | list[dict[str, Any]] | None = None
    name: str | None = None
    tool_calls: list[ToolCallIn] | None = None
    tool_call_id: str | None = None
    function_call: CalledIn | None = None
    refusal: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    reasoning_details: list[dict[str, Any]] | None = None


class ReasoningIn(Struct):
    """OpenRouter's and Vercel's way to say how much to reason."""

    effort: Effort | None = None
    max_tokens: int | None = None
    enabled: bool | None = None


class StreamOptionsIn(Struct):
    include_usage: bool | None = None
    include_obfuscation: bool | None = None


class JsonSchemaIn(Struct):
    name: str
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class FormatIn(Struct):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchemaIn | None = None


class RequestIn(Struct):
    """The fields we know, with their types and bounds; msgspec names the first that is wrong."""

    model: Annotated[str, Meta(min_length=1, max_length=256)]
    messages: Annotated[list[MessageIn], Meta(min_length=1)]
    stream: bool | None = None
    stream_options: StreamOptionsIn | None = None
    temperature: Annotated[float, Meta(ge=0, le=2)] | None = None
    top_p: Annotated[float, Meta(ge=0, le=1)] | None = None
    top_k: int | None = None
    n: Annotated[int, Meta(ge=1, le=128)] | None = None
    stop: str | list[str] | None = None
    max_tokens: Annotated[int, Meta(ge=1)] | None = None
    max_completion_tokens: Annotated[int, Meta(ge=1)] | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: Annotated[int, Meta(ge=0, le=20)] | None = None
    tools: Annotated[list[ToolIn], Meta(max_length=MAX_TOOLS)] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[FunctionIn] | None = None
    function_call: str | dict[str, Any] | None = None
    response_format: FormatIn | None = None
    reasoning_effort: Effort | None = None
    reasoning: ReasoningIn | None = None
    verbosity: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None


KNOWN = frozenset(RequestIn.__struct_fields__)
AT = re.compile(r"^(.*?)(?: - at `\$\.?(.*)`)?$", re.DOTALL)


def validate(body: dict[str, Any]) -> RequestIn:
    """*body* with every known field checked.

    Raises:
        InvalidRequest: naming the field, what was expected and what came.
    """
    try:
        return msgspec.convert(body, RequestIn)
    except msgspec.ValidationError as exc:
        match = AT.match(str(exc))
        message, param = (match.group(1), match.group(2)) if match else (str(exc), None)
        missing = re.search(r"missing required field `([^`]+)`", message)
        if missing:
            param = f"{param}.{missing.group(1)}" if param else missing.group(1)
            raise InvalidRequest(f"{param!r} is missing; send it", param=param) from None
        where = f" in {param!r}" if param else ""
        raise InvalidRequest(f"{message}{where}", param=param or None) from None
