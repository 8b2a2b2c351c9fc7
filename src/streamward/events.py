"""The waist: one closed union of events that every dialect decodes to and encodes from.

A stream is ``Start (part | tool | data)* (Finish | Error | Abort)``; ``streamward.grammar`` checks it. Tags use the
AI SDK's spelling. Values only: no I/O, no behaviour. Text, reasoning, refusal and tool input are *parts*: opened,
fed with deltas, closed, and named by an id that is unique in its stream.

``extra`` carries fields a dialect knows and the waist does not, keyed by dialect name; the encoder of the same
dialect puts them back, every other encoder leaves them out.
"""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

from msgspec import Struct, field

from streamward.errors import ErrorInfo

Extra: TypeAlias = dict[str, dict[str, Any]]
FinishReason = Literal["stop", "length", "tool-calls", "content-filter", "error", "other", "unknown"]


class Usage(Struct, frozen=True, omit_defaults=True):
    """Tokens as billed. Totals include their details (input includes cached, output includes reasoning).

    ``None`` means the provider did not say; it is never guessed here.
    """

    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_input_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    stated_total: int | None = field(default=None, name="total_tokens")
    """As stated by the provider, when it is not input + output."""
    extra: Extra | None = None

    @property
    def total(self) -> int:
        """Total as stated, else input + output, unknown counted as 0."""
        if self.stated_total is not None:
            return self.stated_total
        return (self.input_tokens or 0) + (self.output_tokens or 0)

    @property
    def total_tokens(self) -> int | None:
        """The same, ``None`` when nothing is known."""
        known = (self.stated_total, self.input_tokens, self.output_tokens)
        return None if all(count is None for count in known) else self.total


class EventBase(Struct, frozen=True, omit_defaults=True, tag_field="type", gc=False):
    """Shared struct options; not an event. ``gc=False``: events hold no cycles, and there are millions of them."""


# -- the stream and its steps


class Start(EventBase, frozen=True, tag="start"):
    """First event. ``id`` and ``model`` as the provider says them; ``created`` in Unix seconds."""

    id: str = ""
    model: str = ""
    created: int | None = None
    extra: Extra | None = None


class StepStart(EventBase, frozen=True, tag="start-step"):
    """One model call inside a multi-step generation begins (engine only)."""

    id: str = ""
    extra: Extra | None = None


class StepFinish(EventBase, frozen=True, tag="finish-step"):
    """That model call is over; all its parts are closed."""

    reason: FinishReason = "unknown"
    usage: Usage | None = None
    extra: Extra | None = None


class Finish(EventBase, frozen=True, tag="finish"):
    """Terminal: the provider said that it was done, and why."""

    reason: FinishReason = "unknown"
    usage: Usage | None = None
    raw_reason: str | None = None
    """The provider's own word, when the canonical one loses it."""
    extra: Extra | None = None


class Error(EventBase, frozen=True, tag="error"):
    """Terminal: the stream failed or was truncated. Never follows a Finish."""

    error: ErrorInfo
    usage: Usage | None = None


class Abort(EventBase, frozen=True, tag="abort"):
    """Terminal: somebody on our side stopped the stream."""

    reason: str = ""
    usage: Usage | None = None


# -- parts


class TextStart(EventBase, frozen=True, tag="text-start"):
    id: str
    extra: Extra | None = None


class TextDelta(EventBase, frozen=True, tag="text-delta"):
    id: str
    delta: str
    logprobs: list[Any] | None = None
    """Per-token log probabilities in Chat Completions form, when asked for."""
    extra: Extra | None = None


class TextEnd(EventBase, frozen=True, tag="text-end"):
    id: str
    extra: Extra | None = None


class ReasoningStart(EventBase, frozen=True, tag="reasoning-start"):
    id: str
    extra: Extra | None = None


class ReasoningDelta(EventBase, frozen=True, tag="reasoning-delta"):
    id: str
    delta: str
    extra: Extra | None = None


class ReasoningEnd(EventBase, frozen=True, tag="reasoning-end"):
    """Closes a reasoning part. ``signature`` proves it to its provider; ``redacted`` is an opaque block instead.

    Both must go back unchanged in the next turn (Anthropic ``signature``/``redacted_thinking``, Gemini
    ``thoughtSignature``, Responses ``encrypted_content``).
    """

    id: str
    signature: str | None = None
    redacted: str | None = None
    extra: Extra | None = None


class RefusalStart(EventBase, frozen=True, tag="refusal-start"):
    id: str
    extra: Extra | None = None


class RefusalDelta(EventBase, frozen=True, tag="refusal-delta"):
    id: str
    delta: str
    extra: Extra | None = None


class RefusalEnd(EventBase, frozen=True, tag="refusal-end"):
    id: str
    extra: Extra | None = None


class ToolInputStart(EventBase, frozen=True, tag="tool-input-start"):
    """The model begins a call of tool *name*; ``id`` is the call id that results refer to."""

    id: str
    name: str
    provider_executed: bool = False
    dynamic: bool = False
    title: str | None = None
    extra: Extra | None = None


class ToolInputDelta(EventBase, frozen=True, tag="tool-input-delta"):
    """A fragment of the arguments' JSON text; fragments split anywhere."""

    id: str
    delta: str


class ToolInputEnd(EventBase, frozen=True, tag="tool-input-end"):
    """The arguments are complete as text; ``signature`` as in :class:`ReasoningEnd` (Gemini signs calls)."""

    id: str
    signature: str | None = None
    extra: Extra | None = None


# -- tools (engine: after the arguments were parsed)


class ToolCall(EventBase, frozen=True, tag="tool-call"):
    """A complete call with parsed ``input``; ``error`` says why the input is not valid."""

    id: str
    name: str
    input: Any = None
    error: str | None = None
    provider_executed: bool = False
    dynamic: bool = False
    title: str | None = None
    extra: Extra | None = None


class ToolResult(EventBase, frozen=True, tag="tool-result"):
    id: str
    name: str
    output: Any = None
    input: Any = None
    preliminary: bool = False
    provider_executed: bool = False
    dynamic: bool = False
    extra: Extra | None = None


class ToolError(EventBase, frozen=True, tag="tool-error"):
    """The tool failed; the model sees ``error``, browsers a masked text."""

    id: str
    name: str
    error: str
    input: Any = None
    provider_executed: bool = False
    dynamic: bool = False


class ToolDenied(EventBase, frozen=True, tag="tool-output-denied"):
    id: str
    name: str = ""
    reason: str | None = None


class ApprovalRequest(EventBase, frozen=True, tag="tool-approval-request"):
    id: str
    tool_call_id: str
    extra: Extra | None = None


class ApprovalResponse(EventBase, frozen=True, tag="tool-approval-response"):
    id: str
    approved: bool
    reason: str | None = None


# -- everything else


class Source(EventBase, frozen=True, tag="source"):
    """Something the answer rests on. ``start``/``end`` are character offsets in text part ``part_id``, when known."""

    id: str
    kind: Literal["url", "document"] = "url"
    url: str | None = None
    title: str | None = None
    media_type: str | None = None
    filename: str | None = None
    part_id: str | None = None
    start: int | None = None
    end: int | None = None
    extra: Extra | None = None


class File(EventBase, frozen=True, tag="file"):
    """A generated file: ``data`` is base64, or ``url`` points to it."""

    media_type: str
    data: str | None = None
    url: str | None = None
    id: str = ""
    extra: Extra | None = None


class Data(EventBase, frozen=True, tag="data"):
    """Application data beside the answer. Same ``name`` and ``id`` replaces; ``transient`` is not kept."""

    name: str
    data: Any = None
    id: str | None = None
    transient: bool = False


class Metadata(EventBase, frozen=True, tag="message-metadata"):
    metadata: Any = None


class UsageUpdate(EventBase, frozen=True, tag="usage"):
    """Usage known so far, cumulative; the terminal event carries the final figure."""

    usage: Usage


class Vendor(EventBase, frozen=True, tag="vendor"):
    """A frame of *dialect* that the waist has no word for; only that dialect's encoder sends it on."""

    dialect: str
    payload: Any = None
    name: str | None = None


PartStart: TypeAlias = TextStart | ReasoningStart | RefusalStart | ToolInputStart
PartDelta: TypeAlias = TextDelta | ReasoningDelta | RefusalDelta | ToolInputDelta
PartEnd: TypeAlias = TextEnd | ReasoningEnd | RefusalEnd | ToolInputEnd
Terminal: TypeAlias = Finish | Error | Abort
ToolEvent: TypeAlias = ToolCall | ToolResult | ToolError | ToolDenied | ApprovalRequest | ApprovalResponse
Event: TypeAlias = (
    Start | StepStart | StepFinish | PartStart | PartDelta | PartEnd | ToolEvent
    | Source | File | Data | Metadata | UsageUpdate | Vendor | Terminal
)  # fmt: skip

PART_START = (TextStart, ReasoningStart, RefusalStart, ToolInputStart)
PART_DELTA = (TextDelta, ReasoningDelta, RefusalDelta, ToolInputDelta)
PART_END = (TextEnd, ReasoningEnd, RefusalEnd, ToolInputEnd)
TERMINAL = (Finish, Error, Abort)

PART_END_OF: dict[type[EventBase], type[TextEnd | ReasoningEnd | RefusalEnd | ToolInputEnd]] = {
    TextStart: TextEnd, ReasoningStart: ReasoningEnd, RefusalStart: RefusalEnd, ToolInputStart: ToolInputEnd,
}  # fmt: skip


def is_content(event: Event) -> bool:
    """True for an event that shows the caller something: from the first one on, no other target can be tried."""
    if isinstance(event, (TextDelta, ReasoningDelta, RefusalDelta)):
        return bool(event.delta)
    return isinstance(event, CONTENT)


CONTENT = (ToolInputStart, ToolInputDelta, ToolCall, ToolResult, ToolError, Source, File, Data, ReasoningEnd)
