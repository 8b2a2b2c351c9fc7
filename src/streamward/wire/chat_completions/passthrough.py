"""Chat Completions in and out: frames pass as bytes, the truth about them is kept.

Nearly every read holds only plain text chunks. One C call checks that (valid JSON, one choice, no finish, usage, error
or tool call), and the read goes out as it came. Anything else is looked at frame by frame: framing is normalised (LF,
``data: `` with a space, no block without data), roles come once and first, tool-call fragments get their index and id,
usage is taken out and sent as its own chunk if asked for, and every unknown field stays.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta, Struct

from streamward.errors import ErrorInfo
from streamward.events import Usage
from streamward.wire import json_text
from streamward.wire.chat_completions.decode import INVALID, REPORTED
from streamward.wire.chat_completions.errors import error_frame
from streamward.wire.chat_completions.shapes import FAILED_FINISHES, NOT_JSON, content_pieces, parse_usage, usage_at
from streamward.wire.chat_completions.tools import ToolSlots
from streamward.wire.dialect import Profile
from streamward.wire.loose import as_dict
from streamward.wire.sse import DONE, DONE_FRAME, MAX_EVENT_BYTES, Reader
from streamward.wire.upstream_status import TRUNCATED


class PassDelta(Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    role: None = None
    tool_calls: None = None
    function_call: None = None


class PassChoice(Struct, frozen=True, gc=False):
    delta: PassDelta
    index: Literal[0]  # both keys are due in every chunk: one without them is mended, another choice is counted
    finish_reason: None


class PassChunk(Struct, frozen=True, gc=False):
    """A chunk that can go out unseen."""

    choices: tuple[PassChoice]
    usage: None = None
    error: None = None
    x_groq: None = None


class CommonDelta(Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    role: str | None = None
    tool_calls: None = None
    function_call: None = None
    refusal: None = None


class CommonChoice(Struct, frozen=True, gc=False):
    delta: CommonDelta
    finish_reason: Literal["stop", "length", "content_filter"] | None
    index: Literal[0]


class CommonChunk(Struct, frozen=True, gc=False):
    """A chunk in the reference's form: role, text, finish or usage. Whatever is stranger fails validation."""

    choices: Annotated[list[CommonChoice], Meta(max_length=1)]
    object: Literal["chat.completion.chunk"]
    id: str = ""
    usage: dict[str, Any] | None = None
    error: None = None
    x_groq: None = None


decode_common = msgspec.json.Decoder(CommonChunk).decode
chunk_decoder = msgspec.json.Decoder(PassChunk)
decode_one = chunk_decoder.decode
decode_lines = chunk_decoder.decode_lines


def all_plain(run: list[bytes]) -> bool:
    """Whether each of *run* can go out unseen: one C call for all."""
    try:
        return len(decode_lines(b"\n".join(run))) == len(run)  # the decoder passes over empty ones, which are no frames of ours
    except NOT_JSON:
        return False


PLAIN_USAGE = ("usage",)
TAIL_FRAMES = 3
"""What usually ends a stream: the finish chunk, the usage chunk, ``[DONE]``."""


class ChoiceState:
    """What is known of one choice."""

    __slots__ = ("finished", "role_sent", "slots")

    def __init__(self) -> None:
        self.role_sent = False
        self.finished = False
        self.slots = ToolSlots()


class Passthrough:
    """Relay (see ``streamward.wire.relay``) for the same dialect on both sides."""

    __slots__ = (
        "begun", "between_frames", "choices", "content", "ended", "error", "events", "finish_reason", "include_usage",
        "max_event_bytes", "plain", "profile", "reader", "rewritten", "stream_id", "usage", "usage_data",
    )  # fmt: skip

    def __init__(
        self, profile: Profile, *, include_usage: bool = False, max_event_bytes: int = MAX_EVENT_BYTES
    ) -> None:
        self.profile = profile
        self.include_usage = include_usage
        self.max_event_bytes = max_event_bytes
        self.reader: Reader | None = None  # made for the first read that is not whole frames in the reference's framing
        self.choices: dict[int, ChoiceState] = {}
        self.content = False
        self.ended = False
        self.error: ErrorInfo | None = None
        self.finish_reason: str | None = None
        self.usage: Usage | None = None
        self.events = 0
        self.begun = False
        self.stream_id = ""
        self.rewritten = False  # the chunk just looked at is not what came: its usage was taken out
        self.usage_data = b""  # of the chunk that tells the caller, sent at the end
        self.between_frames = not profile.single_newline_frames  # the reader holds no piece of a frame
        self.plain = False  # one choice, under way: a plain text chunk can go out unseen

    def feed(self, data: bytes) -> bytes:
        seen = self.plain and self.content and self.between_frames
        if seen and data.endswith(b"}\n\n") and data.startswith(b"data: {") and b"\r" not in data:
            text = data[6:-2]
            try:
                if b"\n" in text:
                    chunks = decode_lines(text.replace(b"\n\ndata: ", b"\n"))
                    if text.count(b"\n") != 2 * len(chunks) - 2:  # a line that is no data line
                        return self.look(data)
                    self.events += len(chunks)
                else:
                    decode_one(text)
                    self.events += 1
            except NOT_JSON:
                pass
            else:
                return data if data.isascii() else json_text.escape_line_separators(data)
        return self.look(data)

    def close(self) -> bytes:
        out = [self.frame(frame.data, frame.event) for frame in (self.reader.close() if self.reader is not None else ())]
        if not self.ended:
            ends = self.profile.ends_with
            if (ends == "finish" and self.all_finished()) or (ends == "eof" and self.choices):
                out.append(self.finish())
            else:
                out.append(self.fail(TRUNCATED))
        return b"".join(out)

    def fail(self, error: ErrorInfo) -> bytes:
        if self.ended:
            return b""
        self.ended = True
        self.error = error
        return error_frame(error)

    def look(self, data: bytes) -> bytes:
        """The slow path: every frame of this read on its own."""
        if self.ended:
            return b""
        if self.between_frames and data.startswith(b"data: ") and data.endswith(b"\n\n") and b"\r" not in data:
            payloads = data[6:-2].split(b"\n\ndata: ")
            if data.count(b"\n") == 2 * len(payloads):  # one data line each, nothing else
                return self.clean(payloads)
        reader = self.reader or self.open_reader()
        out = [self.frame(frame.data, frame.event) for frame in reader.feed(data)]
        if reader.error is not None:
            out.append(self.fail(reader.error))
        self.between_frames = not (
            reader.tail_bytes or reader.data or reader.skip_lf or reader.at_start or reader.single_newline
        )
        self.settle()
        return b"".join(out)

    def open_reader(self) -> Reader:
        reader = self.reader = Reader(
            max_event_bytes=self.max_event_bytes, flush_at_end=True, single_newline=self.profile.single_newline_frames
        )
        reader.at_start = not self.begun  # later than that no BOM may come
        return reader

    def clean(self, payloads: list[bytes]) -> bytes:
        """A read of whole frames in the reference's framing; a run of plain chunks in it is checked in one call."""
        self.begun = True
        if self.reader is not None:
            self.reader.at_start = False
        out: list[bytes] = []
        at, count = 0, len(payloads)
        run_end = count - TAIL_FRAMES if payloads[-1] == DONE else count
        while at < count:
            if self.plain and self.content and run_end - at > 1:
                run = payloads[at:run_end]
                if not all_plain(run):
                    run_end = 0  # something else is among them: one by one
                else:
                    out.append(json_text.escape_line_separators(b"data: %b\n\n" % b"\n\ndata: ".join(run)))
                    self.events += len(run)
                    at = run_end
                    continue
            out.append(self.frame(payloads[at]))
            at += 1
        return b"".join(out)

    def settle(self) -> None:
        """May the next read, or the next frame, be passed after one look?"""
        state = self.choices.get(0)
        self.plain = (
            state is not None and state.role_sent and not state.finished and len(self.choices) == 1 and not self.ended
        )

    def frame(self, data: bytes, event: str = "") -> bytes:
        """What one frame's *data* sends on."""
        if self.ended or not data:
            return b""
        if data == DONE:
            return self.finish() if self.all_finished() else self.fail(TRUNCATED)
        if not event and b"\n" not in data:
            try:
                common = decode_common(data)
            except NOT_JSON:
                pass
            else:
                if self.take_common(common, data):
                    return b"data: %b\n\n" % json_text.escape_line_separators(data) if common.choices else b""
        try:
            chunk = json_text.decode_answer(data)
        except NOT_JSON:
            return self.fail(INVALID)
        if type(chunk) is not dict:
            return self.fail(INVALID)
        if chunk.get("error") or chunk.get("object") == "error" or event == "error":
            return self.fail(REPORTED)
        changed = b"\n" in data  # a multi-line frame is re-encoded on one line
        choices = chunk.get("choices")
        if choices is None:
            choices = chunk["choices"] = []
            changed = True
        if type(choices) is not list or not all(type(choice) is dict for choice in choices):
            return self.fail(INVALID)
        self.stream_id = self.stream_id or str(chunk.get("id") or "")
        if self.take_usage(chunk) and not choices:
            return b""
        prefix = b""
        for choice in choices:
            lead, touched = self.choice(choice, chunk)
            prefix += lead
            changed = changed or touched
            if self.is_over():
                return prefix
        self.events += 1
        self.settle()
        text = json_text.encode(chunk) if changed or self.rewritten else json_text.escape_line_separators(data)
        return prefix + b"data: " + text + b"\n\n"

    def take_common(self, chunk: CommonChunk, data: bytes) -> bool:
        """Note what a chunk of the reference's form says; False when it has to be mended all the same."""
        if not chunk.choices:
            usage = parse_usage(chunk.usage, self.profile)
            if usage is None or self.profile.usage_path != PLAIN_USAGE:
                return False
            self.usage, self.usage_data = usage, data
            return True
        choice = chunk.choices[0]
        delta = choice.delta
        state = self.choices.get(0)
        if chunk.usage is not None or bool(delta.role) == (state is not None and state.role_sent):
            return False  # usage to take out, a role too many or none at all
        if state is None:
            state = self.choices[0] = ChoiceState()
        elif choice.finish_reason == "stop" and state.slots.ids:
            return False
        state.role_sent = True
        self.stream_id = self.stream_id or chunk.id
        self.events += 1
        if choice.finish_reason is not None:
            state.finished = self.content = True
            self.finish_reason = choice.finish_reason
        elif delta.content or delta.reasoning_content or delta.reasoning:
            self.content = True
        self.settle()
        return True

    def take_usage(self, chunk: dict[str, Any]) -> bool:
        """Usage is accounted from wherever it stands and sent once, as a chunk of its own, at the end; False: none here."""
        self.rewritten = False
        raw = usage_at(chunk, self.profile.usage_path)
        usage = parse_usage(raw, self.profile)
        if usage is None:
            return False
        self.usage = usage
        if chunk["choices"]:
            rest = {key: value for key, value in chunk.items() if key not in ("choices", "usage", "x_groq")}
            self.usage_data = json_text.encode({**rest, "choices": [], "usage": raw})
            if self.include_usage:
                chunk["usage"] = None
            else:
                chunk.pop("usage", None)
            self.rewritten = True
        else:
            self.usage_data = json_text.encode({**chunk, "usage": raw})
        return True

    def choice(self, choice: dict[str, Any], chunk: dict[str, Any]) -> tuple[bytes, bool]:
        """Check and mend one choice in place: frames to send before it, and whether it was changed."""
        index = choice["index"] if type(choice.get("index")) is int else 0
        state = self.choices.get(index)
        if state is None:
            state = self.choices[index] = ChoiceState()
        delta = as_dict(choice.get("delta"))
        changed = choice.get("delta") is not delta or "finish_reason" not in choice or "index" not in choice
        choice["delta"] = delta
        choice.setdefault("finish_reason", None)
        choice.setdefault("index", index)
        lead = b""
        if delta.get("role"):
            if state.role_sent:
                del delta["role"]
                changed = True
        elif not state.role_sent:
            lead = self.role_chunk(chunk, index)
        state.role_sent = True
        changed |= self.mend_content(delta)
        if type(delta.get("tool_calls")) is list:
            mended = self.mend_tools(delta, state)
            if mended is None:
                return lead + self.fail(INVALID), changed
            changed |= mended
        reason = choice["finish_reason"]
        if type(reason) is not str or not reason:  # an empty reason is none, as in the decoder
            changed |= reason is not None
            reason = choice["finish_reason"] = None
        if reason is not None:
            if reason in FAILED_FINISHES:
                return lead + self.fail(REPORTED), changed
            if reason == "stop" and state.slots.ids:
                reason = choice["finish_reason"] = "tool_calls"
                changed = True
            state.finished = True
            self.content = True
            self.finish_reason = reason
        elif any(value for key, value in delta.items() if key != "role"):
            self.content = True
        return lead, changed

    def role_chunk(self, chunk: dict[str, Any], index: int) -> bytes:
        first = {**chunk, "choices": [{"index": index, "delta": {"role": "assistant", "content": ""},
                                       "finish_reason": None}]}  # fmt: skip
        first.pop("usage", None)
        return b"data: " + json_text.encode(first) + b"\n\n"

    def mend_content(self, delta: dict[str, Any]) -> bool:
        """Content as an array of parts (Mistral) becomes text and ``reasoning_content``."""
        content = delta.get("content")
        if type(content) is not list:
            return False
        pieces = list(content_pieces(content))
        delta["content"] = "".join(text for thinking, text in pieces if not thinking)
        thought = "".join(text for thinking, text in pieces if thinking)
        if thought:
            delta["reasoning_content"] = thought
        return True

    def mend_tools(self, delta: dict[str, Any], state: ChoiceState) -> bool | None:
        """Give fragments the index, id and text form they should have had; None if they are no fragments."""
        changed = False
        fragments = delta["tool_calls"]
        for position, raw in enumerate(fragments):
            fragment = state.slots.resolve(raw, self.stream_id)
            if fragment is None:
                return None
            function = as_dict(raw.get("function"))
            named = raw.get("type") == "function" if fragment.new else "name" not in function
            as_sent = (raw.get("index"), raw.get("id"), function.get("arguments", ""), named)
            as_due = (fragment.slot, fragment.id if fragment.new else None, fragment.arguments, True)
            if as_sent == as_due:
                continue
            changed = True
            mended = {**raw, "index": fragment.slot, "function": {**function, "arguments": fragment.arguments}}
            if fragment.new:
                mended.update(id=fragment.id, type="function")
            else:
                mended.pop("id", None)
                mended["function"].pop("name", None)
            fragments[position] = mended
        return changed

    def is_over(self) -> bool:
        return self.ended

    def all_finished(self) -> bool:
        if self.profile.ends_with == "eof":
            return bool(self.choices)
        return bool(self.choices) and all(state.finished for state in self.choices.values())

    def finish(self) -> bytes:
        self.ended = True
        self.content = True
        if self.include_usage and self.usage_data:
            return b"data: %b\n\n%b" % (json_text.escape_line_separators(self.usage_data), DONE_FRAME)
        return DONE_FRAME
