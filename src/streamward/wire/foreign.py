"""Fields of one dialect on their way to another: hints are left out, everything else is refused by name.

``extra[dialect]`` holds what a caller sent beyond the canonical call. A field that cannot change the answer (where to
cache, which tier to bill) may be left out when the target speaks another dialect; one that can must not be.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from streamward.call import Call, Message, ToolOutput, ToolUse
from streamward.errors import InvalidRequest, Unsupported
from streamward.events import Extra
from streamward.wire import json_text

SIGNATURE_MARK = "sw1."
"""Begins signatures that name the dialect of the provider that made them: ``sw1.<dialect>.``. They go back to such a
provider without the mark, and to no other. Unmarked ones are those of Messages providers."""


def refuse_foreign(call: Call, target: str) -> None:
    """Raises Unsupported for the first field in *call* that only another dialect than *target* understands."""
    for extra, path in extras(call):
        for dialect, fields in extra.items():
            if dialect == target:
                continue
            hints = HINTS.get(dialect, frozenset())
            for name in fields:
                if name not in hints:
                    where = f"{path}.{name}" if path else name
                    raise Unsupported(
                        f"{where} is a feature of {dialect} that {target} cannot do; leave it out or pick another model",
                        param=where,
                    )


def extras(call: Call) -> Iterator[tuple[Extra, str]]:
    """Every ``extra`` in *call*, with the path of its owner."""
    if call.extra:
        yield call.extra, ""
    for index, tool in enumerate(call.tools):
        if tool.extra:
            yield tool.extra, f"tools[{index}]"
    for index, message in enumerate(call.messages):
        yield from message_extras(message, f"messages[{index}]")


def message_extras(message: Message, path: str) -> Iterator[tuple[Extra, str]]:
    if message.extra:
        yield message.extra, path
    for index, part in enumerate(message.parts):
        extra = getattr(part, "extra", None)
        if extra:
            yield extra, f"{path}.content[{index}]"
        if isinstance(part, ToolOutput) and not isinstance(part.output, str):
            for inner, item in enumerate(part.output):
                if item.extra:
                    yield item.extra, f"{path}.content[{index}].content[{inner}]"


def tool_input(part: ToolUse, path: str) -> dict[str, Any]:
    """The arguments of an earlier call as the object that most dialects want.

    Raises:
        InvalidRequest: they are none.
    """
    try:
        value = json_text.decode_any(part.input.encode()) if part.input.strip() else {}
    except (ValueError, RecursionError):
        value = None
    if type(value) is not dict:
        raise InvalidRequest(
            f"{path}: the arguments of tool call {part.id!r} must be a JSON object as text", param=f"{path}.tool_calls"
        )
    return value


HINTS: dict[str, frozenset[str]] = {
    "messages": frozenset({
        "cache_control", "service_tier", "inference_geo", "metadata", "speed", "context_management", "citations",
        "output_config", "thinking", "display", "title", "caller",
        "eager_input_streaming",
    }),
    "chat_completions": frozenset({
        "store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "include_obfuscation",
        "stream_options", "prediction", "audio_id", "phase", "status", "id", "annotations",
    }),
    "responses": frozenset({
        "store", "service_tier", "prompt_cache_key", "prompt_cache_retention", "safety_identifier", "include", "truncation",
        "background", "stream_options", "phase", "status", "id", "annotations", "logprobs", "previous_response_id",
        "max_tool_calls", "prompt_cache_options", "instructions", "content", "fields",
    }),
    "generate_content": frozenset({"thoughtSignature", "labels", "safetySettings", "thoughtsTokenCount", "videoMetadata"}),
    "ollama": frozenset({"keep_alive"}),
}  # fmt: skip
"""Per dialect, the fields that only steer billing, caching or bookkeeping, or that the canonical call holds as well."""
