"""Pulling events from a model: what the command line and the engine stand on."""

import asyncio
from contextlib import asynccontextmanager

import pytest

from streamward.call import Call, Message, Text
from streamward.dataplane.client import Timeouts
from streamward.dataplane.pool import Pool
from streamward.events import TERMINAL, Error, Event, Finish, Start, TextDelta
from streamward.grammar import violations
from streamward.upstream.attempts import Target
from streamward.upstream.demo import DemoUpstream
from streamward.upstream.source import HIGH_WATER, EventSource
from streamward.upstream.upstream import HttpUpstream
from streamward.wire.dialect import Profile
from support.gateway_server import until
from support.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    SSE,
    Fault,
    Seen,
    delta,
    document,
    http_chunk,
    scripted_upstream,
    stream,
)

QUICK = Timeouts(connect=2, first_byte=0.4, idle=0.4, total=20)


def call(*, streamed: bool = True) -> Call:
    return Call("m", (Message("user", (Text("hi"),)),), stream=streamed)


@asynccontextmanager
async def targets(*scripts, count: int = 1, dialect: str = "chat_completions"):
    """*count* targets on one upstream that plays *scripts*."""
    pool = Pool(trust_env=False)
    async with scripted_upstream(*scripts) as upstream:
        http = HttpUpstream(
            "mock", upstream.base_url, pool=pool, dialect=dialect, profile=Profile(), timeouts=QUICK, retries=0
        )  # fmt: skip
        yield [Target(http, f"m{number}") for number in range(count)], upstream, pool
        await pool.aclose()


async def read_all(source: EventSource) -> list[Event]:
    events: list[Event] = []
    async with asyncio.timeout(15):
        while more := await source.read():
            events.extend(more)
    return events


def text(events: list[Event]) -> str:
    return "".join(event.delta for event in events if isinstance(event, TextDelta))


@pytest.mark.parametrize("streamed", [True, False], ids=["stream", "plain"])
async def test_events_of_an_answer_obey_the_grammar(streamed: bool):
    async with targets(stream(*HELLO) if streamed else document(COMPLETION)) as (found, _, pool):
        events = await read_all(EventSource(call(streamed=streamed), found))

    assert list(violations(events)) == []
    assert (text(events), pool.opened) == ("Hello", 1)
    assert isinstance(events[-1], Finish)
    assert events[-1].usage is not None
    assert events[-1].usage.output_tokens == 2


FAULTS = {
    "refused": (document({"error": {}}, 400), "upstream_rejected"),
    "reset": ([Fault.RESET], "upstream_reset"),
    "stall": ([Fault.STALL], "upstream_timeout"),
    "reset after a token": ([SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.GATE, Fault.RESET], "upstream_reset"),
    "truncation after a token": ([SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.GATE, LAST], "stream_truncated"),
}


@pytest.mark.parametrize("name", FAULTS)
async def test_a_failure_is_the_last_event(name: str):
    script, code = FAULTS[name]
    async with targets(script) as (found, upstream, _):
        source = EventSource(call(), found)
        events = list(await source.read())
        upstream.gate.set()
        events += await read_all(source)

    assert list(violations(events)) == []
    assert isinstance(events[-1], Error)
    assert events[-1].error.code == code
    assert text(events) == ("Hel" if "token" in name else "")
    assert await source.read() == []


DEEP = b'{"choices":' + b"[" * 20_000 + b"]" * 20_000 + b"}"


@pytest.mark.parametrize("dialect", ["chat_completions", "responses", "messages", "generate_content"])
@pytest.mark.parametrize("status", [200, 500])
async def test_an_answer_nested_too_deep_is_the_providers_fault(dialect: str, status: int):
    """Never an exception inside the data plane: that would be our error, not theirs."""
    async with targets(document(DEEP, status), dialect=dialect) as (found, _, _):
        events = await read_all(EventSource(call(streamed=False), found))

    assert isinstance(events[-1], Error)
    assert events[-1].error.code.startswith("upstream_")
    assert events[-1].error.status == 502


async def test_an_endless_plain_answer_is_bounded():
    async def endless(seen: Seen) -> None:
        await seen.write(SSE.replace(b"text/event-stream", b"application/json") + http_chunk(b'{"x":"'))
        piece = http_chunk(b"y" * (1 << 20))
        while not seen.gone.is_set():
            await seen.write(piece)

    async with targets(endless) as (found, upstream, _):
        events = await read_all(EventSource(call(streamed=False), found))

        assert isinstance(events[-1], Error)
        assert events[-1].error.code == "content_too_large"
        assert upstream.seen[0].written < 100 << 20


async def test_the_next_target_answers_and_nothing_of_the_first_is_seen():
    async with targets([SSE, http_chunk(ROLE), Fault.RESET], stream(*HELLO), count=2) as (found, upstream, _):
        events = await read_all(EventSource(call(), found))

    assert (text(events), len(upstream.seen)) == ("Hello", 2)
    assert list(violations(events)) == []


@pytest.mark.parametrize("when", ["before the first event", "after some"])
async def test_closing_a_source_closes_the_provider_at_once(when: str):
    script = [SSE, http_chunk(ROLE), *([http_chunk(delta("Hel"))] if when == "after some" else []), Fault.STALL]
    async with targets(script) as (found, upstream, pool):
        source = EventSource(call(), found)
        reading = asyncio.create_task(source.read())
        seen = await upstream.request()
        if when == "after some":
            await reading
        await source.aclose()
        await seen.wait_gone()
        events = await asyncio.wait_for(reading, 5)

        assert pool.open == set()
        assert not any(isinstance(event, Finish) for event in events), "no ending is made up"


async def test_a_slow_reader_pauses_the_provider_and_loses_nothing():
    count = 4000

    async def much(seen: Seen) -> None:
        await seen.write(SSE + http_chunk(ROLE))
        for number in range(count):
            await seen.write(http_chunk(delta(f"{number:06d}" + "x" * 4000)))
        await seen.write(http_chunk(FINISH + DONE) + LAST)

    async with targets(much) as (found, _, _):
        source = EventSource(call(), found)
        events = list(await source.read())
        await until(lambda: source.paused)
        waiting = len(source.buffer)
        events += await read_all(source)

    numbers = [int(event.delta[:6]) for event in events if isinstance(event, TextDelta)]
    assert HIGH_WATER < waiting < 4 * HIGH_WATER
    assert numbers == list(range(count))
    assert isinstance(events[-1], TERMINAL)


@pytest.mark.parametrize("kind", ["chat", "echo", "lorem", "reasoning", "json"])
async def test_the_demo_models_obey_the_grammar_and_repeat_themselves(kind: str):
    """Same name, same call: the same answer, token for token."""
    target = Target(DemoUpstream(), f"{kind}?tps=0&ttft_ms=0&tokens=30&seed=5")
    first, second = [await read_all(EventSource(call(), [target])) for _ in range(2)]

    assert list(violations(first)) == []
    assert [event for event in first if not isinstance(event, Finish)][1:] == second[1:-1]
    assert isinstance(first[-1], Finish)


@pytest.mark.parametrize(
    ("how", "code"), [("error", "upstream_error"), ("reset", "upstream_reset"), ("truncate", "stream_truncated"),
                      ("stall", "upstream_timeout")]
)  # fmt: skip
async def test_the_demo_model_fails_as_asked_after_so_many_tokens(how: str, code: str):
    target = Target(DemoUpstream(QUICK), f"lorem?tps=0&ttft_ms=0&fail_after=4&fail_with={how}")
    events = await read_all(EventSource(call(), [target]))

    assert isinstance(events[-1], Error)
    assert events[-1].error.code == code
    if how == "stall":  # the others come within the read of the tokens, before the commit
        assert sum(isinstance(event, TextDelta) for event in events) == 4


async def test_the_demo_model_keeps_its_pace():
    """``tps`` and ``ttft_ms``: 10 tokens at 100 a second after 50 ms take about 150 ms."""
    loop = asyncio.get_running_loop()
    started = loop.time()
    events = await read_all(EventSource(call(), [Target(DemoUpstream(), "lorem?tps=100&ttft_ms=50&tokens=10")]))
    took = loop.time() - started

    assert sum(isinstance(event, TextDelta) for event in events) == 10
    assert 0.13 < took < 1.5


async def test_a_tap_keeps_events_only_while_the_reader_waits():
    """In order: what the tap refuses, and everything behind it, comes by ``read``."""
    kept: list[Event] = []

    def tap(events: list[Event]) -> bool:
        mine = all(isinstance(event, TextDelta) for event in events)
        if mine:
            kept.extend(events)
        return mine

    async with targets(stream(*HELLO)) as (found, _, _):
        source = EventSource(call(), found)
        source.tap = tap
        source.started = source.committed = True
        reading = asyncio.ensure_future(source.read())
        await asyncio.sleep(0)

        source.push([TextDelta("t", "a")])
        source.push([Start("m")])
        source.push([TextDelta("t", "b")])

        assert [TextDelta("t", "a")] == kept
        assert [Start("m"), TextDelta("t", "b")] == await reading
