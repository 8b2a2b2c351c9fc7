"""The canonical request: what every dialect's request parses to and renders from.

Values only. Fields a dialect knows and the call does not are kept in ``extra[dialect]`` and put back when the target
speaks the same dialect; another target refuses them with a clear error rather than dropping them in silence.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct

from streamward.events import Extra

Role = Literal["system", "developer", "user", "assistant", "tool"]
Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]


class PartBase(Struct, frozen=True, omit_defaults=True, tag_field="type"):
    """Shared struct options; not a part."""


class Text(PartBase, frozen=True, tag="text"):
    text: str
    extra: Extra | None = None


class Image(PartBase, frozen=True, tag="image"):
    """``url`` (http, https) or ``data`` (base64) with ``media_type``."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    detail: str | None = None
    extra: Extra | None = None


class Document(PartBase, frozen=True, tag="file"):
    """A file given to the model: ``url``, base64 ``data`` or a provider's ``file_id``."""

    url: str | None = None
    data: str | None = None
    media_type: str | None = None
    filename: str | None = None
    file_id: str | None = None
    extra: Extra | None = None


class Audio(PartBase, frozen=True, tag="audio"):
    data: str
    format: str
    extra: Extra | None = None


class Reasoning(PartBase, frozen=True, tag="reasoning"):
    """Earlier reasoning going back to its provider; see ``events.ReasoningEnd``."""

    text: str = ""
    signature: str | None = None
    redacted: str | None = None
    id: str | None = None
    extra: Extra | None = None


class Refusal(PartBase, frozen=True, tag="refusal"):
    text: str


class ToolUse(PartBase, frozen=True, tag="tool-call"):
    """An earlier call by the model; ``input`` is the arguments' JSON text exactly as produced."""

    id: str
    name: str
    input: str = "{}"
    signature: str | None = None
    extra: Extra | None = None


class ToolOutput(PartBase, frozen=True, tag="tool-result"):
    """What the tool gave back: text (JSON text for structured values) or parts."""

    id: str
    output: str | tuple[Text | Image | Document, ...] = ""
    name: str | None = None
    is_error: bool = False
    extra: Extra | None = None


Part: TypeAlias = Text | Image | Document | Audio | Reasoning | Refusal | ToolUse | ToolOutput


class Message(Struct, frozen=True, omit_defaults=True):
    """One turn. ``tool`` messages hold ``ToolOutput`` parts only; several calls of one turn stay in one message."""

    role: Role
    parts: tuple[Part, ...] = ()
    name: str | None = None
    extra: Extra | None = None


class Tool(Struct, frozen=True, omit_defaults=True):
    """A function the model may call; ``schema`` is the JSON Schema of its arguments."""

    name: str
    description: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    extra: Extra | None = None


class ToolChoice(Struct, frozen=True, omit_defaults=True):
    """``tool``: exactly *name*. ``allowed`` narrows any mode to these names."""

    mode: Literal["auto", "none", "required", "tool"] = "auto"
    name: str | None = None
    allowed: tuple[str, ...] = ()


class Output(Struct, frozen=True, omit_defaults=True):
    """The form the answer must have."""

    kind: Literal["text", "json", "json-schema"] = "text"
    name: str | None = None
    schema: dict[str, Any] | None = None
    strict: bool | None = None
    description: str | None = None


class Thinking(Struct, frozen=True, omit_defaults=True):
    """How much to reason: an ``effort`` word or a ``max_tokens`` budget; ``summary`` as in Responses."""

    effort: Effort | None = None
    max_tokens: int | None = None
    enabled: bool | None = None
    summary: str | None = None


class Call(Struct, frozen=True, omit_defaults=True):
    """One request to a model, in no dialect. ``None`` means: not said, the target's default holds."""

    model: str
    messages: tuple[Message, ...] = ()
    tools: tuple[Tool, ...] = ()
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    stop: tuple[str, ...] = ()
    seed: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    choices: int = 1
    output: Output | None = None
    thinking: Thinking | None = None
    verbosity: str | None = None
    user: str | None = None
    metadata: dict[str, str] | None = None
    stream: bool = False
    include_usage: bool = False
    """The caller wants usage on its stream (upstreams are always asked, for accounting)."""
    extra: Extra | None = None
