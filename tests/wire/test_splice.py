"""One answer from several targets: the events of both legs as one stream, in every dialect."""

from __future__ import annotations

from typing import Any

import pytest

from matrix.render import meaning
from streamward.call import Call, Message, Output, Text
from streamward.errors import ErrorInfo
from streamward.events import (
    Error,
    Event,
    Finish,
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
from streamward.grammar import violations
from streamward.wire.dialect import Context
from streamward.wire.lint import Capture, Read, lint
from streamward.wire.splice import INSTRUCTION, MAX_CONTINUATIONS, Splice
from streamward.wire.table import dialect

RESET = ErrorInfo("upstream_reset", "the connection broke", 502)
CALL = Call("m", (Message("user", (Text("Tell."),)),), max_output_tokens=100, stream=True)
CLIENTS = ("chat_completions", "responses", "messages")
USAGE = Usage(input_tokens=30, output_tokens=9)


class Script:
    """A decoder that gives events as they are fed, and breaks as real ones do: open parts are closed first."""

    def __init__(self, events: list[Event]) -> None:
        self.events = list(events)
        self.open: list[Event] = []

    def feed(self, item: bytes) -> list[Event]:
        """*item* is how many events come in this read."""
        count = int(item)
        out, self.events = self.events[:count], self.events[count:]
        return out

    def close(self) -> list[Event]:
        return self.fail(ErrorInfo("stream_truncated", "cut", 502))

    def fail(self, error: ErrorInfo) -> list[Event]:
        return [Error(error)]


class Watching:
    """An encoder in front of another one that keeps the events."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner
        self.events: list[Event] = []

    def feed(self, item: Event) -> list[bytes]:
        self.events.append(item)
        return self.inner.feed(item)

    def close(self) -> list[bytes]:
        return self.inner.close()


def text(part: str, *deltas: str, end: bool = True) -> list[Event]:
    return [TextStart(part), *(TextDelta(part, delta) for delta in deltas), *([TextEnd(part)] if end else [])]


def spliced(client: str, first: list[Event], *, call: Call = CALL) -> tuple[Splice, Watching, bytes]:
    encoder = Watching(dialect(client).Encoder(Context(id="7", model="m", created=1, call=call)))
    splice = Splice(Script(first), encoder, call)  # type: ignore[arg-type] # all a splice asks of it
    return splice, encoder, splice.feed(b"99") + splice.fail(RESET)


def joined(splice: Splice, second: list[Event]) -> bytes:
    splice.wait()
    splice.join(Script(second), b": seam\n\n")  # type: ignore[arg-type]
    return splice.feed(b"1") + splice.feed(b"99")


@pytest.mark.parametrize("client", CLIENTS)
def test_two_legs_are_one_stream(client: str):
    """The repeated end is left out, ids do not clash, usage is the sum, the rules of the dialect hold."""
    first = [Start("a"), *text("t", "Once upon a ", "time there was ", end=False)]
    second = [Start("b"), *text("t", "time there", " was a fox.", " It ran."), Finish("stop", USAGE)]
    splice, encoder, out = spliced(client, first)
    assert (splice.broken, splice.ended, b"failed" in out) == (RESET, True, False)

    out += joined(splice, second)

    said = meaning(client, out)
    assert (said.text, said.finish, said.error) == ("Once upon a time there was a fox. It ran.", "stop", None)
    assert violations(encoder.events) == []
    assert said.usage == (30, 9 + 2)  # of the first leg only the two deltas are known
    assert splice.estimated
    assert out.count(b": seam\n\n") == 1
    results = lint(Capture(dialect=client, reads=[Read(0.0, out)]), client).report.results.values()
    assert [finding for result in results if result.severity == "error" for finding in result.findings] == []


def test_the_next_target_is_asked_with_the_partial_answer():
    splice, _, _ = spliced("messages", [Start("a"), *text("t", "Once ", "upon", end=False)])
    splice.wait()
    call = splice.continued()

    assert call.messages == (
        *CALL.messages, Message("assistant", (Text("Once upon"),)), Message("user", (Text(INSTRUCTION),)),
    )  # fmt: skip
    assert call.max_output_tokens == 98


@pytest.mark.parametrize("client", CLIENTS)
def test_a_break_in_reasoning_begins_anew(client: str):
    """There is no text to go on from: the call is made again, its reasoning is a part of its own."""
    first = [Start("a"), ReasoningStart("r"), ReasoningDelta("r", "Hm.")]
    second = [
        Start("b"), ReasoningStart("r"), ReasoningDelta("r", "Well."), ReasoningEnd("r"),
        *text("t", "Yes."), Finish("stop", USAGE),
    ]  # fmt: skip
    splice, encoder, out = spliced(client, first)
    assert splice.continued().messages == CALL.messages
    out += joined(splice, second)

    assert (meaning(client, out).reasoning, meaning(client, out).text) == ("Hm.Well.", "Yes.")
    assert violations(encoder.events) == []


def test_second_thoughts_about_a_text_under_way_are_not_shown():
    second = [
        Start("b"),
        ReasoningStart("r"),
        ReasoningDelta("r", "Go on."),
        ReasoningEnd("r"),
        *text("t", "upon"),
        Finish("stop"),
    ]
    splice, encoder, out = spliced("chat_completions", [Start("a"), *text("t", "Once ", end=False)])
    out += joined(splice, second)

    assert (meaning("chat_completions", out).text, meaning("chat_completions", out).reasoning) == ("Once upon", "")
    assert violations(encoder.events) == []


@pytest.mark.parametrize("client", CLIENTS)
def test_the_next_target_may_call_a_tool(client: str):
    second = [
        Start("b"), *text("t", "Let me look."), ToolInputStart("c1", "look"), ToolInputDelta("c1", "{}"), ToolInputEnd("c1"),
        Finish("tool-calls", USAGE),
    ]  # fmt: skip
    splice, encoder, out = spliced(client, [Start("a"), *text("t", "Hm. ", end=False)])
    out += joined(splice, second)

    assert meaning(client, out).tools == (("c1", "look", "{}"),)
    assert violations(encoder.events) == []
    assert not splice.can_continue()


REFUSED = {
    "inside tool arguments": ([ToolInputStart("c", "look"), ToolInputDelta("c", '{"a')], CALL),
    "after a tool call": ([ToolInputStart("c", "look"), ToolInputEnd("c"), *text("t", "so", end=False)], CALL),
    "structured output": (text("t", '{"a":', end=False), Call("m", CALL.messages, output=Output("json"), stream=True)),
    "several choices": (text("t", "a", end=False), Call("m", CALL.messages, choices=2, stream=True)),
}


@pytest.mark.parametrize("case", REFUSED)
def test_where_nobody_can_go_on_the_break_is_told(case: str):
    events, call = REFUSED[case]
    splice, encoder, out = spliced("chat_completions", [Start("a"), *events], call=call)

    assert (splice.broken, splice.ended, splice.error) == (None, True, RESET)
    assert meaning("chat_completions", out).error == "upstream_error"
    assert violations(encoder.events) == []


def test_what_the_call_did_wrong_is_told_too():
    splice, _, _ = spliced(
        "chat_completions", [Start("a"), *text("t", "a", end=False), Error(ErrorInfo("invalid_request", "x", 400))]
    )

    assert (splice.broken, splice.ended) == (None, True)


def test_an_answer_begun_anew_is_not_glued_on():
    said = "The quick brown fox jumps over the lazy dog"
    splice, encoder, out = spliced("chat_completions", [Start("a"), *text("t", said, end=False)])
    out += joined(splice, [Start("b"), *text("t", "The quick brown fox jumps and runs away"), Finish("stop")])

    assert meaning("chat_completions", out).text == said
    assert meaning("chat_completions", out).error is not None
    assert violations(encoder.events) == []


def test_a_try_that_says_nothing_is_no_leg():
    """It failed before its first token: the one after it is joined in its place."""
    splice, encoder, out = spliced("chat_completions", [Start("a"), *text("t", "One ", end=False)])
    splice.wait()
    splice.join(Script([Start("b"), TextStart("t")]), b": seam\n\n")  # type: ignore[arg-type]
    out += splice.feed(b"99") + splice.fail(RESET)
    assert (splice.leg_shown, splice.error) == (False, RESET)
    out += joined(splice, [Start("c"), *text("t", "two."), Finish("stop", USAGE)])

    assert (meaning("chat_completions", out).text, splice.leg) == ("One two.", 2)
    assert violations(encoder.events) == []


def test_continuations_are_bounded():
    splice, encoder, out = spliced("chat_completions", [Start("a"), *text("t", "0 ", end=False)])
    for number in range(1, MAX_CONTINUATIONS + 1):
        assert splice.broken is not None
        out += joined(splice, [Start("b"), *text("t", f"{number} ", end=False)]) + splice.fail(RESET)

    assert (splice.broken, splice.error, splice.leg) == (None, RESET, MAX_CONTINUATIONS + 1)
    assert meaning("chat_completions", out).text == "0 1 2 "
    assert violations(encoder.events) == []


def test_a_break_can_be_given_out_after_all():
    splice, encoder, out = spliced("responses", [Start("a"), *text("t", "One ", end=False)])
    splice.wait()
    out += splice.give_out(RESET)

    assert (splice.ended, splice.error, meaning("responses", out).text) == (True, RESET, "One ")
    assert b"response.failed" in out
    assert violations(encoder.events) == []
