"""Provider ``demo``: a script that answers as a provider would, with faults on request, on a clock of the test's own."""

from __future__ import annotations

import asyncio
import heapq
import json
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from streamward.dataplane.client import AnswerHead, Timeouts
from streamward.errors import ErrorInfo, InvalidRequest, ModelNotFound
from streamward.reply import Reply, collect
from streamward.upstream.demo import MAX_TOKENS, MODELS, DemoCall, DemoUpstream, parse_model, pieces
from streamward.upstream.demo_script import MAX_NODES, example_for
from streamward.wire import chat_completions
from support.codec import REFERENCE, decode


class Handle:
    def __init__(self, what: Callable[[], None]) -> None:
        self.what: Callable[[], None] | None = what

    def cancel(self) -> None:
        self.what = None


class Clock:
    """An event loop's timers, run by hand."""

    def __init__(self) -> None:
        self.now = 0.0
        self.count = 0
        self.due: list[tuple[float, int, Handle]] = []

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, what: Callable[..., None], *args: Any) -> Handle:
        handle = Handle(lambda: what(*args))
        self.count += 1
        heapq.heappush(self.due, (max(when, self.now), self.count, handle))
        return handle

    def call_later(self, delay: float, what: Callable[..., None], *args: Any) -> Handle:
        return self.call_at(self.now + delay, what, *args)

    def call_soon(self, what: Callable[..., None], *args: Any) -> Handle:
        return self.call_at(self.now, what, *args)

    def run(self, until: float = 1e9) -> None:
        """Everything due up to *until*."""
        while self.due and self.due[0][0] <= until:
            self.now, _, handle = heapq.heappop(self.due)
            if handle.what is not None:
                handle.what()
        self.now = max(self.now, until) if until < 1e9 else self.now


class Answer:
    """A receiver that keeps what it gets, and when."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.head: AnswerHead | None = None
        self.reads: list[bytes] = []
        self.times: list[float] = []
        self.over = False
        self.error: ErrorInfo | None = None

    def head_received(self, head: AnswerHead) -> None:
        assert self.head is None
        self.head = head

    def data_received(self, data: bytes) -> None:
        assert not self.over
        self.reads.append(data)
        self.times.append(self.clock.now)

    def ended(self) -> None:
        assert not self.over
        self.over = True

    def failed(self, error: ErrorInfo) -> None:
        self.ended()
        self.error = error

    @property
    def body(self) -> bytes:
        return b"".join(self.reads)

    @property
    def reply(self) -> Reply:
        return collect(decode(chat_completions, self.body))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(asyncio, "get_running_loop", lambda: clock)
    return clock


def start(clock: Clock, model: str, *, stream: bool = True, **fields: Any) -> tuple[DemoCall, Answer]:
    answer = Answer(clock)
    body = {"model": model, "messages": [{"role": "user", "content": "Tell me"}], **fields}
    return DemoUpstream(Timeouts(idle=30)).send(model, json.dumps(body).encode(), stream=stream, receiver=answer), answer


def ask(clock: Clock, model: str, *, stream: bool = True, **fields: Any) -> Answer:
    _, answer = start(clock, model, stream=stream, **fields)
    clock.run()
    assert answer.over
    return answer


TOOL = {"type": "function", "function": {"name": "weather", "parameters": {
    "type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}}}}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in MODELS if kind != "fail"])
@pytest.mark.parametrize("stream", [True, False])
def test_every_model_answers(clock: Clock, kind: str, stream: bool):
    """Streamed and not: the same text, and usage that adds up."""
    answer = ask(clock, kind, stream=stream)
    reply = answer.reply if stream else chat_completions.parse_reply(json.loads(answer.body), REFERENCE)

    assert answer.head is not None
    assert answer.head.status == 200
    assert answer.head.headers["content-type"] == ("text/event-stream" if stream else "application/json")
    assert (reply.finish_reason, bool(reply.text)) == ("stop", True)
    assert reply.usage is not None
    assert reply.usage.output_tokens
    assert reply.model == f"demo/{kind}"


@pytest.mark.parametrize("model", ["chat?seed=3", "lorem?tokens=20&tps=100&seed=7", "reasoning", "json?seed=1"])
def test_a_seed_gives_the_same_answer(clock: Clock, model: str):
    first, second = (replace(ask(clock, model).reply, created=0) for _ in range(2))

    assert first == second
    assert first.id.startswith("chatcmpl-demo-")


def test_it_says_what_it_is(clock: Clock):
    assert "simulated" in ask(clock, "chat").reply.text or "script" in ask(clock, "chat").reply.text


def test_length(clock: Clock):
    """As many tokens as asked for; the caller's own limit ends it as a length."""
    asked, limited = ask(clock, "lorem?tokens=30&tps=0").reply, ask(clock, "lorem?tokens=30&tps=0", max_tokens=4).reply

    assert asked.usage is not None
    assert limited.usage is not None
    assert (asked.usage.output_tokens, asked.finish_reason) == (30, "stop")
    assert (limited.usage.output_tokens, limited.finish_reason) == (4, "length")


def test_an_answer_of_no_tokens(clock: Clock):
    assert ask(clock, "lorem?tokens=0&tps=0").reply.text == ""


def test_pace(clock: Clock):
    """The first token after ttft_ms, then one each 1/tps."""
    answer = ask(clock, "lorem?tokens=4&tps=10&ttft_ms=500")

    steps = [round(later - earlier, 6) for earlier, later in pairwise(answer.times)]
    assert answer.times[0] == 0.5
    assert set(steps) == {0.1}


def test_flat_out_gives_the_loop_back(clock: Clock):
    """Nothing waits, but others get their turn."""
    ask(clock, "lorem?tokens=500&tps=0&ttft_ms=0")

    assert clock.now == 0
    assert clock.count > 10


def test_echo_loses_nothing(clock: Clock):
    text = "  two  spaces,\n a line\u00e9nd and averyverylongword \n"

    assert ask(clock, "echo?tps=0", messages=[{"role": "user", "content": text}]).reply.text == text


@given(text=st.text())
def test_pieces_lose_nothing(text: str):
    assert "".join(pieces(text)) == text


def test_reasoning_comes_first_and_is_counted(clock: Clock):
    reply = ask(clock, "reasoning?tps=0").reply

    assert [type(block).__name__ for block in reply.blocks] == ["ReasoningBlock", "TextBlock"]
    assert reply.usage is not None
    assert 0 < (reply.usage.reasoning_tokens or 0) < (reply.usage.output_tokens or 0)


def test_tools(clock: Clock):
    """It calls the caller's first tool with arguments of the right types, then says what it got."""
    call = ask(clock, "tools?tps=0", tools=[TOOL]).reply
    (block,) = call.tool_calls
    arguments = json.loads(block.input)
    result = {"role": "tool", "tool_call_id": block.id, "content": "sunny"}
    called = {"role": "assistant", "tool_calls": [
        {"id": block.id, "type": "function", "function": {"name": "weather", "arguments": block.input}}]}  # fmt: skip
    after = ask(clock, "tools?tps=0", tools=[TOOL], messages=[{"role": "user", "content": "?"}, called, result]).reply

    assert (block.name, call.finish_reason) == ("weather", "tool-calls")
    assert (type(arguments["city"]), type(arguments["days"])) == (str, int)
    assert ("sunny" in after.text, after.finish_reason) == (True, "stop")


def test_json_fits_the_schema(clock: Clock):
    schema = {"type": "object", "properties": {"ok": {"type": "boolean"}, "kind": {"enum": ["a", "b"]}}}

    reply = ask(
        clock, "json?tps=0", response_format={"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
    ).reply

    assert set(json.loads(reply.text)) == {"ok", "kind"}


@pytest.mark.parametrize("word", ["stop", "length", "content_filter", "tool_calls"])
def test_finish_on_request(clock: Clock, word: str):
    assert f'"finish_reason":"{word}"'.encode() in ask(clock, f"chat?tps=0&finish={word}").body


# -- faults


def test_an_error_in_mid_stream(clock: Clock):
    """After that many tokens; no false ending."""
    reply = ask(clock, "fail?fail_after=5&tps=0").reply

    assert reply.error is not None
    assert (reply.error.code, len(pieces(reply.text))) == ("upstream_error", 5)


def test_truncation(clock: Clock):
    answer = ask(clock, "lorem?fail_after=5&fail_with=truncate&tps=0")

    assert answer.error is None
    assert b"[DONE]" not in answer.body
    assert answer.reply.error is not None
    assert answer.reply.error.code == "stream_truncated"


def test_a_reset(clock: Clock):
    answer = ask(clock, "fail?fail_after=2&fail_with=reset&tps=0")

    assert answer.error is not None
    assert (answer.error.code, len(answer.reads)) == ("upstream_reset", 3)


def test_a_stall_ends_at_the_idle_deadline(clock: Clock):
    answer = ask(clock, "fail?fail_after=1&fail_with=stall&tps=0&ttft_ms=0")

    assert answer.error is not None
    assert (answer.error.code, clock.now) == ("upstream_timeout", 30)


@pytest.mark.parametrize(("how", "status"), [("error", 500), ("reset", None)])
@pytest.mark.parametrize("stream", [True, False])
def test_failing_before_the_first_token(clock: Clock, how: str, status: int | None, stream: bool):
    """An error answer, or none: nothing was committed, another target can be tried."""
    answer = ask(clock, f"fail?fail_after=0&fail_with={how}", stream=stream)

    assert (answer.head and answer.head.status) == status
    assert (answer.error is not None) == (how == "reset")


# -- names and options


@pytest.mark.parametrize(
    "query",
    ["tokens=-1", "tokens=x", f"tokens={MAX_TOKENS + 1}", "tps=-1", "tps=nan", "tps=inf", "tps=1e-9",
     "ttft_ms=-1", "ttft_ms=nan", "ttft_ms=1e300", "fail_after=-1", "fail_with=fire", "finish=why", "seed=x",
     f"seed={1 << 80}", "speed=5", "tokens"],
)  # fmt: skip
def test_options_out_of_range(query: str):
    """None of them may hang the server; each is named."""
    with pytest.raises(InvalidRequest, match="known options") as caught:
        parse_model(f"chat?{query}")
    assert caught.value.info.param == "model"


def test_an_unknown_model_lists_the_known():
    with pytest.raises(ModelNotFound, match="demo/reasoning"):
        parse_model("gpt?tokens=5")


@pytest.mark.parametrize(("model", "body", "status"), [("nope", b"{}", 404), ("chat", b"{}", 400), ("chat", b"<", 400)])
def test_refusals_are_ours(clock: Clock, model: str, body: bytes, status: int):
    """Not an answer of a provider, whose words would not be passed on."""
    answer = Answer(clock)
    DemoUpstream().send(model, body, stream=True, receiver=answer)
    clock.run()

    assert answer.head is None
    assert answer.error is not None
    assert (answer.error.status, answer.error.safe_to_retry) == (status, False)


# -- flow control


def test_nothing_comes_while_paused(clock: Clock):
    call, answer = start(clock, "lorem?tokens=50&tps=10&ttft_ms=0")
    clock.run(1.0)
    call.pause()
    seen = len(answer.reads)
    clock.run(100.0)
    assert len(answer.reads) == seen

    call.resume()
    clock.run()

    assert answer.reply.finish_reason == "stop"
    assert min(answer.times[seen:]) >= 100.0


@pytest.mark.parametrize("tps", [0, 10])
def test_paused_before_the_first_token(clock: Clock, tps: int):
    """It still begins when resumed, before or after its time came."""
    for resumed_at in (0.01, 50.0):
        call, answer = start(clock, f"lorem?tokens=5&tps={tps}&ttft_ms=100")
        call.pause()
        clock.run(clock.now + resumed_at)
        call.resume()
        clock.run()

        assert answer.reply.finish_reason == "stop"


def test_cancelled_is_silent(clock: Clock):
    call, answer = start(clock, "lorem?tokens=50&tps=10&ttft_ms=0")
    clock.run(1.0)
    seen = len(answer.reads)

    call.cancel()
    call.pause()
    call.resume()
    clock.run()

    assert (len(answer.reads), answer.over) == (seen, False)


# -- examples for schemas


@pytest.mark.parametrize(
    ("schema", "value"),
    [
        ({"const": 5}, 5), ({"enum": ["a"]}, "a"), ({"type": "null"}, None), ({"type": ["string", "null"]}, "Lisbon"),
        ({"anyOf": [{"const": 1}, {"const": 2}]}, 1), ({"oneOf": [{"const": 3}]}, 3), ({"type": "boolean"}, True),
        ({"type": "integer", "minimum": 7, "maximum": 7}, 7), ({"type": "integer", "maximum": -3}, -3),
        ({"type": "integer"}, 1), ({"type": "number", "minimum": 2}, 2.5),
        ({"type": "number", "minimum": 2, "maximum": 2}, 2.0),
        ({"type": "array", "items": {"const": 1}, "minItems": 3}, [1, 1, 1]), ({"type": "array", "maxItems": 1}, None),
        ({"type": "object", "properties": {"a": {"const": 1}}}, {"a": 1}), ({"properties": {}}, {}),
    ],
)  # fmt: skip
def test_examples(schema: dict[str, Any], value: Any):
    found = example_for(schema, 0)

    assert found == value if value is not None or schema["type"] == "null" else len(found) == 1


WRONG = [None, -1, 2.5, "x", [], [3], {}, {"a": 5}, True, float("inf"), 10**400, 10**9]
KEYS = ["const", "enum", "anyOf", "oneOf", "type", "properties", "items", "minItems", "maxItems", "minimum", "maximum"]


@pytest.mark.parametrize("kind", ["array", "integer", "number", "string", "object", None])
@pytest.mark.parametrize("key", KEYS)
def test_odd_schemas_give_something(kind: str | None, key: str):
    """Callers send them: no keyword's value may raise."""
    for wrong in WRONG:
        json.dumps(example_for({"type": kind, key: wrong}, 0))


def test_huge_schemas_stay_small():
    """Eight levels of eight items each would be sixteen million values."""
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(8):
        schema = {"type": "array", "items": schema, "minItems": 8}
    wide = {"type": "object", "properties": {f"p{i}": schema for i in range(50)}}

    assert len(json.dumps(example_for(wide, 0))) < 40 * MAX_NODES
