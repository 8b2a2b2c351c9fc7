"""Limits of keys: the arithmetic, and what clients see of it from real servers."""

import asyncio
import json
import re

import openai
import pytest
from msgspec.structs import replace

from streamward.gateway.admission import duration_text
from streamward.gateway.key_limits import KeyLimits, period_left_s, period_start
from streamward.gateway.limits import Ask, Counters, Held, share
from streamward.gateway.storage import StorageUnavailable
from support.client_keys import PRICED, add_key, asking, bearer, behind
from support.gateway_server import until
from support.raw_http import KEY, Answer, ask, chat, chat_request, connected, request
from support.scripted_upstream import (
    COMPLETION,
    HELLO,
    LAST,
    ROLE,
    SSE,
    Fault,
    Seen,
    delta,
    document,
    head,
    http_chunk,
    stream,
)

# -- the arithmetic


def asked(tokens: int = 0, cost: float = 0.0, **limits) -> Ask:
    return Ask("id", "key_1", KeyLimits(**limits), tokens, cost)


def taken(counters: Counters, ask: Ask, now: float, times: int = 1) -> list[str]:
    return [counters.take(ask, now).refused for _ in range(times)]


def test_a_minutes_worth_may_come_at_once_and_comes_back_evenly():
    counters, ask = Counters(), asked(requests_per_minute=6)

    assert taken(counters, ask, 100.0, 7) == [""] * 6 + ["requests"]
    refused = counters.take(ask, 100.0)
    assert (refused.refused, round(refused.retry_after_s, 6), refused.requests_left) == ("requests", 10.0, 0)
    assert taken(counters, ask, 109.99) == ["requests"]
    assert taken(counters, ask, 110.0, 2) == ["", "requests"]
    assert taken(counters, ask, 200.0, 7) == [""] * 6 + ["requests"]


def test_a_refusal_takes_nothing():
    counters = Counters()
    ask = asked(tokens=50, requests_per_minute=10, tokens_per_minute=100, concurrent_streams=5)
    taken(counters, ask, 0.0, 2)
    before = replace(counters)

    assert taken(counters, ask, 0.0, 50) == ["tokens"] * 50
    assert counters == before


def test_tokens_are_put_right_when_the_call_is_over():
    counters, ask = Counters(), asked(tokens=100, tokens_per_minute=100)
    assert taken(counters, ask, 0.0, 2) == ["", "tokens"]

    counters.settle(Held(ask), 10, 0.0)

    assert counters.take(asked(tokens=91, tokens_per_minute=100), 0.0).refused == "tokens"
    assert counters.take(asked(tokens=90, tokens_per_minute=100), 0.0).refused == ""


def test_tokens_beyond_what_was_reserved_are_a_debt():
    counters, ask = Counters(), asked(tokens=10, tokens_per_minute=60)
    counters.take(ask, 0.0)
    counters.settle(Held(ask), 120, 0.0)

    refused = counters.take(asked(tokens=1, tokens_per_minute=60), 0.0)

    assert (refused.refused, round(refused.retry_after_s, 6)) == ("tokens", 61.0)


def test_more_tokens_than_a_minute_has_can_still_be_asked_for():
    """Refused for ever would be the alternative; what the answer really takes is counted at its end."""
    counters = Counters()

    assert taken(counters, asked(tokens=10_000, tokens_per_minute=100), 0.0, 2) == ["", "tokens"]


def test_what_runs_counts_against_the_budget():
    counters, ask = Counters(), asked(cost=4.0, budget_usd=10.0)

    assert taken(counters, ask, 0.0, 3) == ["", "", "budget"]
    assert counters.take(ask, 0.0).unsettled
    counters.settle(Held(ask), 0, 1.0)
    counters.settle(Held(ask), 0, 1.0)
    assert (counters.spent_usd, counters.reserved_usd) == (2.0, 0.0)
    assert taken(counters, ask, 0.0, 3) == ["", "", "budget"]
    counters.settle(Held(ask), 0, 9.0)
    assert not counters.take(ask, 0.0).unsettled


def test_slots_are_given_back():
    counters, ask = Counters(), asked(concurrent_streams=2)
    assert taken(counters, ask, 0.0, 3) == ["", "", "streams"]

    counters.settle(Held(ask), 5, 0.0)

    assert taken(counters, ask, 0.0, 2) == ["", "streams"]


def test_many_small_sums_are_no_more_than_they_are():
    """A tenth of a cent, a thousand times, is a dollar: rounding refuses no one."""
    counters, ask = Counters(), asked(cost=0.001, budget_usd=1.0)

    assert taken(counters, ask, 0.0, 1001) == [""] * 1000 + ["budget"]


def test_limits_of_a_key_go_before_those_of_the_file():
    file = KeyLimits(60, 1000, 5, 10.0, "month", 0.0)

    assert KeyLimits(requests_per_minute=0, budget_usd=3.0).over(file) == KeyLimits(0, 1000, 5, 3.0, "month", 0.0)
    assert not KeyLimits(0, 0, 0, 0.0, "day", 0.0).any()


def test_each_worker_allows_its_share():
    assert share(KeyLimits(60, 1000, 5, 10.0), 4) == KeyLimits(15, 250, 2, 10.0)
    assert share(KeyLimits(1), 4) == KeyLimits(1)


@pytest.mark.parametrize(
    ("period", "start", "left"), [("day", "2026-02-28", 3600.0), ("month", "2026-02-01", 3600.0), ("total", "", None)]
)
def test_periods_are_calendar_days_and_months(period, start: str, left: float | None):
    now = 1772319600.0  # 2026-02-28T23:00:00Z

    assert (period_start(period, now), period_left_s(period, now)) == (start, left)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.0, b"0ms"), (0.0164, b"17ms"), (1.0, b"1s"), (1.5, b"1.5s"), (360.0, b"6m0s"), (61.25, b"1m1.25s")],
)
def test_durations_are_written_as_openai_does(seconds: float, text: bytes):
    assert duration_text(seconds) == text


# -- what clients see

HALF = [SSE, *map(http_chunk, (ROLE, delta("Hel"))), Fault.GATE, *map(http_chunk, HELLO[2:]), LAST]


async def test_too_many_requests_are_refused_as_openai_does():
    async with behind(stream(*HELLO)) as (served, upstream):
        _, secret = await add_key(served, "small", requests_per_minute=2)
        answers = [await ask(served.port, asking(secret)) for _ in range(3)]

        assert [answer.status for answer in answers] == [200, 200, 429]
        first, _, refused = answers
        assert (first.get("x-ratelimit-limit-requests"), first.get("x-ratelimit-remaining-requests")) == ("2", "1")
        assert first.get("x-ratelimit-reset-requests") == "30s"
        assert (refused.error["code"], refused.error["type"]) == ("rate_limit_exceeded", "rate_limit_error")
        assert 28 <= int(refused.get("retry-after") or 0) <= 30
        assert 28_000 <= int(refused.get("retry-after-ms") or 0) <= 30_000
        assert refused.get("x-ratelimit-remaining-requests") == "0"
        assert len(upstream.seen) == 2
        record = await served.record(2)
        assert (record["status"], record["ending"], record["code"], record["key"]) == (
            429, "refused", "rate_limit_exceeded", "small",
        )  # fmt: skip


async def test_a_key_that_was_told_to_wait_is_refused_before_its_body_is_read():
    async with behind(stream(*HELLO)) as (served, _):
        _, secret = await add_key(served, requests_per_minute=1)
        await ask(served.port, asking(secret))
        await ask(served.port, asking(secret))
        async with connected(served.port) as connection:
            head_only = {"content-length": "900000", **bearer(secret)}
            await connection.send(request("POST", "/v1/chat/completions", None, head_only))

            answer = await connection.answer()

        assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")


async def test_the_official_client_raises_its_rate_limit_error():
    async with behind(stream(*HELLO)) as (served, _):
        _, secret = await add_key(served, requests_per_minute=1)
        async with openai.AsyncOpenAI(api_key=secret, base_url=served.url + "/v1", max_retries=0) as client:
            call = {"model": "mock/m", "messages": [{"role": "user", "content": "x"}]}
            async for _ in await client.chat.completions.create(**call, stream=True):
                pass

            with pytest.raises(openai.RateLimitError) as caught:
                await client.chat.completions.create(**call)

        assert caught.value.code == "rate_limit_exceeded"


@pytest.mark.parametrize(
    ("path", "body"),
    [("/v1/messages", {"model": "mock/m", "max_tokens": 9, "messages": [{"role": "user", "content": "x"}]}),
     ("/v1/responses", {"model": "mock/m", "input": "x"})],
)  # fmt: skip
async def test_every_dialect_says_it_in_its_own_shape(path: str, body: dict):
    async with behind(document(COMPLETION)) as (served, _):
        _, secret = await add_key(served, requests_per_minute=1)
        post = request("POST", path, json.dumps(body).encode(), key=secret)
        allowed, refused = await ask(served.port, post), await ask(served.port, post)

        assert (allowed.status, refused.status) == (200, 429)
        assert refused.error["type"] in ("rate_limit_error", "rate_limit_exceeded", "too_many_requests")
        assert refused.get("retry-after")


async def test_tokens_are_reserved_and_put_right():
    """1100 of 1200 are reserved for an answer of up to 1095 tokens; it takes 9, and the next one fits."""
    async with behind(document(COMPLETION)) as (served, upstream):
        _, secret = await add_key(served, tokens_per_minute=1200)
        fits = [await ask(served.port, asking(secret, stream=False, max_tokens=1095)) for _ in range(3)]
        upstream.answers([Fault.STALL])
        async with connected(served.port) as connection:
            await connection.send(asking(secret, stream=False, max_tokens=1095))
            await until(lambda: len(upstream.seen) == 4)
            refused = await ask(served.port, asking(secret, stream=False, max_tokens=1095))

        assert [answer.status for answer in fits] == [200, 200, 200]
        assert fits[0].get("x-ratelimit-limit-tokens") == "1200"
        assert int(fits[0].get("x-ratelimit-remaining-tokens") or 0) < 105
        assert (refused.status, refused.error["code"]) == (429, "rate_limit_exceeded")
        assert "tokens per minute" in refused.error["message"]


async def test_a_providers_own_rate_limits_are_not_shown_as_the_keys():
    fields = ("content-length: 2", "x-ratelimit-limit-requests: 99999", "x-request-id: req_1")
    body = json.dumps(COMPLETION).encode()
    answer = [head(200, f"content-length: {len(body)}", *fields[1:], content_type="application/json") + body]
    async with behind(answer) as (served, _):
        _, secret = await add_key(served, requests_per_minute=7)
        limited = await ask(served.port, asking(secret, stream=False))
        free = await ask(served.port, chat_request(stream=False))

        assert [value for name, value in limited.headers if name == "x-ratelimit-limit-requests"] == ["7"]
        assert free.get("x-ratelimit-limit-requests") == "99999"
        assert limited.get("x-request-id") == "req_1"


async def play(seen: Seen) -> None:
    """Stop where the request says, then wait for the caller to leave or the gate to open."""
    stage = seen.json()["user"]
    if stage == "whole":
        await seen.write(SSE + b"".join(map(http_chunk, HELLO)) + LAST)
        return
    if stage == "error":
        await seen.write(head(400, "content-length: 2", content_type="application/json") + b"{}")
        return
    if stage != "head":
        await seen.write(SSE + http_chunk(ROLE) + (http_chunk(delta("x")) if stage != "role" else b""))
    if stage == "junk":
        await seen.write(http_chunk(b"data: {nonsense\n\n"))
    if stage == "cut":
        await seen.write(LAST)
        return
    await seen.gone.wait()


@pytest.mark.parametrize("stage", ["head", "role", "mid", "junk", "cut", "error", "whole"])
async def test_the_slot_of_a_call_comes_back_however_it_ends(stage: str):
    async with behind(play) as (served, upstream):
        key, secret = await add_key(served, concurrent_streams=1)
        async with connected(served.port) as connection:
            await connection.send(asking(secret, user=stage))
            await until(lambda: upstream.seen)
            if stage in ("head", "role", "mid"):
                busy = await ask(served.port, asking(secret, user="whole"))
                assert (busy.status, busy.error["code"], busy.get("retry-after")) == (429, "rate_limit_exceeded", "1")
            else:
                await connection.answer()
        await until(lambda: served.gateway.admission.local.of(key.id).open == 0)

        assert (await ask(served.port, asking(secret, user="whole"))).text == "Hello"


async def test_a_call_that_crashes_gives_its_slot_back(monkeypatch: pytest.MonkeyPatch):
    async with behind(stream(*HELLO)) as (served, _):
        key, secret = await add_key(served, concurrent_streams=1)

        def crash(*_):
            raise ZeroDivisionError

        monkeypatch.setattr("streamward.gateway.exchange.CallExchange.answering", crash)
        crashed = await ask(served.port, asking(secret))
        monkeypatch.undo()

        assert crashed.status == 500
        assert served.gateway.admission.local.of(key.id).open == 0
        assert (await ask(served.port, asking(secret))).text == "Hello"


@pytest.mark.parametrize("limit", [1, 3])
async def test_of_many_at_once_no_more_run_than_may(limit: int):
    async with behind(HALF) as (served, upstream):
        _, secret = await add_key(served, concurrent_streams=limit)
        calls = [asyncio.create_task(ask(served.port, asking(secret))) for _ in range(12)]
        await until(lambda: sum(call.done() for call in calls) == 12 - limit)
        upstream.gate.set()
        answers = await asyncio.gather(*calls)

        assert sorted(answer.status for answer in answers) == [200] * limit + [429] * (12 - limit)
        assert len(upstream.seen) == limit


async def test_a_racing_burst_gets_exactly_its_requests():
    async with behind(stream(*HELLO)) as (served, upstream):
        _, secret = await add_key(served, requests_per_minute=5)
        answers = await asyncio.gather(*(ask(served.port, asking(secret)) for _ in range(25)))

        assert sorted(answer.status for answer in answers) == [200] * 5 + [429] * 20
        assert len(upstream.seen) == 5


async def test_a_key_may_not_use_longer_calls_than_it_may():
    async with behind(play) as (served, upstream):
        _, secret = await add_key(served, max_duration_s=0.3)
        started = await ask(served.port, asking(secret, user="mid"))
        waiting = await ask(served.port, asking(secret, user="head"))
        for seen in upstream.seen:
            await seen.wait_gone()

        assert (started.status, started.stream_error and started.stream_error["code"]) == (200, "max_duration_exceeded")
        assert started.frames[-1] != "[DONE]"
        assert (waiting.status, waiting.error["code"]) == (504, "max_duration_exceeded")


# -- money

DOLLARS = f'[prices."mock/*"]\n{PRICED}'


async def test_a_budget_is_reserved_before_and_settled_with_the_real_figure():
    """A dollar a token. Each call might take 46 dollars, and takes 9."""
    async with behind(document(COMPLETION), more=DOLLARS) as (served, upstream):
        key, secret = await add_key(served, budget_usd=66.0)
        post = asking(secret, stream=False, max_tokens=20)
        answers = [await ask(served.port, post) for _ in range(4)]
        spent = served.gateway.admission.local.of(key.id).spent_usd

        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert (answers[-1].error["code"], answers[-1].get("x-should-retry")) == ("insufficient_quota", "false")
        assert (spent, len(upstream.seen)) == (27.0, 3)


async def test_running_calls_count_against_the_budget():
    async with behind(HALF, more=DOLLARS) as (served, upstream):
        _, secret = await add_key(served, budget_usd=100.0)
        async with connected(served.port) as connection:
            await connection.send(asking(secret, max_tokens=50))
            await connection.head()
            refused = await ask(served.port, asking(secret, max_tokens=50))
            upstream.gate.set()
            while await connection.chunk():
                pass
        allowed = await ask(served.port, asking(secret, max_tokens=50))

        assert (refused.status, refused.error["code"], refused.get("retry-after")) == (429, "insufficient_quota", "1")
        assert allowed.status == 200


async def test_what_a_client_used_before_it_left_is_paid():
    async def endless(seen: Seen) -> None:
        await seen.write(SSE + http_chunk(ROLE) + b"".join(http_chunk(delta("x")) for _ in range(40)))
        await seen.gone.wait()

    async with behind(endless, more=DOLLARS) as (served, _):
        key, secret = await add_key(served, budget_usd=5000.0)
        async with connected(served.port) as connection:
            await connection.send(asking(secret))
            await connection.head()
            await connection.chunk()
        record = await served.record()
        counters = served.gateway.admission.local.of(key.id)

        assert (record["ending"], record["grade"]) == ("cancelled", "estimated")
        assert record["output_tokens"] >= 40
        assert counters.spent_usd == record["cost_usd"] == record["input_tokens"] + record["output_tokens"]
        assert (counters.reserved_usd, counters.open) == (0.0, 0)


async def test_a_model_of_unknown_price_is_closed_to_budgets_only():
    async with behind(stream(*HELLO)) as (served, upstream):
        _, budgeted = await add_key(served, budget_usd=1.0)
        _, free = await add_key(served)
        refused, allowed = await ask(served.port, asking(budgeted)), await ask(served.port, asking(free))
        record = await served.record(1)

        assert (refused.status, refused.error["code"]) == (429, "insufficient_quota")
        assert 'prices."mock/m"' in refused.error["message"]
        assert allowed.text == "Hello"
        assert "cost_usd" not in record
        assert len(upstream.seen) == 1


@pytest.mark.parametrize(
    "headers", [{}, {"idempotency-key": "k"}, {"x-streamward-resumable": "1"}], ids=["plain", "with-key", "resumable"]
)
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses"])
async def test_a_client_that_leaves_undecided_takes_nothing(path: str, headers: dict, monkeypatch: pytest.MonkeyPatch):
    """What the key has spent is still being read: nobody is asked, nothing is held, and the next call is decided at once."""
    async with behind(document(COMPLETION), more=DOLLARS) as (served, upstream):
        key, secret = await add_key(served, budget_usd=5000.0, concurrent_streams=1)
        gate, asked_for = asyncio.Event(), asyncio.Event()

        async def slow(tenant: str, since: str) -> float:
            asked_for.set()
            await gate.wait()
            return 0.0

        monkeypatch.setattr(served.gateway.storage.usage, "spent", slow)
        body = json.dumps({**chat(stream=False), "input": "x"} if "chat" in path else {"model": "mock/m", "input": "x"})
        async with connected(served.port) as connection:
            await connection.send(request("POST", path, body.encode(), {**bearer(secret), **headers}))
            async with asyncio.timeout(15):
                await asked_for.wait()
        await until(lambda: not served.server.server_state.connections)
        gate.set()
        await until(lambda: served.gateway.admission.local.of(key.id).known and not served.gateway.active)
        left = replace(served.gateway.admission.local.of(key.id))
        again = await ask(served.port, asking(secret, stream=False))

        assert (left.open, left.reserved_usd, left.spent_usd) == (0, 0.0, 0.0)
        assert (again.status, len(upstream.seen)) == (200, 1)
        assert [record["ending"] for record in served.records()] in (["cancelled", "finished"], ["refused", "finished"])


async def test_a_budget_nobody_can_read_is_not_spent(monkeypatch: pytest.MonkeyPatch):
    async def away(tenant: str, since: str) -> float:
        raise StorageUnavailable("away")

    async with behind(document(COMPLETION), more=DOLLARS) as (served, upstream):
        _, secret = await add_key(served, budget_usd=5000.0)
        monkeypatch.setattr(served.gateway.storage.usage, "spent", away)
        refused = await ask(served.port, asking(secret, stream=False))

        assert (refused.status, refused.error["code"], upstream.seen) == (503, "storage_unavailable", [])


async def test_spending_survives_a_restart(tmp_path):
    storage = f'url = "sqlite:{tmp_path}/s.db"'
    async with behind(document(COMPLETION), more=DOLLARS, storage=storage) as (served, _):
        _, secret = await add_key(served, budget_usd=40.0)
        first = await ask(served.port, asking(secret, stream=False, max_tokens=10))
    async with behind(document(COMPLETION), more=DOLLARS, storage=storage) as (served, upstream):
        second = await ask(served.port, asking(secret, stream=False, max_tokens=20))

        assert (first.status, second.status, second.error["code"]) == (200, 429, "insufficient_quota")
        assert upstream.seen == []


async def test_limits_of_the_file_hold_for_its_keys():
    async with behind(stream(*HELLO), limits="requests_per_minute = 1") as (served, _):
        answers = [await ask(served.port, chat_request()) for _ in range(2)]
        _, own = await add_key(served, requests_per_minute=0)
        free = [await ask(served.port, asking(own)) for _ in range(3)]

        assert [answer.status for answer in answers] == [200, 429]
        assert [answer.status for answer in free] == [200, 200, 200]


async def test_each_of_several_workers_allows_its_share():
    async with behind(stream(*HELLO), server="workers = 2") as (served, _):
        _, secret = await add_key(served, requests_per_minute=4)
        answers = [await ask(served.port, asking(secret)) for _ in range(3)]

        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[0].get("x-ratelimit-limit-requests") == "2"


# -- durable calls


def said(answer: Answer) -> str:
    """The text of a durable stream, whose frames have ids."""
    return "".join(re.findall(r'"content":"(\w+)"', answer.body.decode()))


async def test_a_replay_costs_nothing():
    """The same idempotency key again: from the record, not from the provider, not from the limits."""
    async with behind(stream(*HELLO), more=DOLLARS) as (served, upstream):
        key, secret = await add_key(served, requests_per_minute=2, budget_usd=5000.0)
        post = asking(secret, headers={"idempotency-key": "k-1"})
        answers = [await ask(served.port, post) for _ in range(6)]
        await until(lambda: served.gateway.usage.batch is None and not served.gateway.usage.rows)
        (total,) = await served.gateway.storage.usage.report([])

        assert [said(answer) for answer in answers] == ["Hello"] * 6
        assert len(upstream.seen) == 1
        assert served.gateway.admission.local.of(key.id).spent_usd == 9.0
        assert (total.requests, total.cost_usd) == (1, 9.0)


async def test_a_durable_call_that_is_refused_can_be_sent_again():
    async with behind(HALF) as (served, upstream):
        key, secret = await add_key(served, concurrent_streams=1)
        async with connected(served.port) as connection:
            await connection.send(asking(secret))
            await connection.head()
            refused = [
                await ask(served.port, asking(secret, headers=headers))
                for headers in ({"idempotency-key": "k-1"}, {"x-streamward-resumable": "1"})
            ]
        await until(lambda: served.gateway.admission.local.of(key.id).open == 0)
        upstream.gate.set()
        again = await ask(served.port, asking(secret, headers={"idempotency-key": "k-1"}))

        assert [(answer.status, answer.error["code"]) for answer in refused] == [(429, "rate_limit_exceeded")] * 2
        assert said(again) == "Hello"


async def test_a_background_response_is_refused_before_it_is_made():
    async with behind(stream(*HELLO)) as (served, upstream):
        _, secret = await add_key(served, requests_per_minute=1)
        post = request(
            "POST", "/v1/responses", json.dumps({"model": "mock/m", "input": "x", "background": True}).encode(), key=secret
        )
        first, second = await ask(served.port, post), await ask(served.port, post)

        assert (first.status, second.status, second.error["code"]) == (200, 429, "rate_limit_exceeded")
        await until(lambda: len(upstream.seen) == 1)


async def test_keys_without_limits_are_not_counted():
    async with behind(stream(*HELLO)) as (served, _):
        _, secret = await add_key(served)
        answers = [await ask(served.port, asking(secret)), await ask(served.port, chat_request())]

        assert [answer.text for answer in answers] == ["Hello", "Hello"]
        assert served.gateway.admission.local.counters == {}
        assert KEY not in served.log.getvalue()


