"""What a dialect module offers, and the data that parametrises it.

Every LLM dialect (``streamward.wire.chat_completions``, ``responses``, ``messages``, ``generate_content``, ``ollama``)
is a module or package with the names of :class:`Dialect`. Adding a provider quirk means adding a field to
:class:`Profile` and reading it in the codec, never asking which provider it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, Protocol

from msgspec import Struct

from streamward.call import Call
from streamward.errors import ErrorInfo
from streamward.events import Event
from streamward.reply import Reply
from streamward.wire.sse import MAX_EVENT_BYTES, Frame

MAX_TOOL_INPUT_BYTES = 8 << 20
"""Bound of one tool call's arguments: a file written by a coding model fits, a flood does not."""

MAX_TOOLS = 1024
"""Bound of the tools of one request: OpenAI takes 128, agents over MCP send several hundred."""

MAX_PARTS = 4096
"""Bound of parts (tool calls, text blocks) in one stream: real ones stay below 200."""


class Profile(Struct, frozen=True, kw_only=True):
    """How one provider deviates from its dialect's reference. The defaults are the reference."""

    ends_with: Literal["marker", "finish", "eof"] = "marker"
    """What counts as a finished stream when the body ends: the dialect's end marker (``[DONE]``, ``message_stop``,
    ``response.completed``); a finish reason; or plain end of body."""
    single_newline_frames: bool = False
    max_tokens_field: Literal["max_completion_tokens", "max_tokens"] = "max_completion_tokens"
    developer_role: bool = True
    """False: ``developer`` messages go out as ``system``."""
    asks_usage: bool = True
    """False: the provider rejects ``stream_options``."""
    usage_path: tuple[str, ...] = ("usage",)
    """Where a chunk holds its usage (Groq: ``x_groq.usage``)."""
    output_excludes_reasoning: bool = False
    """True: stated output tokens leave reasoning tokens out (xAI, Gemini)."""
    default_max_tokens: int | None = None
    """Output limit to send when the caller set none and the dialect demands one; None: the dialect's own constant."""
    effort_form: Literal["budget", "adaptive"] = "budget"
    """How an effort word of another dialect goes out: as a token budget, or as the provider's own effort words."""
    placeholder_signature: str | None = None
    """Sent as signature of a turn's first tool call that has none, where the provider demands one (Gemini 3)."""
    drops_fields: frozenset[str] = frozenset()
    """Request fields the provider rejects and that change nothing in the answer (``user``, ``store``)."""
    unsupported: frozenset[str] = frozenset()
    """Features the provider cannot do: a call that needs one is refused with a 400 that names it."""
    cancels_on_close: bool = True
    """Closing the connection stops generation (and billing)."""


class Context(Struct, frozen=True, kw_only=True):
    """What an encoder needs to know about its stream beyond the events. Ids and time come from outside."""

    id: str
    """Seed of all ids the encoder makes; unique per stream."""
    model: str
    """As the caller named it; shown back to it."""
    created: int
    """Unix seconds."""
    include_usage: bool = True
    call: Call | None = None
    """The request being answered, for dialects that echo it."""
    options: dict[str, Any] = {}
    """Dialect-specific settings, e.g. ``{"responses_done": "cr"}``."""


class Decode(Protocol):
    """Stage from frames to events; the pure half of reading a stream."""

    def feed(self, item: Frame, /) -> list[Event]: ...

    def close(self) -> list[Event]:
        """End of body: a terminal event if none came yet (``stream_truncated`` unless the profile says otherwise)."""

    def fail(self, error: ErrorInfo) -> list[Event]:
        """End the stream with *error* from outside (reset, deadline): closes open parts first. Nothing if ended."""


class Encode(Protocol):
    """Stage from events to whole frames as bytes; one list item is one frame."""

    def feed(self, item: Event, /) -> list[bytes]: ...

    def close(self) -> list[bytes]: ...


class ReadFrames(Protocol):
    """Stage from bytes to frames; ``error`` is set once the bytes break a bound."""

    error: ErrorInfo | None

    def feed(self, item: bytes, /) -> list[Frame]: ...

    def close(self) -> list[Frame]: ...


class Dialect(Protocol):
    """The names every LLM dialect module offers."""

    NAME: str
    MEDIA_TYPE: str
    """Content type of a streamed answer, without parameters."""

    def path(self, model: str, *, stream: bool) -> str:
        """Path (and query) under the provider's base URL."""

    def parse_request(self, body: dict[str, Any]) -> Call:
        """Raises InvalidRequest naming the field."""

    def render_request(self, call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
        """Raises Unsupported naming what this dialect or profile cannot do. Asks for usage when streaming."""

    def Reader(self, profile: Profile, *, max_event_bytes: int = MAX_EVENT_BYTES) -> ReadFrames: ...  # noqa: N802

    def Decoder(self, profile: Profile) -> Decode: ...  # noqa: N802

    def Encoder(self, context: Context) -> Encode: ...  # noqa: N802

    def parse_reply(self, body: dict[str, Any], profile: Profile) -> Reply:
        """A non-streamed answer; one that is not of this dialect gives a Reply with ``error`` set."""

    def render_reply(self, reply: Reply, context: Context) -> dict[str, Any]: ...

    def parse_error(self, status: int, body: bytes) -> ErrorInfo:
        """Code, status and safe_to_retry from an error answer; never the body's own text (it may hold secrets)."""

    def render_error(self, error: ErrorInfo) -> dict[str, Any]:
        """Body of an HTTP error answer in this dialect."""


class Counting(Protocol):
    """What a dialect module offers when its providers count tokens beforehand."""

    def count_path(self, model: str) -> str:
        """Path under the provider's base URL."""

    def render_count_request(self, call: Call, *, model: str, profile: Profile) -> dict[str, Any]:
        """Raises Unsupported like ``render_request``."""

    def parse_count(self, body: dict[str, Any]) -> int | None:
        """Input tokens; None when *body* does not say."""


class Decoded:
    """Stage from bytes to events: a dialect's reader and decoder as one, with bounds and failures as events."""

    __slots__ = ("decoder", "reader")

    def __init__(self, reader: ReadFrames, decoder: Decode) -> None:
        self.reader = reader
        self.decoder = decoder

    def feed(self, item: bytes) -> list[Event]:
        frames = self.reader.feed(item)
        if len(frames) == 1:  # the rule while a model speaks
            events = self.decoder.feed(frames[0])
        else:
            feed = self.decoder.feed
            events = [event for frame in frames for event in feed(frame)]
        if self.reader.error is not None:
            events.extend(self.decoder.fail(self.reader.error))
        return events

    def close(self) -> list[Event]:
        feed = self.decoder.feed
        events = [event for frame in self.reader.close() for event in feed(frame)]
        events.extend(self.decoder.close())
        return events

    def fail(self, error: ErrorInfo) -> list[Event]:
        return self.decoder.fail(error)


def frames_of(encoder: Encode, events: Iterable[Event]) -> bytes:
    """All bytes that *events* encode to, the encoder closed."""
    out = [frame for event in events for frame in encoder.feed(event)]
    out.extend(encoder.close())
    return b"".join(out)
