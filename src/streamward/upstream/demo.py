"""Provider ``demo``: a simulated model that says so, for trying things without a key and for tests.

It answers in process, but as a provider would: Chat Completions bytes through the same relay as any upstream, with
faults on request. ``demo/chat?tokens=20&tps=100&seed=7`` gives the same text every time.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Iterator
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl

import msgspec
from msgspec import Meta, Struct

from streamward.call import Call, Text, ToolOutput
from streamward.dataplane.client import AnswerHead, Receiver, Timeouts
from streamward.errors import ErrorInfo, InvalidRequest, ModelNotFound, StreamwardError
from streamward.events import (
    Event,
    Finish,
    FinishReason,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
    Usage,
)
from streamward.reply import collect
from streamward.upstream.demo_script import LOREM, SPEECH, THOUGHTS, example_for
from streamward.wire import chat_completions, json_text
from streamward.wire.dialect import Context, Profile

MODELS = ("chat", "echo", "lorem", "reasoning", "tools", "json", "fail")
MAX_TOKENS = 100_000  # a demo that runs for hours is a mistake
MIN_TPS = 0.01  # so is one that says a word every few minutes
MAX_TPS = 1_000_000
MAX_TTFT_MS = 3_600_000
Count = Annotated[int, Meta(ge=0, le=MAX_TOKENS)]
PIECE = re.compile(r"\s*\S{1,8}")

NAMES = ("tokens", "tps", "ttft_ms", "fail_after", "fail_with", "finish", "seed")


class Options(Struct, frozen=True, forbid_unknown_fields=True):
    """What stands after ``?`` in a demo model's name."""

    tokens: Count | None = None
    """Length of the answer in tokens."""
    tps: float = 60.0
    """Tokens per second, from MIN_TPS to MAX_TPS; 0: as fast as possible."""
    ttft_ms: float = 120.0
    fail_after: Count | None = None
    """Tokens before ``fail_with`` strikes."""
    fail_with: Literal["error", "reset", "truncate", "stall"] = "error"
    finish: Literal["stop", "length", "content_filter", "tool_calls"] | None = None
    seed: Annotated[int, Meta(ge=-(1 << 31), lt=1 << 32)] = 0

    def __post_init__(self) -> None:
        if self.tps != 0 and not MIN_TPS <= self.tps <= MAX_TPS:  # NaN too
            raise ValueError(f"tps must be 0 or from {MIN_TPS} to {MAX_TPS}")
        if not 0 <= self.ttft_ms <= MAX_TTFT_MS:
            raise ValueError(f"ttft_ms must be from 0 to {MAX_TTFT_MS}")


def parse_model(model: str) -> tuple[str, Options]:
    """Kind and options of a demo model's name.

    Raises:
        ModelNotFound: no such demo model. InvalidRequest: an option that does not exist or has a wrong value.
    """
    kind, _, query = model.partition("?")
    if kind not in MODELS:
        names = ", ".join(f"demo/{name}" for name in MODELS)
        raise ModelNotFound(f"there is no model demo/{kind[:40]}; the demo models are {names}", param="model")
    try:
        options = msgspec.convert(dict(parse_qsl(query, keep_blank_values=True)), Options, strict=False)
    except msgspec.ValidationError as exc:
        raise InvalidRequest(f"demo model option: {exc}; known options: {', '.join(NAMES)}", param="model") from None
    if kind == "fail" and options.fail_after is None:
        options = msgspec.structs.replace(options, fail_after=3)
    return kind, options


class DemoUpstream:
    """The demo provider as an upstream."""

    name = "demo"
    dialect = "chat_completions"
    profile = Profile()
    secret = b""
    retries = 0

    def __init__(self, timeouts: Timeouts | None = None) -> None:
        self.timeouts = timeouts or Timeouts()

    def send(self, model: str, body: bytes, *, stream: bool, receiver: Receiver) -> DemoCall:
        call = DemoCall(receiver, self.timeouts)
        call.begin(model, body, stream=stream)
        return call


class DemoCall:
    """One simulated answer. Each token is a timer; nothing runs while paused or after ``cancel``."""

    def __init__(self, receiver: Receiver, timeouts: Timeouts) -> None:
        self.receiver = receiver
        self.timeouts = timeouts
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.Handle | None = None
        self.frames: Iterator[bytes] = iter(())
        self.done = False
        self.paused = False
        self.opened = False
        self.sent = 0
        self.due = 0.0

    def begin(self, model: str, body: bytes, *, stream: bool) -> None:
        try:
            kind, self.options = parse_model(model)
            call = chat_completions.parse_request(json_text.decode_object(body))
        except StreamwardError as exc:
            self.timer = self.loop.call_soon(self.refuse, exc.info)
            return
        wait = self.options.ttft_ms / 1000
        if stream:
            self.frames = encoded(kind, call, self.options)
            self.timer = self.loop.call_later(wait, self.open)
        else:
            self.timer = self.loop.call_later(wait, self.whole, kind, call)

    def refuse(self, error: ErrorInfo) -> None:
        """Not as a provider's answer, whose words are not passed on: these are ours, and name the field."""
        self.done = True
        self.receiver.failed(error)

    def answer(self, status: int, body: bytes) -> None:
        self.done = True
        self.receiver.head_received(AnswerHead(status, {"content-type": "application/json"}))
        self.receiver.data_received(body)
        self.receiver.ended()

    def whole(self, kind: str, call: Call) -> None:
        if self.options.fail_after is not None:
            self.strike(streaming=False)
            return
        reply = collect(script(kind, call, self.options))
        self.answer(200, json_text.encode(chat_completions.render_reply(reply, context(call, self.options))))

    def open(self) -> None:
        if self.options.fail_after == 0 and self.options.fail_with in ("error", "reset"):
            self.strike(streaming=False)
            return
        self.receiver.head_received(AnswerHead(200, {"content-type": "text/event-stream"}))
        self.opened = True
        self.due = self.loop.time()
        self.step()

    def step(self) -> None:
        """Send what is due: one token, or everything up to the end when there is no pace."""
        self.timer = None
        while not self.done and not self.paused:
            if self.options.fail_after is not None and self.sent >= self.options.fail_after + 1:  # the role chunk is first
                self.strike(streaming=True)
                return
            frame = next(self.frames, None)
            if frame is None:
                self.done = True
                self.receiver.ended()
                return
            self.sent += 1
            self.receiver.data_received(frame)
            if self.options.tps:
                self.due += 1 / self.options.tps
                if not self.done and not self.paused:
                    self.timer = self.loop.call_at(self.due, self.step)
                return
            if self.sent % FLAT_OUT_BURST == 0:
                self.timer = self.loop.call_soon(self.step)
                return

    def strike(self, *, streaming: bool) -> None:
        """The asked-for fault."""
        how = self.options.fail_with
        if how == "stall":
            self.timer = self.loop.call_later(self.timeouts.idle or 3600, self.stalled)
            return
        self.done = True
        if how == "reset":
            self.receiver.failed(ErrorInfo("upstream_reset", "demo: the connection was reset, as asked", 502))
        elif how == "truncate" and streaming:
            self.receiver.ended()
        elif streaming:
            self.receiver.data_received(b'data: {"error":{"message":"demo failure","type":"server_error"}}\n\n')
            self.receiver.ended()
        else:
            self.done = False
            self.answer(500, b'{"error":{"message":"demo failure, as asked","type":"server_error","code":null}}')

    def stalled(self) -> None:
        self.done = True
        self.receiver.failed(ErrorInfo("upstream_timeout", "demo: the model fell silent, as asked", 504))

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        if self.paused:
            self.paused = False
            if self.timer is None and not self.done and self.opened:
                self.due = self.loop.time()
                self.timer = self.loop.call_soon(self.step)

    def let_go(self) -> None:
        self.cancel()

    def cancel(self) -> None:
        self.done = True
        if self.timer is not None:
            self.timer.cancel()


FLAT_OUT_BURST = 32
"""Tokens sent without giving the event loop to others when a demo has no pace."""


def context(call: Call, options: Options) -> Context:
    """Ids follow from the call and the seed, so that a seeded demo is the same to the last byte but its time."""
    digest = hashlib.sha256(msgspec.json.encode((call, options.seed))).hexdigest()[:24]
    return Context(id=f"chatcmpl-demo-{digest}", model=f"demo/{call.model}", created=int(time.time()), include_usage=True)


def encoded(kind: str, call: Call, options: Options) -> Iterator[bytes]:
    encoder = chat_completions.Encoder(context(call, options))
    for event in script(kind, call, options):
        frames = encoder.feed(event)
        if frames:
            yield b"".join(frames)


def script(kind: str, call: Call, options: Options) -> Iterator[Event]:
    """The events of the answer."""
    yield Start(model=call.model)
    spoken = 0
    reasoned = 0
    reason: FinishReason = "stop"
    if kind == "reasoning":
        yield ReasoningStart("reasoning-0")
        for piece in pieces(THOUGHTS):
            reasoned += 1
            yield ReasoningDelta("reasoning-0", piece)
        yield ReasoningEnd("reasoning-0")
    results = last_results(call)
    if kind == "tools" and call.tools and not results:
        tool = call.tools[0]
        arguments = json_text.encode(example_for(tool.schema or {}, options.seed)).decode()
        call_id = "call_demo_" + hashlib.sha256(arguments.encode()).hexdigest()[:12]
        yield ToolInputStart(call_id, tool.name)
        for start in range(0, len(arguments), 6):
            spoken += 1
            yield ToolInputDelta(call_id, arguments[start : start + 6])
        yield ToolInputEnd(call_id)
        reason = "tool-calls"
    else:
        yield TextStart("text-0")
        for piece in words(kind, call, options, results):
            if spoken == (MAX_TOKENS if options.tokens is None else options.tokens):
                break
            if spoken == (call.max_output_tokens or MAX_TOKENS):
                reason = "length"
                break
            spoken += 1
            yield TextDelta("text-0", piece)
        yield TextEnd("text-0")
    forced: dict[str, FinishReason] = {"tool_calls": "tool-calls", "content_filter": "content-filter"}
    if options.finish is not None:
        reason = forced.get(options.finish) or options.finish  # type: ignore[assignment]
    asked = sum(len(pieces(text_of(message.parts))) for message in call.messages)
    yield Finish(reason, Usage(asked, spoken + reasoned, cached_input_tokens=0, reasoning_tokens=reasoned))


def words(kind: str, call: Call, options: Options, results: str) -> Iterator[str]:
    """The answer's text in tokens; endless where a length was asked for."""
    if kind == "json" or (call.output is not None and call.output.kind != "text"):
        schema = (call.output.schema if call.output else None) or {}
        yield from pieces(json_text.encode(example_for(schema, options.seed)).decode())
        return
    asked = last_text(call)
    if kind == "echo":
        text = asked
    elif kind == "tools":
        text = f"The tool answered: {results}" if results else "This demo model calls the first of your tools; you sent none."
    elif kind == "lorem":
        text = LOREM
    else:
        text = speech(asked, options.seed)
    yield from pieces(text)
    while options.tokens is not None and kind != "echo":
        yield from pieces(" " + LOREM)


def speech(asked: str, seed: int) -> str:
    lowered = asked.lower()
    for keywords, answer in SPEECH[1:]:
        if any(word in lowered for word in keywords):
            return answer
    answers = SPEECH[0][1].split("\n---\n")
    return answers[seed % len(answers)]


def pieces(text: str) -> list[str]:
    """Text cut the way tokens are: about a word each, spaces in front, nothing lost."""
    found = PIECE.findall(text)
    rest = text[sum(map(len, found)) :]
    return [*found, rest] if rest else found


def text_of(parts: tuple[Any, ...]) -> str:
    return " ".join(part.text for part in parts if isinstance(part, Text))


def last_text(call: Call) -> str:
    """What the user said last."""
    return next((text_of(message.parts) for message in reversed(call.messages) if message.role == "user"), "")


def last_results(call: Call) -> str:
    """Tool results that end the conversation, as text."""
    if not call.messages or call.messages[-1].role != "tool":
        return ""
    outputs = (part.output for part in call.messages[-1].parts if isinstance(part, ToolOutput))
    return " ".join(out if isinstance(out, str) else text_of(out) for out in outputs) or "(nothing)"
