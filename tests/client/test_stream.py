"""Streams over real sockets: what the user sees when servers and connections fail."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest

from streamward.client import Client, Retries, Timeouts
from streamward.errors import (
    AuthenticationFailed,
    InvalidRequest,
    RateLimited,
    StreamInterrupted,
    StreamTruncated,
    UpstreamError,
    UpstreamTimeout,
)
from streamward.events import Event, Finish, TextDelta
from streamward.grammar import violations
from support.durable_script import STREAM_ID, DurableScript, StoredResponseScript, responses_frames
from support.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    HELLO,
    ROLE,
    SSE,
    Fault,
    ScriptedUpstream,
    delta,
    document,
    frame,
    http_chunk,
    scripted_upstream,
    stream,
)

QUICK = Retries(attempts=2, reconnects=3, pause_s=0.001, max_pause_s=0.002)
WORDS = [f"w{n} " for n in range(30)]
LONG = [ROLE, *map(delta, WORDS), FINISH, DONE]


@contextlib.asynccontextmanager
async def served(*scripts: Any, **options: Any) -> AsyncIterator[tuple[ScriptedUpstream, Client]]:
    async with scripted_upstream(*scripts) as server, Client(server.base_url, retries=QUICK, **options) as client:
        yield server, client


async def read(client: Client, **more: Any) -> list[Event]:
    async with client.stream(model="m", messages="hi", **more) as events:
        return [event async for event in events]


def text_of(events: list[Event]) -> str:
    return "".join(event.delta for event in events if isinstance(event, TextDelta))


async def test_events_obey_the_grammar_and_collect_to_the_reply():
    messages = [{"role": "user", "content": "hi"}]
    async with (
        served(stream(*HELLO)) as (server, client),
        client.stream(model="m", messages=messages, temperature=0.5) as events,
    ):
        seen = [event async for event in events]

    assert violations(seen) == []
    assert (events.reply.text, events.reply.finish_reason, events.reply.usage.output_tokens) == ("Hello", "stop", 2)
    assert server.seen[0].json() == {
        "model": "m", "messages": [{"role": "user", "content": "hi"}], "temperature": 0.5, "stream": True,
        "stream_options": {"include_usage": True},
    }  # fmt: skip


async def test_text_alone():
    async with served(stream(*HELLO)) as (_, client), client.stream(model="m", messages="hi") as events:
        assert [text async for text in events.text] == ["Hel", "lo"]


async def test_the_connection_is_used_again_after_a_finished_stream():
    async with served(stream(*HELLO)) as (server, client):
        for _ in range(3):
            await read(client)

    assert server.connections == 1


@pytest.mark.parametrize("cuts", [[5], [1], [0], [3, 4, 1, 10], [2, 0, 0, 2]])
async def test_a_durable_stream_goes_on_where_it_was_cut(cuts: list[int]):
    """No token is lost or repeated, and the request is sent once."""
    script = DurableScript(LONG, cuts)
    async with served(script) as (_, client), client.stream(model="m", messages="hi") as events:
        seen = [event async for event in events]

    assert "".join(WORDS) == text_of(seen)
    assert violations(seen) == []
    assert len(script.posts) == 1
    assert len(cuts) == events.reconnections
    assert (STREAM_ID, len(LONG) - 1) == (events.id, events.offset)


async def test_a_server_that_replays_everything_repeats_nothing_to_the_user():
    script = DurableScript(LONG, [7])
    script.replay_all = True
    async with served(script) as (_, client):
        assert "".join(WORDS) == text_of(await read(client))


async def test_a_gap_after_reconnecting_is_an_interruption_not_a_finished_answer():
    script = DurableScript(LONG, [7])
    script.skip = 1
    async with served(script) as (_, client):
        with pytest.raises(StreamInterrupted) as raised:
            await read(client)

    assert "".join(WORDS[:6]) == raised.value.partial.text  # type: ignore[attr-defined]
    assert raised.value.partial.finish_reason is None  # type: ignore[attr-defined]


async def test_reconnections_without_progress_are_bounded():
    script = DurableScript(LONG, [5, *[0] * 20])
    async with served(script) as (_, client):
        with pytest.raises(StreamInterrupted):
            await read(client)

    assert 1 + QUICK.reconnects == len(script.requests)


async def test_a_stream_the_server_forgot_is_interrupted_at_once():
    script = DurableScript(LONG, [5])
    script.forgotten = True
    async with served(script) as (_, client):
        with pytest.raises(StreamInterrupted) as raised:
            await read(client)

    assert [("POST", "/v1/chat/completions"), ("GET", f"/v1/streams/{STREAM_ID}?after=4")] == script.requests
    assert "".join(WORDS[:4]) == raised.value.partial.text  # type: ignore[attr-defined]


async def test_a_connection_lost_before_the_answer_repeats_the_request_under_the_same_key():
    script = DurableScript(LONG, [-1])
    async with served(script) as (_, client):
        assert "".join(WORDS) == text_of(await read(client))

    assert len(script.keys) == 2
    assert script.keys[0] == script.keys[1] is not None


async def test_without_durability_a_stream_of_which_nothing_was_shown_is_asked_for_again():
    broken = [SSE, http_chunk(ROLE), Fault.RESET]
    async with served(broken, stream(*HELLO)) as (server, client):
        seen = await read(client)

    assert text_of(seen) == "Hello"
    assert violations(seen) == []
    assert len(server.seen) == 2


async def test_without_durability_a_stream_that_was_shown_is_interrupted_with_its_partial_reply():
    broken = [SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.RESET]
    async with served(broken, stream(*HELLO)) as (server, client):
        with pytest.raises(StreamInterrupted) as raised:
            await read(client)

    partial: Any = raised.value.partial
    assert (partial.text, partial.finish_reason, raised.value.info.code) == ("Hel", None, "upstream_reset")
    assert len(server.seen) == 1


async def test_an_end_without_marker_or_reason_is_no_finish():
    """The body ends as HTTP wants it; that alone never means that the answer is complete."""
    async with served(stream(ROLE, delta("Hel"))) as (_, client):
        with pytest.raises(StreamInterrupted) as raised:
            await read(client)

    assert raised.value.info.code == "stream_truncated"


async def test_a_stated_reason_without_marker_is_a_finish_except_from_a_gateway():
    plain = stream(ROLE, delta("Hel"), FINISH)
    ours = [plain[0].replace(b"\r\n\r\n", b"\r\nx-streamward-id: 1\r\n\r\n"), *plain[1:]]  # type: ignore[union-attr]
    async with served(plain, ours) as (_, client):
        seen = await read(client)
        with pytest.raises(StreamInterrupted):
            await read(client)

    assert isinstance(seen[-1], Finish)


async def test_an_empty_stream_is_retried_then_raised_as_what_it_is():
    async with served(stream()) as (server, client):
        with pytest.raises(StreamTruncated):
            await read(client)

    assert 1 + QUICK.attempts == len(server.seen)


async def test_an_error_in_mid_stream_keeps_the_servers_words():
    broken = stream(ROLE, delta("Hel"), frame({"error": {"message": "the model tripped", "code": "upstream_timeout"}}))
    async with served(broken) as (_, client):
        with pytest.raises(StreamInterrupted, match="the model tripped") as raised:
            await read(client)

    assert raised.value.info.code == "upstream_timeout"
    assert isinstance(raised.value.__cause__, UpstreamTimeout)


@pytest.mark.parametrize(
    ("status", "code", "kind", "tries"),
    [(401, "invalid_api_key", AuthenticationFailed, 1), (400, "invalid_request", InvalidRequest, 1),
     (429, "rate_limit_exceeded", RateLimited, 3), (500, "boom", UpstreamError, 3)],
)  # fmt: skip
async def test_error_answers_raise_their_class_after_the_retries_that_make_sense(
    status: int, code: str, kind: type[Exception], tries: int
):
    answer = document({"error": {"message": "no such luck", "code": code}}, status)
    async with served(answer) as (server, client):
        with pytest.raises(kind, match="no such luck"):
            await read(client)

    assert tries == len(server.seen)


async def test_retry_after_is_waited_for_and_more_than_our_patience_is_not():
    busy = document({"error": {"message": "busy"}}, 429, "retry-after-ms: 150")
    long = document({"error": {"message": "busy"}}, 429, "retry-after: 3600")
    async with served(busy, stream(*HELLO), long) as (server, client):
        began = time.monotonic()
        await read(client)
        waited = time.monotonic() - began
        with pytest.raises(RateLimited) as raised:
            await read(client)

    assert waited >= 0.15
    assert raised.value.info.retry_after_s == 3600
    assert len(server.seen) == 3


async def test_a_page_instead_of_a_stream_says_so():
    async with served(document(b"<html>", content_type="text/html")) as (_, client):
        with pytest.raises(UpstreamError, match="text/event-stream"):
            await read(client)


@pytest.mark.parametrize(
    ("timeouts", "script", "code"),
    [
        (Timeouts(first_byte=0.3), [Fault.STALL], "sent nothing"),
        (Timeouts(between_frames=0.3), [SSE, http_chunk(ROLE), Fault.STALL], "fell silent"),
        (Timeouts(total=0.3), [SSE, http_chunk(ROLE), Fault.STALL], "0.3 s"),
    ],
    ids=["first byte", "between frames", "total"],
)
async def test_deadlines(timeouts: Timeouts, script: Any, code: str):
    async with (
        scripted_upstream(script) as server,
        Client(server.base_url, timeouts=timeouts, retries=Retries(attempts=0)) as client,
    ):
        with pytest.raises(UpstreamTimeout, match=code):
            await read(client)


async def test_a_silent_durable_connection_is_replaced():
    script = DurableScript(LONG, [4])
    script.hold = 9

    async def serve(seen: Any) -> None:
        if len(script.requests) == 2:
            script.hold = None
        await script(seen)

    async with served(serve, timeouts=Timeouts(between_frames=0.3)) as (_, client):
        assert "".join(WORDS) == text_of(await read(client))

    assert len(script.requests) == 3


async def test_leaving_early_closes_the_connection_at_once():
    async with served([SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.STALL]) as (server, client):
        async with client.stream(model="m", messages="hi") as events:
            async for event in events:
                if isinstance(event, TextDelta):
                    break
        left = time.monotonic()

        assert await server.seen[0].wait_gone() - left < 0.1
        assert events.reply.text == "Hel"


async def test_stop_from_another_task_ends_the_loop_quietly():
    script = DurableScript(LONG, hold=9)
    async with served(script) as (_, client), client.stream(model="m", messages="hi") as events:
        task = asyncio.create_task(anext(events))
        await task
        rest = asyncio.create_task(events.collect())
        await events.stop()
        reply = await rest

    assert script.stopped
    assert reply.finish_reason is None
    assert "w0" in reply.text


async def test_a_stream_that_was_not_entered_says_so():
    async with Client("http://127.0.0.1:1/v1") as client:
        with pytest.raises(RuntimeError, match="async with"):
            await client.stream(model="m", messages="hi").collect()


async def test_a_reader_that_pauses_pauses_the_server():
    """Not more than our buffer and the kernel's is ever underway, however fast the server is."""
    big = delta("x" * 60_000)
    async with (
        served(stream(ROLE, *[big] * 400, FINISH, DONE)) as (server, client),
        client.stream(model="m", messages="hi") as events,
    ):
        first = await anext(events.text)
        sent = await settled(server)
        rest = [text async for text in events.text]

    assert sent < 12 << 20 < 400 * len(big)
    assert len(first) + sum(map(len, rest)) == 400 * 60_000


async def settled(server: ScriptedUpstream) -> int:
    """Bytes written once the server can write no more."""
    seen = await server.request()
    before = -1
    while seen.written != before:
        before = seen.written
        await asyncio.sleep(0.1)
    return before


async def test_cancelling_the_task_closes_the_connection():
    async with served([SSE, http_chunk(ROLE), http_chunk(delta("Hel")), Fault.STALL]) as (server, client):
        task = asyncio.create_task(read(client))
        seen = await server.request()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        left = time.monotonic()

        assert await seen.wait_gone() - left < 0.1


async def test_leaving_a_durable_stream_stops_it_on_the_server_unless_detached():
    script, kept = DurableScript(LONG, hold=5), DurableScript(LONG, hold=5)
    async with served(script) as (_, client), client.stream(model="m", messages="hi") as events:
        await anext(events)
    async with served(kept) as (_, client), client.stream(model="m", messages="hi") as events:
        await anext(events)
        assert events.detach() == STREAM_ID

    assert (script.stopped, kept.stopped) == (True, False)


async def test_following_a_stream_from_a_number():
    script = DurableScript(LONG)
    async with served(script) as (_, client), client.follow(STREAM_ID, after=10) as events:
        reply = await events.collect()

    assert "".join(WORDS[10:]) == reply.text
    assert [("GET", f"/v1/streams/{STREAM_ID}?after=10")] == script.requests


async def test_responses_dialect_converts_messages():
    async with (
        served(stream(*responses_frames(["Hel", "lo"]))) as (server, client),
        client.stream(model="m", messages=[{"role": "user", "content": "hi"}], dialect="responses") as events,
    ):
        reply = await events.collect()

    body = server.seen[0].json()
    assert (reply.text, reply.finish_reason) == ("Hello", "stop")
    assert {"model", "input", "stream"} == set(body)
    assert server.seen[0].head.startswith(b"POST /v1/responses ")


@pytest.mark.parametrize("cuts", [[2], [6, 1, 0, 3]])
async def test_background_responses_go_on_by_sequence_number(cuts: list[int]):
    script = StoredResponseScript(WORDS, cuts)
    async with served(script) as (_, client):
        seen = await read(client, dialect="responses", background=True)

    assert "".join(WORDS) == text_of(seen)
    assert violations(seen) == []
    assert f"GET /v1/responses/resp_1?stream=true&starting_after={cuts[0] - 1}" == script.targets[1]


async def test_all_tries_of_create_carry_one_key():
    """Another call has another one; a stated key is kept; without ``resumable`` there is none."""
    busy = document({"error": {"message": "busy"}}, 503)
    scripts = (busy, document(COMPLETION), document(COMPLETION), document(COMPLETION), document(COMPLETION))
    async with served(*scripts) as (server, client):
        await client.create(model="m", messages="hi")
        await client.create(model="m", messages="hi")
        await client.create(model="m", messages="hi", headers={"Idempotency-Key": "mine"})
        async with Client(server.base_url, retries=QUICK, resumable=False) as plain:
            await plain.create(model="m", messages="hi")

    first, again, other, stated, none = [seen.header("idempotency-key") for seen in server.seen]
    assert first == again != other
    assert (stated, none) == ("mine", None)


async def test_create_gives_a_whole_reply_and_retries_what_can_succeed():
    busy = document({"error": {"message": "busy"}}, 503)
    async with served(busy, document(COMPLETION), document({"error": {"message": "bad"}}, 400)) as (server, client):
        reply = await client.create(model="m", messages="hi")
        with pytest.raises(InvalidRequest, match="bad"):
            await client.create(model="m", messages="hi")

    assert (reply.text, reply.finish_reason) == ("Hello", "stop")
    assert "stream" not in server.seen[1].json()


async def test_the_key_is_sent_and_wrong_usage_is_refused_before_anything_is_sent():
    async with scripted_upstream(stream(*HELLO)) as server:
        async with Client(server.base_url, api_key="sk-1", headers={"x-team": "a"}) as client:
            await read(client)
            with pytest.raises(InvalidRequest, match="dialect"):
                client.stream(model="m", messages="hi", dialect="telepathy")
            with pytest.raises(InvalidRequest, match="messages"):
                client.stream(model="m")

        assert (server.seen[0].header("authorization"), server.seen[0].header("x-team")) == ("Bearer sk-1", "a")
        assert len(server.seen) == 1
