"""Retries and fallbacks: until the commit, and never after it."""

import asyncio
import json
import time
from contextlib import asynccontextmanager

import pytest

from support.gateway_server import config_text, gateway_server, until
from support.raw_http import ask, chat_request
from support.scripted_upstream import (
    COMPLETION,
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
MOCK = "timeouts = { connect = 1, first_byte = 0.3, idle = 0.3, total = 20 }\nretries = %d"
SPARE = 'base_url = "%s"\napi_key = "sk-spare-secret"\nretries = 0'


@asynccontextmanager
async def behind(*scripts, retries: int = 2):
    async with (
        scripted_upstream(*scripts) as upstream,
        gateway_server(config_text(upstream.base_url, mock=MOCK % retries)) as served,
    ):
        yield served, upstream


@asynccontextmanager
async def two_targets(first, second, *, retries: int = 0):
    """``pair`` names mock first, then spare."""
    async with scripted_upstream(*first) as mock, scripted_upstream(*second) as spare:
        config = config_text(
            mock.base_url, mock=MOCK % retries, providers__spare=SPARE % spare.base_url,
            models__pair='targets = ["mock/a", "spare/b"]',
        )  # fmt: skip
        async with gateway_server(config) as served:
            yield served, mock, spare


RETRIED = {
    "503": BUSY,
    "500": document({"error": {"message": "x"}}, 500),
    "429": document({"error": {"message": "x"}}, 429),
    "409": document({"error": {"message": "x"}}, 409),
    "408": document({"error": {"message": "x"}}, 408),
    "429 with a short retry-after": document({"error": {"message": "x"}}, 429, "retry-after-ms: 20"),
    "reset before the head": [Fault.RESET],
    "reset after the role": [SSE, http_chunk(ROLE), Fault.RESET],
    "an error frame first": stream(frame({"error": {"message": "x"}})),
    "HTML with 200": document(b"<html>", content_type="text/html"),
    "an empty stream": stream(),
}


@pytest.mark.parametrize("name", RETRIED)
async def test_what_may_pass_is_tried_again_until_it_does(name: str):
    async with behind(RETRIED[name], RETRIED[name], stream(*HELLO)) as (served, upstream):
        answer = await ask(served.port, chat_request())
        record = await served.record()

    assert (answer.status, answer.text, answer.finish_reason) == (200, "Hello", "stop")
    assert (len(upstream.seen), record["attempts"], record["ending"]) == (3, 3, "finished")
    assert upstream.seen[0].body == upstream.seen[2].body


async def test_a_plain_answer_is_tried_again_too():
    async with behind(BUSY, document(COMPLETION)) as (served, upstream):
        answer = await ask(served.port, chat_request(stream=False))

    assert (answer.status, answer.json(), len(upstream.seen)) == (200, COMPLETION, 2)


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
async def test_what_is_wrong_with_the_call_is_not_tried_again(status: int):
    async with behind(document({"error": {"message": "x"}}, status), stream(*HELLO)) as (served, upstream):
        await ask(served.port, chat_request())

        assert len(upstream.seen) == 1


async def test_tries_are_bounded():
    async with behind(BUSY) as (served, upstream):
        answer = await ask(served.port, chat_request())

    assert (answer.status, answer.error["code"], len(upstream.seen)) == (502, "upstream_error", 3)


async def test_a_long_retry_after_is_the_callers_to_wait_for():
    async with behind(document({"error": {"message": "x"}}, 429, "retry-after: 17")) as (served, upstream):
        started = time.monotonic()
        answer = await ask(served.port, chat_request())

    assert (answer.status, answer.get("retry-after"), answer.error["code"]) == (429, "17", "rate_limit_exceeded")
    assert len(upstream.seen) == 1
    assert time.monotonic() - started < 10


async def test_nothing_is_tried_again_after_the_first_token():
    script = [*stream(ROLE, delta("Hel"), end=False), Fault.GATE, Fault.RESET]
    async with two_targets([script, stream(*HELLO)], [stream(*HELLO)], retries=2) as (served, mock, spare):
        answer = await ask(served.port, chat_request("pair"), on_chunk=mock.gate.set)

    assert (answer.text, answer.stream_error["code"]) == ("Hel", "upstream_reset")
    assert (len(mock.seen), len(spare.seen)) == (1, 0)


async def test_a_refused_connection_moves_to_the_next_target():
    async with scripted_upstream(stream(*HELLO)) as spare:
        config = config_text(
            "http://127.0.0.1:1/v1", providers__spare=SPARE % spare.base_url, models__pair='targets = ["mock/a", "spare/b"]'
        )
        async with gateway_server(config) as served:
            answer = await ask(served.port, chat_request("pair"))
            refused = await ask(served.port, chat_request("mock/a"))
            record = await served.record()

    assert (answer.text, record["target"], record["attempts"]) == ("Hello", "spare/b", 2)
    assert spare.seen[0].json()["model"] == "b"
    assert (refused.status, refused.error["code"]) == (502, "upstream_reset")
    assert b"127.0.0.1" not in refused.body


FELL_BACK = {
    "503": BUSY,
    "401": document({"error": {"message": "x"}}, 401),
    "404": document({"error": {"message": "x"}}, 404),
    "429, long retry-after": document({"error": {"message": "x"}}, 429, "retry-after: 60"),
    "stall before the head": [Fault.STALL],
    "stall after the role": [SSE, http_chunk(ROLE), Fault.STALL],
    "redirect": document(b"", 307, "location: http://127.0.0.1:1/"),
}


@pytest.mark.parametrize("name", FELL_BACK)
async def test_the_next_target_answers_when_the_first_cannot(name: str):
    """Nothing of the first target's try is seen; its connection is closed."""
    async with two_targets([FELL_BACK[name]], [stream(*HELLO)]) as (served, _mock, spare):
        answer = await ask(served.port, chat_request("pair"))
        record = await served.record()
        metrics = served.gateway.metrics.render().decode()

    assert (answer.text, answer.finish_reason, len(spare.seen)) == ("Hello", "stop", 1)
    assert (record["target"], record["attempts"], record["model"]) == ("spare/b", 2, "pair")
    assert spare.seen[0].header("authorization") == "Bearer sk-spare-secret"
    assert 'streamward_fallbacks_total{target="spare/b"} 1.0' in metrics
    assert 'streamward_upstream_errors_total{code=' in metrics


async def test_what_the_call_itself_did_wrong_does_not_move_to_the_next_target():
    wrong = document({"error": {"message": "x", "code": "context_length_exceeded"}}, 400)
    async with two_targets([wrong], [stream(*HELLO)]) as (served, _, spare):
        answer = await ask(served.port, chat_request("pair"))

    assert (answer.status, answer.error["code"], len(spare.seen)) == (400, "context_length_exceeded", 0)


async def test_the_last_targets_error_is_told_when_all_fail():
    async with two_targets([BUSY], [document({"error": {}}, 429, "retry-after: 9")]) as (served, _, _):
        answer = await ask(served.port, chat_request("pair"))
        record = await served.record()

    assert (answer.status, answer.get("retry-after"), record["target"]) == (429, "9", "spare/b")


async def test_provider_options_order_the_targets_and_are_not_forwarded():
    """Vercel's ``providerOptions.gateway``: honoured, taken out; the rest of ``providerOptions`` stays."""
    options = {"gateway": {"order": ["spare", "mock"]}, "openai": {"x": 1}}
    async with two_targets([stream(*HELLO)], [stream(*HELLO)]) as (served, mock, spare):
        await ask(served.port, chat_request("pair", providerOptions=options))
        only = await ask(served.port, chat_request("pair", providerOptions={"gateway": {"only": ["nobody"]}}))
        wrong = await ask(served.port, chat_request("pair", providerOptions={"gateway": {"order": "spare"}}))

    assert (len(mock.seen), len(spare.seen)) == (0, 1)
    assert spare.seen[0].json()["providerOptions"] == {"openai": {"x": 1}}
    assert (only.status, only.error["param"]) == (400, "providerOptions.gateway.only")
    assert (wrong.status, wrong.error["param"]) == (400, "providerOptions.gateway.order")


async def test_a_client_that_leaves_during_back_off_ends_the_tries():
    async with behind(document({"error": {}}, 503, "retry-after: 1"), stream(*HELLO)) as (served, upstream):
        call = asyncio.create_task(ask(served.port, chat_request()))
        await upstream.request(0)
        await until(lambda: any(e.attempts is not None and e.attempts.timer is not None for e in served.gateway.active))
        call.cancel()
        record = await served.record()
        timers = list(served.gateway.active)

    assert (record["ending"], record["status"], len(upstream.seen)) == ("cancelled", 499, 1)
    assert timers == []


async def test_the_client_cannot_name_hosts_keys_or_headers_of_the_provider():
    """Fields other gateways route by are forwarded as data or dropped; none of them changes where or as whom we call."""
    lures = {
        "api_base": "http://127.0.0.1:1", "base_url": "http://127.0.0.1:1", "api_key": "stolen", "custom_host": "x",
        "extra_headers": {"authorization": "Bearer evil", "host": "evil"}, "proxy": "http://127.0.0.1:1",
    }  # fmt: skip
    data = chat_request(**lures, headers={"x-forwarded-host": "evil", "x-api-key": "evil", "proxy-authorization": "evil"})
    async with behind(stream(*HELLO)) as (served, upstream):
        answer = await ask(served.port, data)

    seen = upstream.seen[0]
    assert answer.text == "Hello"
    assert ("Bearer sk-upstream-secret", f"127.0.0.1:{upstream.port}") == (seen.header("authorization"), seen.header("host"))
    assert b"evil" not in seen.head
    assert json.loads(seen.body)["model"] == "m"
