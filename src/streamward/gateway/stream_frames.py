"""What a durable stream of the gateway holds: frames with their ids, and what is kept beside them.

Pure. A frame is one SSE event as clients get it. On Chat Completions and Messages it begins with an ``id:`` line, its
offset; on Responses the event's own ``sequence_number`` is the offset. A call that is not streamed has one frame: its
JSON body.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from msgspec import Struct

from streamward.durable import StreamState
from streamward.errors import ErrorInfo
from streamward.wire import json_text
from streamward.wire.chat_completions.errors import error_frame as chat_error
from streamward.wire.messages.errors import error_frame as messages_error
from streamward.wire.responses import errors as responses_errors
from streamward.wire.responses import snapshot
from streamward.wire.responses.encode import END_MARKERS

INTERRUPTED = ErrorInfo(
    "stream_interrupted", "the server that produced this stream is gone; what came before is all there is", 502,
    safe_to_retry=True,
)  # fmt: skip


class StreamMeta(Struct, frozen=True, omit_defaults=True):
    """Kept with a stream from its creation."""

    streamed: bool
    body_hash: str = ""
    request_id: str = ""
    model: str = ""
    done: str = "cr"
    """Responses: form of the end marker."""
    response: dict[str, Any] | None = None
    """Responses: the object as it was when the stream began, for the ending nobody is left to write."""


class StreamResult(Struct, frozen=True, omit_defaults=True):
    """Kept with a stream's ending. ``status`` and ``error`` say how the call was answered when there are no frames."""

    status: int = 200
    error: ErrorInfo | None = None
    finish_reason: str = ""
    input_tokens: int | None = None
    output_tokens: int | None = None
    grade: str = "none"


encode = msgspec.json.Encoder().encode
decode_meta = msgspec.json.Decoder(StreamMeta).decode
decode_result = msgspec.json.Decoder(StreamResult).decode


def meta_of(state: StreamState) -> StreamMeta:
    return decode_meta(state.meta)


def result_of(state: StreamState) -> StreamResult:
    """How the call ended; one whose producer died has no result of its own."""
    if state.result:
        return decode_result(state.result)
    return StreamResult(502, INTERRUPTED) if state.ending == "interrupted" else StreamResult()


def gave_nothing(state: StreamState) -> bool:
    """The call failed before anything was shown to anybody: its idempotency key may be used for another try."""
    return not state.live and state.next == 0


def numbered(data: bytes, first: int) -> list[bytes]:
    """The frames in *data* with ``id:`` lines from *first* on; comments, which no cursor can name, are left out."""
    if data.find(b"\n\n") == len(data) - 2 and data[:1] != b":":
        return [b"id: %d\n%b" % (first, data)]
    return [b"id: %d\n%b" % (number, frame) for number, frame in enumerate(plain(data), first)]


def plain(data: bytes, first: int = 0) -> list[bytes]:
    """The frames in *data* as they are; comments are left out. (*first* makes it callable as ``numbered`` is.)"""
    return [block + b"\n\n" for block in data.split(b"\n\n") if block and not is_comment(block)]


def is_comment(block: bytes) -> bool:
    """No line of *block* is data. The end marker of Responses hides one behind a CR."""
    return block[:1] == b":" and b"\ndata:" not in block and b"\rdata:" not in block


FRAMING: dict[str, Callable[[bytes, int], list[bytes]]] = {
    "chat_completions": numbered, "messages": numbered, "responses": plain,
}  # fmt: skip
"""How each dialect's bytes become frames."""


def interrupted(state: StreamState) -> list[bytes]:
    """Terminal frames of a stream whose producer died; none where nothing was shown yet (then it is a status)."""
    try:
        meta = decode_meta(state.meta)
    except msgspec.DecodeError:
        return []  # not one of ours: an older version's, or somebody else's in the same store
    if not meta.streamed:
        return []
    render = TERMINAL.get(state.dialect)
    return render(state, meta) if render is not None and (state.next or meta.response is not None) else []


def terminal_responses(state: StreamState, meta: StreamMeta) -> list[bytes]:
    """``error`` and ``response.failed``; the output is what clients have put together, so none is repeated here."""
    failed = {**(meta.response or {}), **snapshot.failed(INTERRUPTED)}
    events = [("error", responses_errors.stream_error(INTERRUPTED)), ("response.failed", {"response": failed})]
    if not state.next:  # a stream begins with response.created, whatever becomes of it
        events.insert(0, ("response.created", {"response": meta.response or {}}))
    frames = [
        b"event: %b\ndata: %b\n\n"
        % (kind.encode(), json_text.encode({"type": kind, "sequence_number": state.next + number, **fields}))
        for number, (kind, fields) in enumerate(events)
    ]
    marker = END_MARKERS.get(meta.done, b"")
    return [*frames, marker] if marker else frames


TERMINAL: dict[str, Callable[[StreamState, StreamMeta], list[bytes]]] = {
    "chat_completions": lambda state, meta: numbered(chat_error(INTERRUPTED), state.next),
    "messages": lambda state, meta: numbered(messages_error(INTERRUPTED), state.next),
    "responses": terminal_responses,
}
