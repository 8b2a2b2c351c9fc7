"""Relays: what they say about their stream beside the bytes."""

from __future__ import annotations

import json

import pytest

from streamward.errors import ErrorInfo
from streamward.events import (
    Abort,
    Event,
    Finish,
    ReasoningEnd,
    ReasoningStart,
    Source,
    Start,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputStart,
    Usage,
    UsageUpdate,
)
from streamward.wire import chat_completions
from streamward.wire.dialect import Context, Profile
from streamward.wire.relay import Transcode
from streamward.wire.table import relay
from support.codec import encode

CONTEXT = Context(id="id_1", model="m", created=7)


class Script:
    """A decoder that gives one event of its script for each frame."""

    def __init__(self, events: list[Event]) -> None:
        self.events = events

    def feed(self, item: bytes) -> list[Event]:
        return [self.events.pop(0)]

    def close(self) -> list[Event]:
        return [Abort("script")]

    def fail(self, error: ErrorInfo) -> list[Event]:
        return []


class Bytes:
    """An encoder that gives the event's tag, and says when it is closed."""

    def feed(self, item: Event) -> list[bytes]:
        return [type(item).__name__.encode() + b" "]

    def close(self) -> list[bytes]:
        return [b"closed"]


def over(*events: Event) -> Transcode:
    return Transcode(Script(list(events)), Bytes())  # type: ignore[arg-type]


def test_content_begins_with_what_the_caller_sees():
    """Until then another target can be tried: starts, signs of life and empty parts are no content."""
    events = [Start(model="theirs"), UsageUpdate(Usage(1)), TextStart("0"), TextDelta("0", "a")]
    stage = over(*events)

    assert [(stage.feed(b"x"), stage.content)[1] for _ in events] == [False, False, False, True]
    assert (stage.upstream_model, stage.usage, stage.events) == ("theirs", Usage(1), 1)


def test_other_content():
    """A tool call, a source and opaque reasoning are seen too."""
    for event in (ToolInputStart("a", "f"), Source("s", url="u"), ReasoningEnd("r")):
        stage = over(Start(), ReasoningStart("r"), event)

        assert [(stage.feed(b"x"), stage.content)[1] for _ in range(3)] == [False, False, True]


def test_an_empty_answer_that_finished_is_one():
    """Nothing was shown, yet no other target may be asked."""
    stage = over(Finish("stop", Usage(1, 0)))

    assert stage.feed(b"x") == b"Finish closed"
    assert (stage.content, stage.ended, stage.finish_reason, stage.usage) == (True, True, "stop", Usage(1, 0))


def test_stopped():
    stage = over()

    assert stage.close() == b"Abort closed"
    assert (stage.ended, stage.error, stage.finish_reason) == (True, None, None)


def test_a_failure_from_outside():
    """Open parts are closed, the client is told once, usage so far is kept."""
    start = encode(chat_completions, [Start("s"), TextStart("0"), TextDelta("0", "a")])
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":5,"completion_tokens":1}}\n\n'
    stage = relay("chat_completions", "messages", Profile(), CONTEXT)
    stage.feed(start + usage)

    out = stage.fail(ErrorInfo("upstream_reset", "the connection broke", 502))

    assert out.count(b"event: error") == 1
    assert stage.error is not None
    assert (stage.error.code, stage.ended, stage.finish_reason) == ("upstream_reset", True, None)
    assert stage.usage is not None
    assert stage.usage.input_tokens == 5
    assert (stage.fail(stage.error), stage.close()) == (b"", b"")


def test_what_came_before_a_failure_in_the_same_read_is_sent():
    good = encode(chat_completions, [Start("s"), TextStart("0"), TextDelta("0", "kept")])
    stage = relay("chat_completions", "messages", Profile(), CONTEXT)

    out = stage.feed(good + b"data: <html>\n\n" + good)

    assert out.index(b"kept") < out.index(b"event: error")
    assert out.count(b"kept") == 1


def test_each_write_holds_whole_frames():
    """Whatever the reads were."""
    raw = encode(
        chat_completions, [Start("s"), TextStart("0"), *[TextDelta("0", "a\u00e9")] * 5, TextEnd("0"), Finish("stop")]
    )
    stage = relay("chat_completions", "messages", Profile(), CONTEXT)
    writes = [stage.feed(raw[at : at + 1]) for at in range(len(raw))]

    assert all(write.endswith(b"\n\n") for write in writes if write)
    assert sum(bool(write) for write in writes) < len(raw) / 50


def test_deltas_are_counted():
    """An estimate of output tokens where the provider states none; the byte path counts its chunks."""
    raw = encode(chat_completions, [Start("s"), TextStart("0"), *[TextDelta("0", "a")] * 7, TextEnd("0"), Finish("stop")])
    counts = []
    for client in ("messages", "chat_completions"):
        stage = relay("chat_completions", client, Profile(), CONTEXT)
        stage.feed(raw)
        counts.append(stage.events)

    assert counts[0] == 7
    assert 7 <= counts[1] <= 9  # with the role and the finish


def test_the_callers_model_name_is_shown():
    raw = encode(chat_completions, [Start("s", "theirs"), TextStart("0"), TextDelta("0", "a"), TextEnd("0"), Finish("stop")])
    stage = relay("chat_completions", "messages", Profile(), Context(id="id_1", model="asked-for", created=7))

    out = stage.feed(raw)

    first = json.loads(out.split(b"\n")[1].removeprefix(b"data: "))
    assert first["message"]["model"] == "asked-for"


# -- an emoji cut in two


HALVES = [
    b'{"role":"assistant","content":""}', rb'{"content":"Hello \ud83c"}', rb'{"content":"\udf0d, world"}',
]  # fmt: skip


def halves_read() -> bytes:
    """A chat stream of a server that counts in UTF-16 and cuts a pair, each half an escape of its own."""
    chunk = b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":%b,%b}]}\n\n'
    ends = chunk % (b"{}", b'"finish_reason":"stop"') + b"data: [DONE]\n\n"
    return b"".join(chunk % (delta, b'"finish_reason":null') for delta in HALVES) + ends


def test_halves_of_a_pair_pass_as_they_are_on_the_same_dialect():
    """JavaScript joins them; what we cannot decode we need not change."""
    stage = relay("chat_completions", "chat_completions", Profile(), CONTEXT)

    out = stage.feed(halves_read())

    assert rb'"content":"Hello \ud83c"' in out
    assert rb'"content":"\udf0d, world"' in out
    assert (stage.error, stage.finish_reason) == (None, "stop")


@pytest.mark.parametrize("client", ["responses", "messages"])
def test_halves_of_a_pair_are_joined_in_a_translated_stream(client: str):
    """The first waits for the second; alone they would be no text in UTF-8."""
    stage = relay("chat_completions", client, Profile(), CONTEXT)

    out = stage.feed(halves_read())

    assert (stage.error, stage.finish_reason) == (None, "stop")
    assert b'"Hello "' in out
    assert '"🌍, world"'.encode() in out


@pytest.mark.parametrize("delta", [rb'{"content":"plain"}', rb'{"content":"\ud83c"}', b"{}"])
def test_a_half_whose_other_one_never_comes_is_a_replacement(delta: bytes):
    stage = relay("chat_completions", "messages", Profile(), CONTEXT)
    second = rb'{"content":"\udf0d, world"}'

    out = stage.feed(halves_read().replace(second, delta))

    assert (stage.error, stage.finish_reason) == (None, "stop")
    assert "\ufffd".encode() in out
