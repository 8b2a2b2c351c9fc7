"""Linting one capture: every rule of its framing, its dialect, the event grammar, its head and its timing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal, get_args

from msgspec import Struct

from streamward.events import Error, Event, Finish, is_content
from streamward.grammar import Checker
from streamward.wire import data_stream
from streamward.wire.dialect import Profile
from streamward.wire.lint import framing, timing
from streamward.wire.lint.capture import Capture
from streamward.wire.lint.chat import ChatRules
from streamward.wire.lint.finding import Finding, Report, Rule, RuleSet, shown
from streamward.wire.lint.messages import MessagesRules
from streamward.wire.lint.responses import ResponsesRules
from streamward.wire.lint.single import GeminiRules, OllamaRules
from streamward.wire.lint.ui import DataRules, UiRules
from streamward.wire.lint.values import parsed
from streamward.wire.ndjson import Reader as LineReader
from streamward.wire.sse import Frame
from streamward.wire.sse import Reader as SseReader
from streamward.wire.table import DIALECTS
from streamward.wire.table import dialect as dialect_module

DialectName = Literal[
    "chat_completions", "responses", "messages", "ui_message", "data_stream", "generate_content", "ollama", "sse"
]
NAMES: tuple[str, ...] = get_args(DialectName)

RULE_SETS: dict[str, Callable[[], RuleSet]] = {
    "chat_completions": ChatRules, "responses": ResponsesRules, "messages": MessagesRules, "ui_message": UiRules,
    "data_stream": DataRules, "generate_content": GeminiRules, "ollama": OllamaRules,
}  # fmt: skip

HEAD_RULES = (
    Rule("head-status", "the answer is 200"),
    Rule("head-content-type", "the content type is that of the dialect"),
    Rule("head-no-encoding", "no content encoding: compressors hold frames back"),
    Rule("head-no-length", "no content-length on a stream", "warning"),
    Rule("head-no-buffering", "cache-control has no-transform, x-accel-buffering is no: proxies pass frames on", "warning"),
    Rule("head-protocol", "the header that names the protocol is there (AI SDK)"),
    Rule("body-complete", "the body ends as HTTP wants it, not by a reset or a timeout"),
)
GRAMMAR_RULES = (
    Rule("grammar", "decoded to events, the stream is start, parts, one terminal event"),
    Rule("decodes", "every frame is understood"),
)
PROTOCOL_HEADERS = {"ui_message": "x-vercel-ai-ui-message-stream", "data_stream": "x-vercel-ai-data-stream"}
MEDIA_TYPES = {"data_stream": "text/plain", "ollama": "application/x-ndjson"}


class Linted(Struct, frozen=True):
    """What a linted stream is like."""

    dialect: str
    report: Report
    frames: int
    timing: timing.Timing | None
    ending: str
    """How the stream says it ended, in a word or two."""


def detect(capture: Capture) -> DialectName:
    """The dialect of a capture by its head and its first frames; ``sse`` when only the framing is known."""
    if capture.dialect in NAMES:
        return capture.dialect  # type: ignore[return-value] # checked just now
    headers = capture.headers
    for name, header in PROTOCOL_HEADERS.items():
        if header in headers:
            return name  # type: ignore[return-value] # a key of the table above
    body = capture.body[: 64 << 10]
    if "ndjson" in headers.get("content-type", ""):
        return "ollama"
    first = body.lstrip(b"\n").split(b"\n", 1)[0]
    if first[1:2] == b":" and first[:1] in b"0123456789abcdefghijk":
        return "data_stream"
    if first.startswith(b"{"):
        return "ollama"
    for frame in SseReader(flush_at_end=True).feed(body):
        value = parsed(frame.data)
        if isinstance(value, dict):
            return by_frame(value)
    return "sse"


def by_frame(value: dict[str, object]) -> DialectName:
    kind = value.get("type")
    if value.get("object") == "chat.completion.chunk" or "choices" in value:
        return "chat_completions"
    if "candidates" in value or "usageMetadata" in value or "promptFeedback" in value:
        return "generate_content"
    if isinstance(kind, str):
        if kind.startswith("response.") or "sequence_number" in value:
            return "responses"
        return "messages" if kind.startswith(("message_", "content_block", "ping")) else "ui_message"
    return "chat_completions" if "error" in value else "sse"


def lint(capture: Capture, dialect: str | None = None, *, pace_s: float = 0.0) -> Linted:
    """Look at every rule. *pace_s* is the time between two deltas as sent, where the sender states it."""
    name = dialect or detect(capture)
    report = Report()
    report.watch(HEAD_RULES)
    report.add(check_head(capture, name))
    reads = [read.data for read in capture.reads]
    lines = name in ("ollama", "data_stream")
    if not lines:
        report.watch(framing.RULES)
        report.add(framing.check_framing(capture.body))
        report.add(framing.check_reads(reads))
    rules = RULE_SETS[name]() if name in RULE_SETS else None
    if rules is not None:
        report.watch(rules.rules)
    understood = Understood(name)
    if understood.decoder is not None:
        report.watch(GRAMMAR_RULES)
    arrivals: list[float] = []
    number = 0
    for at_s, frame in frames_of(capture, name):
        if rules is not None:
            report.add(rules.feed(number, frame))
        if understood.feed(frame):
            arrivals.append(at_s)
        number += 1
    if name == "data_stream" and capture.body and not capture.body.endswith(b"\n"):
        rest = capture.body.rpartition(b"\n")[2]
        report.add([Finding("data-last-line", f"the body ends inside {shown(rest)}", number)])
    if rules is not None:
        report.add(rules.close(cut=capture.ending != "complete"))
    report.add(understood.close())
    report.watch(timing.RULES)
    report.add(timing.check_timing(arrivals, pace_s=pace_s))
    return Linted(name, report, number, timing.measure(arrivals), understood.ending)


def check_head(capture: Capture, dialect: str) -> Iterator[Finding]:
    headers = capture.headers
    if capture.status != 200:
        yield Finding("head-status", f"it is {capture.status}")
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    wanted = MEDIA_TYPES.get(dialect, "text/event-stream")
    if headers and kind != wanted:
        yield Finding("head-content-type", f"{kind or 'none'} instead of {wanted}")
    if headers.get("content-encoding", "identity") != "identity":
        yield Finding("head-no-encoding", headers["content-encoding"])
    if "content-length" in headers:
        yield Finding("head-no-length", f"content-length: {headers['content-length']}")
    if headers and "no-transform" not in headers.get("cache-control", ""):
        yield Finding("head-no-buffering", f"cache-control: {headers.get('cache-control', 'none')}")
    # nginx acts on this header and takes it out: behind one its absence says nothing.
    behind_nginx = headers.get("server", "").startswith(("nginx", "openresty"))
    if headers and not behind_nginx and headers.get("x-accel-buffering", "") != "no":
        yield Finding("head-no-buffering", f"x-accel-buffering: {headers.get('x-accel-buffering', 'none')}")
    needed = PROTOCOL_HEADERS.get(dialect)
    if headers and needed is not None and headers.get(needed) != "v1":
        yield Finding("head-protocol", f"{needed}: {headers.get(needed, 'none')}")
    if capture.ending != "complete":
        yield Finding("body-complete", f"{capture.ending}: {capture.error}" if capture.error else capture.ending)


def frames_of(capture: Capture, dialect: str) -> Iterator[tuple[float, Frame]]:
    """The frames with the arrival of their last byte."""
    if dialect == "data_stream":
        lines = data_stream.Lines()
        for read in capture.reads:
            for text in lines.feed(read.data):
                yield read.at_s, Frame(text.encode())
        return
    reader = LineReader() if dialect == "ollama" else SseReader(flush_at_end=True)
    for read in capture.reads:
        for frame in reader.feed(read.data):
            yield read.at_s, frame
    for frame in reader.close():
        yield capture.ended_at_s, frame


class Understood:
    """The stream as our own decoder takes it: which frames bring content, the grammar, the ending."""

    def __init__(self, dialect: str) -> None:
        self.dialect = dialect
        self.decoder = dialect_module(dialect).Decoder(Profile(ends_with="finish")) if dialect in DIALECTS else None
        self.checker = Checker()
        self.problems: list[Finding] = []
        self.terminal: Event | None = None
        self.said: str = ""
        self.number = 0

    def feed(self, frame: Frame) -> bool:
        """True when *frame* brings content."""
        number, self.number = self.number, self.number + 1
        if self.decoder is None:
            return self.brings_content(frame)
        events = self.decoder.feed(frame)
        self.check(events, number)
        return any(is_content(event) for event in events)

    def brings_content(self, frame: Frame) -> bool:
        if self.dialect == "data_stream":
            if frame.data[:2] in (b"d:", b"3:"):
                self.said = "finished" if frame.data[:1] == b"d" else "failed"
            return frame.data[:2] in (b"0:", b"g:", b"c:")
        value = parsed(frame.data)
        kind = value.get("type") if isinstance(value, dict) else None
        if kind in ("finish", "error", "abort"):
            self.said = {"finish": "finished", "error": "failed", "abort": "aborted"}[str(kind)]
        return isinstance(kind, str) and kind.endswith("-delta") if self.dialect == "ui_message" else bool(frame.data)

    def check(self, events: list[Event], number: int | None) -> None:
        for event in events:
            self.problems.extend(Finding("grammar", problem, number) for problem in self.checker.feed(event))
            if isinstance(event, (Finish, Error)):
                self.terminal = event
            if isinstance(event, Error) and event.error.code == "upstream_invalid":
                self.problems.append(Finding("decodes", event.error.message, number))

    def close(self) -> list[Finding]:
        if self.decoder is not None:
            self.check(self.decoder.close(), None)
            self.problems.extend(Finding("grammar", problem) for problem in self.checker.close())
        return self.problems

    @property
    def ending(self) -> str:
        if isinstance(self.terminal, Finish):
            return f"finished ({self.terminal.reason})"
        if isinstance(self.terminal, Error):
            return "truncated" if self.terminal.error.code == "stream_truncated" else f"failed ({self.terminal.error.code})"
        return self.said or ("unknown" if self.dialect == "sse" else "truncated")
