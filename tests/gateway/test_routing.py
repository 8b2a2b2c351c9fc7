"""Strategies on real sockets: who is asked, who wins, who is cancelled, what the figures say."""

import asyncio
import json
import time
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from streamward.upstream.health import FAILURES_TO_OPEN
from support.gateway_server import config_text, gateway_server, until
from support.raw_http import ask, chat_request
from support.scripted_upstream import (
    COMPLETION,
    DONE,
    HELLO,
    ROLE,
    SSE,
    Fault,
    delta,
    document,
    frame,
    http_chunk,
    scripted_upstream,
    stream,
)

BUSY = document({"error": {"message": "busy"}}, 503)
TIMES = "timeouts = { connect = 1, first_byte = 5, idle = 5, total = 20 }\nretries = 0"
OTHER = 'base_url = "%s"\napi_key = "sk-other"\n' + TIMES
GOODBYE = (ROLE, delta("Good"), delta("bye"), delta(finish="stop"), DONE)
SLOW_HELLO = [SSE, http_chunk(ROLE), Fault.GATE, *stream(*HELLO[1:])[1:]]


@asynccontextmanager
async def routed(first, second, *, table: str):
    """Model ``pair`` on mock/a and spare/b with the settings in *table*."""
    async with AsyncExitStack() as stack:
        mock = await stack.enter_async_context(scripted_upstream(*first))
        spare = await stack.enter_async_context(scripted_upstream(*second))
        config = config_text(
            mock.base_url, mock=TIMES, providers__spare=OTHER % spare.base_url,
            models__pair=f'targets = ["mock/a", "spare/b"]\n{table}',
        )  # fmt: skip
        served = await stack.enter_async_context(gateway_server(config))
        yield served, mock, spare


def hedge(after_ms: int = 30) -> str:
    return f'strategy = "hedge"\nhedge_after_ms = {after_ms}'


# -- hedge


async def test_a_quick_first_target_is_never_hedged():
    async with routed([stream(*HELLO)], [stream(*GOODBYE)], table=hedge(5000)) as (served, mock, spare):
        answer = await ask(served.port, chat_request("pair"))
        record = await served.record()

    assert (answer.text, len(mock.seen), len(spare.seen)) == ("Hello", 1, 0)
    assert (record["target"], record["attempts"], record.get("fallbacks", 0)) == ("mock/a", 1, 0)


async def test_the_second_is_started_when_the_first_is_late_and_wins():
    """The first one sent a role: that is no answer. It is cancelled at once."""
    async with routed([SLOW_HELLO], [stream(*GOODBYE)], table=hedge()) as (served, mock, spare):
        answer = await ask(served.port, chat_request("pair"))
        answered_at = time.monotonic()
        record = await served.record()
        gone_at = await mock.seen[0].wait_gone()

    assert (answer.text, answer.finish_reason, answer.frames[-1]) == ("Goodbye", "stop", "[DONE]")
    assert (record["target"], record["attempts"], record["fallbacks"]) == ("spare/b", 2, 1)
    assert len(spare.seen) == 1
    assert gone_at < answered_at + 0.1


async def test_the_first_wins_when_it_speaks_first_and_the_second_is_cancelled():
    async with routed([SLOW_HELLO], [[SSE, http_chunk(ROLE), Fault.STALL]], table=hedge()) as (served, mock, spare):
        call = asyncio.create_task(ask(served.port, chat_request("pair")))
        await spare.request(0)
        mock.gate.set()
        answer = await call
        record = await served.record()
        await spare.seen[0].wait_gone()

    assert (answer.text, record["target"], record["attempts"], record.get("fallbacks", 0)) == ("Hello", "mock/a", 2, 0)


@pytest.mark.parametrize(
    "failing",
    [
        BUSY,
        [SSE, http_chunk(ROLE), Fault.RESET],
        stream(frame({"error": {"message": "x"}})),
        stream(ROLE),
        stream(ROLE, delta(finish="error"), DONE),
    ],
)
async def test_whoever_fails_first_does_not_win(failing):
    """An error, a truncation or an empty role frame is not a token, however quickly it comes."""
    async with routed([SLOW_HELLO], [failing], table=hedge()) as (served, mock, spare):
        call = asyncio.create_task(ask(served.port, chat_request("pair")))
        await spare.request(0)
        await until(lambda: "spare/b" in served.gateway.health.targets)
        mock.gate.set()
        answer = await call
        record = await served.record()

    assert (answer.text, answer.stream_error, record["target"]) == ("Hello", None, "mock/a")


async def test_a_first_target_that_fails_starts_the_second_without_waiting():
    async with routed([BUSY], [stream(*GOODBYE)], table=hedge(60_000)) as (served, _, _):
        answer = await ask(served.port, chat_request("pair"))

    assert answer.text == "Goodbye"


async def test_when_both_fail_the_last_error_is_told():
    limited = document({"error": {}}, 429, "retry-after: 9")
    async with routed([BUSY], [limited], table=hedge()) as (served, _, _):
        answer = await ask(served.port, chat_request("pair"))
        record = await served.record()

    assert (answer.status, answer.get("retry-after"), record["attempts"]) == (429, "9", 2)
    assert record["ending"] == "failed"


async def test_a_plain_answer_is_hedged_as_a_whole():
    slow = [Fault.GATE, *document(COMPLETION)]
    other = document({**COMPLETION, "id": "chatcmpl-2"})
    async with routed([slow], [other], table=hedge()) as (served, mock, _):
        answer = await ask(served.port, chat_request("pair", stream=False))
        await mock.seen[0].wait_gone()

    assert answer.json()["id"] == "chatcmpl-2"


async def test_a_client_that_leaves_cancels_both():
    stalled = [SSE, http_chunk(ROLE), Fault.STALL]
    async with routed([stalled], [stalled], table=hedge()) as (served, mock, spare):
        call = asyncio.create_task(ask(served.port, chat_request("pair")))
        await spare.request(0)
        call.cancel()
        await mock.seen[0].wait_gone()
        await spare.seen[0].wait_gone()
        record = await served.record()

    assert (record["ending"], record["status"]) == ("cancelled", 499)


async def test_the_winner_is_followed_to_its_true_end():
    """It broke after its first token: that is told, and nothing is asked again."""
    cut = [SSE, http_chunk(ROLE), http_chunk(delta("Go")), Fault.RESET]
    async with routed([SLOW_HELLO], [cut], table=hedge()) as (served, mock, spare):
        answer = await ask(served.port, chat_request("pair"))

    assert (answer.text, answer.stream_error["code"]) == ("Go", "upstream_reset")
    assert (len(mock.seen), len(spare.seen)) == (1, 1)


async def test_the_delay_follows_the_first_targets_own_times():
    """Without hedge_after_ms: its recent 95th percentile. Known to be quick, it is overtaken quickly."""
    async with routed([SLOW_HELLO], [stream(*GOODBYE)], table='strategy = "hedge"') as (served, _, _):
        for _ in range(20):
            served.gateway.health.succeeded("mock/a", time.monotonic(), 0.06)
        started = time.monotonic()
        answer = await ask(served.port, chat_request("pair"))
        took = time.monotonic() - started
        late = served.gateway.health.of("mock/a").recent[-1]

    assert answer.text == "Goodbye"
    assert 0.05 < took < 0.9  # far below the second that holds while nothing is known
    assert late > 0.05  # the lost race counts as a late answer


# -- health


async def test_a_broken_target_is_passed_over_until_it_is_well_again():
    """Its circuit opens; calls go to the next one at once; a probe that succeeds brings it back."""
    async with routed([BUSY], [stream(*GOODBYE)], table="") as (served, mock, _spare):
        for _ in range(FAILURES_TO_OPEN + 3):
            assert (await ask(served.port, chat_request("pair"))).text == "Goodbye"
        asked = len(mock.seen)
        metrics = served.gateway.metrics.render().decode()
        mock.answers(stream(*HELLO))
        served.gateway.health.of("mock/a").open_until = time.monotonic()  # the cool-down is over
        probed = await ask(served.port, chat_request("pair"))
        after = await ask(served.port, chat_request("pair"))

    assert asked == FAILURES_TO_OPEN
    assert 'streamward_target_state{target="mock/a"} 2.0' in metrics
    assert 'streamward_target_state{target="spare/b"} 0.0' in metrics
    assert f'streamward_target_failures_total{{kind="error",target="mock/a"}} {FAILURES_TO_OPEN}.0' in metrics
    assert 'streamward_target_ttft_seconds{target="spare/b"}' in metrics
    assert (probed.text, after.text) == ("Hello", "Hello")
    assert served.gateway.health.troubled == set()


async def test_truncations_and_stalls_open_the_circuit_too():
    """Though each of these calls was answered with 200."""
    cut = stream(ROLE, delta("Hel"))
    async with routed([cut], [stream(*GOODBYE)], table="") as (served, mock, _):
        for number in range(FAILURES_TO_OPEN):
            answer = await ask(served.port, chat_request("pair"))
            assert answer.stream_error["code"] == "stream_truncated", number
        last = await ask(served.port, chat_request("pair"))
        metrics = served.gateway.metrics.render().decode()

    assert last.text == "Goodbye"
    assert len(mock.seen) == FAILURES_TO_OPEN
    assert f'streamward_target_failures_total{{kind="truncation",target="mock/a"}} {FAILURES_TO_OPEN}.0' in metrics
    assert 'streamward_upstream_errors_total{code="stream_truncated",target="mock/a"}' in metrics


async def test_a_single_target_is_asked_whatever_its_circuit_says():
    """There is nobody else: refusing would only make it worse."""
    async with routed([BUSY], [stream(*GOODBYE)], table="") as (served, mock, _):
        for _ in range(FAILURES_TO_OPEN + 2):
            answer = await ask(served.port, chat_request("mock/a"))
            assert answer.status == 502

        assert len(mock.seen) == FAILURES_TO_OPEN + 2
        assert served.gateway.health.of("mock/a").state(time.monotonic()) == "open"


# -- weights, latency, sort


async def test_weight_nothing_gets_no_calls():
    table = 'strategy = "weighted"\nweights = [0, 1]'
    async with routed([stream(*HELLO)], [stream(*GOODBYE)], table=table) as (served, mock, spare):
        for _ in range(10):
            await ask(served.port, chat_request("pair"))

    assert (len(mock.seen), len(spare.seen)) == (0, 10)


async def test_latency_learns_from_what_it_sees():
    """Both are tried first; then the quicker one is asked."""
    slow = [SSE, http_chunk(ROLE), Fault.GATE, *stream(*HELLO[1:])[1:]]
    async with routed([slow], [stream(*GOODBYE)], table='strategy = "latency"') as (served, mock, spare):
        served.gateway.routes.chance.seed(1)
        calls = asyncio.create_task(ask(served.port, chat_request("pair")))
        await mock.request(0)
        sent_at = time.monotonic()
        await until(lambda: time.monotonic() > sent_at + 0.05)  # what its first token takes
        mock.gate.set()
        await calls
        served.gateway.routes.chance.random = lambda: 0.9  # type: ignore[method-assign] # no exploring
        for _ in range(5):
            await ask(served.port, chat_request("pair"))

    assert (len(mock.seen), len(spare.seen)) == (1, 5)


@pytest.mark.parametrize("sort", ["ttft", "tps", "cost"])
async def test_provider_options_sort(sort: str):
    """By figures where there are some; never forwarded."""
    async with routed([stream(*HELLO)], [stream(*GOODBYE)], table="") as (served, mock, spare):
        served.gateway.health.succeeded("spare/b", time.monotonic(), 0.01, 100.0)
        answer = await ask(served.port, chat_request("pair", providerOptions={"gateway": {"sort": sort}}))

    expected = ("Hello", mock) if sort == "cost" else ("Goodbye", spare)
    assert answer.text == expected[0]
    assert "providerOptions" not in json.loads(expected[1].seen[0].body)


async def test_provider_options_sort_must_be_known():
    async with routed([stream(*HELLO)], [stream(*GOODBYE)], table="") as (served, mock, _):
        answer = await ask(served.port, chat_request("pair", providerOptions={"gateway": {"sort": "luck"}}))

    assert (answer.status, answer.error["param"]) == (400, "providerOptions.gateway.sort")
    assert "ttft, tps, cost" in answer.error["message"]
    assert mock.seen == []
