"""Durable calls over Chat Completions and Messages: resume, follow, stop, detach, idempotency; seen by raw clients."""

import asyncio
import json
import random
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from streamward.reply import collect
from streamward.wire.dialect import Profile
from streamward.wire.table import decoded
from support.gateway_server import Served, config_text, gateway_server, until
from support.raw_http import KEY, Answer, ask, chat, chat_request, connected, request
from support.scripted_upstream import (
    COMPLETION,
    DONE,
    FINISH,
    HELLO,
    LAST,
    ROLE,
    SSE,
    USAGE_CHUNK,
    Fault,
    ScriptedUpstream,
    delta,
    document,
    http_chunk,
    scripted_upstream,
    stream,
)

RESUMABLE = {"x-streamward-resumable": "1"}
OTHER_KEY = "sw-other-key"
TOKENS = [f"t{number} " for number in range(60)]
LONG = (ROLE, *(delta(token) for token in TOKENS), FINISH, DONE)


@asynccontextmanager
async def behind(*scripts, keys: str = f'keys = ["{KEY}", "{OTHER_KEY}"]', **tables: str):
    """The gateway in front of an upstream with *scripts*."""
    async with scripted_upstream(*scripts) as upstream:
        text = config_text(upstream.base_url, **tables).replace(f'keys = ["{KEY}"]', keys)
        async with gateway_server(text) as served:
            yield served, upstream


@asynccontextmanager
async def half_way() -> AsyncIterator[tuple[Served, ScriptedUpstream]]:
    """An upstream that says the first two tokens, and the rest once the gate is open."""
    first = [SSE, *map(http_chunk, (ROLE, delta("one "), delta("two ")))]
    rest = [*map(http_chunk, (delta("three"), FINISH, USAGE_CHUNK, DONE)), LAST]
    async with behind([*first, Fault.GATE, *rest], mock="timeouts = { idle = 30 }\nretries = 0") as pair:
        yield pair


def events(body: bytes) -> list[tuple[int, str]]:
    """(id, data) of every frame; each has exactly one id line, first, and nothing else stands between them."""
    out = []
    for block in body.split(b"\n\n"):
        while block.startswith(b": keep-alive\n"):
            block = block[len(b": keep-alive\n") :]
        if block:
            match = re.fullmatch(rb"id: (\d+)\n(?:event: \w+\n)?data: (.*)", block)
            assert match, block
            out.append((int(match[1]), match[2].decode()))
    return out


def follow(stream_id: str, after: int | None = None, *, key: str = KEY, headers: dict[str, str] | None = None) -> bytes:
    query = "" if after is None else f"?after={after}"
    return request("GET", f"/v1/streams/{stream_id}{query}", headers=headers, key=key)


async def read_until(connection, answer: Answer, text: bytes) -> None:
    while text not in answer.body:
        answer.chunks.append(await connection.chunk())


async def test_a_plain_stream_has_no_ids_and_no_stream_id():
    async with behind(stream(*HELLO)) as (served, _):
        answer = await ask(served.port, chat_request())

    assert answer.get("x-streamward-stream-id") is None
    assert b"id: " not in answer.body


async def test_a_durable_stream_numbers_its_frames_and_can_be_read_again():
    async with behind(stream(*HELLO)) as (served, upstream):
        first = await ask(served.port, chat_request(headers=RESUMABLE))
        stream_id = first.get("x-streamward-stream-id") or ""
        again = await ask(served.port, follow(stream_id))
        record, reader = await served.record(0), await served.record(1)

    numbers = [number for number, _ in events(first.body)]
    assert list(range(len(numbers))) == numbers
    assert events(first.body)[-1][1] == "[DONE]"
    assert re.fullmatch(r"st_[0-9a-f]{32}", stream_id)
    assert first.body == again.body
    assert stream_id == again.get("x-streamward-stream-id")
    assert again.get("cache-control") == "no-cache, no-transform"
    assert len(upstream.seen) == 1
    assert (
        record["ending"], record["grade"], record["input_tokens"], record["output_tokens"]
    ) == ("finished", "exact", 7, 2)  # fmt: skip
    assert (reader["ending"], reader["status"], reader["route"]) == ("finished", 200, "/v1/streams/{id}")
    assert "input_tokens" not in reader


@pytest.mark.parametrize("after", [-1, 0, 3, 4])
async def test_resuming_gives_exactly_what_comes_after_the_cursor(after: int):
    async with behind(stream(*HELLO)) as (served, _):
        whole = await ask(served.port, chat_request(headers=RESUMABLE))
        stream_id = whole.get("x-streamward-stream-id") or ""
        by_query = await ask(served.port, follow(stream_id, after))
        by_header = await ask(served.port, follow(stream_id, headers={"last-event-id": str(after)}))
        by_post = await ask(served.port, chat_request(headers={"last-event-id": f"{stream_id}:{after}"}))

    expected = [event for event in events(whole.body) if event[0] > after]
    assert expected == events(by_query.body)
    assert by_query.body == by_header.body == by_post.body
    assert by_post.complete


async def test_a_client_cut_at_random_points_loses_nothing_and_gets_nothing_twice():
    """The bytes of all its connections, up to the last whole frame of each, are the bytes of one that was never cut."""
    dice = random.Random(7)
    async with behind([SSE, *map(http_chunk, LONG), LAST]) as (served, upstream):
        got, cuts = b"", 0
        send, stream_id = chat_request(headers=RESUMABLE), ""
        while not got.endswith(b"[DONE]\n\n"):
            async with connected(served.port) as connection:
                await connection.send(send)
                answer = await connection.head()
                assert answer.status == 200
                stream_id = answer.get("x-streamward-stream-id") or ""
                raw = await connection.reader.read(dice.randrange(40, 3000))
            cuts += 1
            got += whole_frames(dechunked(raw))
            after = events(got)[-1][0] if got else -1
            send = follow(stream_id, after)
        whole = await ask(served.port, follow(stream_id))

    assert got == whole.body
    assert cuts > 5
    assert len(upstream.seen) == 1
    assert [
        json.loads(data)["choices"][0]["delta"]["content"] for _, data in events(got)[1:-2]
    ] == TOKENS  # fmt: skip


def dechunked(raw: bytes) -> bytes:
    """The body bytes in *raw*, chunked coding that may be cut anywhere."""
    out = b""
    while raw:
        size, found, rest = raw.partition(b"\r\n")
        if not found:
            break
        length = int(size, 16)
        out += rest[:length]
        raw = rest[length + 2 :]
    return out


def whole_frames(body: bytes) -> bytes:
    return body[: body.rfind(b"\n\n") + 2] if b"\n\n" in body else b""


async def test_generation_goes_on_when_the_client_leaves_and_a_later_reader_follows_live():
    async with half_way() as (served, upstream):
        async with connected(served.port) as connection:
            await connection.send(chat_request(headers=RESUMABLE))
            answer = await connection.head()
            await read_until(connection, answer, b"two ")
            stream_id = answer.get("x-streamward-stream-id") or ""
        async with connected(served.port) as second:
            await second.send(follow(stream_id, events(answer.body)[-1][0]))
            rest = await second.head()
            upstream.gate.set()
            await second.body(rest)
        whole = await ask(served.port, follow(stream_id))

    assert whole.body == answer.body + rest.body
    assert not upstream.seen[0].gone.is_set()


async def test_many_readers_share_one_upstream():
    async with half_way() as (served, upstream):
        first = asyncio.create_task(ask(served.port, chat_request(headers=RESUMABLE)))
        await upstream.request()
        await until(lambda: served.gateway.durable.calls and next(iter(served.gateway.durable.calls.values())).committed)
        stream_id = next(iter(served.gateway.durable.calls))
        readers = [asyncio.create_task(ask(served.port, follow(stream_id))) for _ in range(5)]
        await until(lambda: served.gateway.durable.readers[stream_id] == 6)
        upstream.gate.set()
        bodies = {(await reader).body for reader in (first, *readers)}

    assert len(bodies) == 1
    assert len(upstream.seen) == 1


async def test_a_stranger_gets_the_404_of_an_unknown_id():
    async with behind(stream(*HELLO)) as (served, _):
        mine = await ask(served.port, chat_request(headers=RESUMABLE))
        stream_id = mine.get("x-streamward-stream-id") or ""
        unknown_id = "st_" + "0" * len(stream_id[3:])
        stranger = await ask(served.port, follow(stream_id, key=OTHER_KEY))
        unknown = await ask(served.port, follow(unknown_id, key=OTHER_KEY))
        stop = await ask(served.port, request("POST", f"/v1/streams/{stream_id}/stop", b"", key=OTHER_KEY))
        keyless = await ask(served.port, request("GET", f"/v1/streams/{stream_id}", key=None))

    assert 404 == stranger.status == unknown.status == stop.status
    assert stranger.error["message"].replace(stream_id, unknown_id) == unknown.error["message"]
    assert stop.error == stranger.error
    assert keyless.status == 401


async def test_cursors_that_cannot_be_served_are_refused_in_the_dialects_shape():
    async with half_way() as (served, upstream):
        async with connected(served.port) as connection:
            await connection.send(chat_request(headers=RESUMABLE))
            answer = await connection.head()
            await read_until(connection, answer, b"two ")
            stream_id = answer.get("x-streamward-stream-id") or ""
            malformed = await ask(served.port, request("GET", f"/v1/streams/{stream_id}?after=x"))
            ahead = await ask(served.port, follow(stream_id, 99))
            other_body = await ask(
                served.port, chat_request(headers={"last-event-id": f"{stream_id}:0"}, temperature=1)
            )  # fmt: skip
            no_id = await ask(served.port, chat_request(headers={"last-event-id": "3"}))
            upstream.gate.set()
            await connection.body(answer)
        past_the_end = await ask(served.port, follow(stream_id, 99))

    assert (malformed.status, malformed.error["param"]) == (400, "after")
    assert (ahead.status, ahead.error["code"]) == (409, "conflict")
    assert (other_body.status, other_body.error["code"]) == (422, "idempotency_key_reused")
    assert (no_id.status, no_id.error["param"]) == (400, "Last-Event-ID")
    assert (past_the_end.status, past_the_end.body, past_the_end.complete) == (200, b"", True)


async def test_frames_past_the_streams_bound_are_410():
    async with behind([SSE, *map(http_chunk, LONG), LAST], streams="stream_bytes = 2000") as (served, _):
        first = await ask(served.port, chat_request(headers=RESUMABLE))
        gone = await ask(served.port, follow(first.get("x-streamward-stream-id") or "", 0))

    assert events(first.body)[-1][1] == "[DONE]"
    assert (gone.status, gone.error["code"]) == (410, "gone")


async def test_a_call_is_stopped_by_its_key_and_by_its_owner_alone():
    """A whole answer names its stream only when it is complete."""
    key = {"idempotency-key": "k-1"}
    async with behind([Fault.STALL]) as (served, upstream), connected(served.port) as connection:
        await connection.send(chat_request(headers=key, stream=False))
        await until(lambda: upstream.seen)
        stranger = await ask(served.port, request("POST", "/v1/streams/stop", b"", key, key=OTHER_KEY))
        keyless = await ask(served.port, request("POST", "/v1/streams/stop", b""))
        stopped = await ask(served.port, request("POST", "/v1/streams/stop", b"", key))
        answer = await connection.answer()
        await upstream.seen[0].wait_gone()
        again = await ask(served.port, request("POST", "/v1/streams/stop", b"", key))

    assert (stranger.status, keyless.status, again.status) == (404, 400, 404)
    assert (stopped.status, stopped.json()["object"]) == (200, "stream")
    assert answer.status >= 400


async def test_stop_cancels_the_provider_and_ends_the_stream_truthfully():
    async with half_way() as (served, upstream):
        async with connected(served.port) as connection:
            await connection.send(chat_request(headers=RESUMABLE))
            answer = await connection.head()
            await read_until(connection, answer, b"two ")
            stream_id = answer.get("x-streamward-stream-id") or ""
            stopped = await ask(served.port, request("POST", f"/v1/streams/{stream_id}/stop", b""))
            await connection.body(answer)
            await upstream.seen[0].wait_gone()
        again = await ask(served.port, request("POST", f"/v1/streams/{stream_id}/stop", b""))
        replay = await ask(served.port, follow(stream_id))
        record = await served.record()

    assert json.loads(events(answer.body)[-1][1])["error"]["code"] == "cancelled"
    assert b"[DONE]" not in answer.body
    assert answer.complete
    assert replay.body == answer.body
    assert (
        stopped.json()["status"], stopped.json()["usage"]["grade"], stopped.json()["usage"]["output_tokens"]
    ) == ("cancelled", "estimated", 3)  # fmt: skip
    assert stopped.json() == again.json()
    assert (record["ending"], record["code"]) == ("cancelled", "cancelled")


async def test_a_stream_that_nobody_reads_is_stopped_after_the_orphan_timeout():
    script = [SSE, *map(http_chunk, (ROLE, delta("one "))), Fault.STALL]
    tables = {"mock": "timeouts = { idle = 60 }\nretries = 0", "streams": "orphan_timeout_s = 0.2"}
    async with behind(script, **tables) as (served, upstream):
        async with connected(served.port) as connection:
            await connection.send(chat_request(headers=RESUMABLE))
            answer = await connection.head()
            await read_until(connection, answer, b"one ")
        await upstream.seen[0].wait_gone()
        replay = await ask(served.port, follow(answer.get("x-streamward-stream-id") or ""))

    assert "nobody was reading" in json.loads(events(replay.body)[-1][1])["error"]["message"]


async def test_keep_alives_on_streams_with_ids_have_a_single_newline():
    script = [SSE, *map(http_chunk, (ROLE, delta("one "))), Fault.GATE, http_chunk(FINISH), http_chunk(DONE), LAST]
    tables = {"mock": "timeouts = { idle = 60 }\nretries = 0", "streams": "keepalive_s = 0.1"}
    async with behind(script, **tables) as (served, upstream), connected(served.port) as connection:
        await connection.send(chat_request(headers=RESUMABLE))
        answer = await connection.head()
        await read_until(connection, answer, b": keep-alive\n")
        upstream.gate.set()
        await connection.body(answer)
        replay = await ask(served.port, follow(answer.get("x-streamward-stream-id") or ""))

    assert b": keep-alive\n\n" not in answer.body
    assert events(answer.body) == events(replay.body)
    assert b"keep-alive" not in replay.body


async def test_a_client_that_leaves_before_it_knows_the_stream_cancels_it():
    script = [SSE, Fault.STALL]
    async with behind(script, mock="timeouts = { idle = 60 }\nretries = 0") as (served, upstream):
        async with connected(served.port) as connection:
            await connection.send(chat_request(headers=RESUMABLE))
            await upstream.request()
            await until(lambda: served.gateway.durable.readers)
        await upstream.seen[0].wait_gone()
        record = await served.record()
        held = await served.gateway.durable.streams.store.held()

    assert (record["ending"], record["status"]) == ("cancelled", 499)
    assert held.live == 0


@pytest.mark.parametrize("store", ["memory", "sqlite"])
async def test_a_store_that_takes_no_stream_is_a_status_although_the_provider_has_answered(store: str, tmp_path: Path):
    """Memory says so at once, a file when it is to commit."""
    url = store if store == "memory" else f"sqlite:{tmp_path}/s.db"
    first = [SSE, *map(http_chunk, (ROLE, delta("one "))), Fault.STALL]
    tables = {"mock": "timeouts = { idle = 60 }\nretries = 0", "streams": f'store = "{url}"\nstore_bytes = 10'}
    async with behind(first, stream(*HELLO), **tables) as (served, _upstream), connected(served.port) as connection:
        await connection.send(chat_request(headers=RESUMABLE))
        answer = await connection.head()
        await read_until(connection, answer, b"one ")
        await served.gateway.durable.streams.store.sweep()
        refused = await ask(served.port, chat_request(headers=RESUMABLE))
        plain = await ask(served.port, chat_request())
        record = await served.record(0)

    assert (refused.status, refused.error["code"], refused.get("retry-after")) == (503, "overloaded", "5")
    if store == "memory":
        assert (record["status"], record["code"]) == (503, "overloaded")
    else:  # the provider had done its work by then, and that is what is booked
        assert (record["ending"], record["output_tokens"]) == ("finished", 2)
    assert plain.status == 200


# -- idempotency


async def test_a_key_used_again_returns_the_same_stream_and_bills_nothing():
    key = {"idempotency-key": "k-1"}
    async with behind(stream(*HELLO)) as (served, upstream):
        first = await ask(served.port, chat_request(headers=key))
        second = await ask(served.port, chat_request(headers=key))
        records = [await served.record(number) for number in (0, 1)]

    assert first.body == second.body
    assert first.get("x-streamward-stream-id") == second.get("x-streamward-stream-id")
    assert len(upstream.seen) == 1
    assert [record.get("input_tokens") for record in records] == [7, None]


async def test_a_key_with_another_body_is_422_and_another_tenants_key_is_its_own():
    key = {"idempotency-key": "k-1"}
    async with behind(stream(*HELLO)) as (served, upstream):
        await ask(served.port, chat_request(headers=key))
        reused = await ask(served.port, chat_request(headers=key, temperature=0.5))
        body = json.dumps(chat()).encode()
        other = await ask(served.port, request("POST", "/v1/chat/completions", body, key, key=OTHER_KEY))

    assert (reused.status, reused.error["code"]) == (422, "idempotency_key_reused")
    assert other.status == 200
    assert len(upstream.seen) == 2


async def test_two_requests_with_one_key_at_once_make_one_call():
    key = {"idempotency-key": "k-1"}
    async with half_way() as (served, upstream):
        both = [asyncio.create_task(ask(served.port, chat_request(headers=key))) for _ in range(2)]
        await upstream.request()
        upstream.gate.set()
        first, second = [await answer for answer in both]

    assert first.body == second.body
    assert len(upstream.seen) == 1


async def test_a_call_that_is_not_streamed_is_answered_again_from_its_key():
    key = {"idempotency-key": "k-1"}
    async with behind(document(COMPLETION)) as (served, upstream):
        first = await ask(served.port, chat_request(stream=False, headers=key))
        second = await ask(served.port, chat_request(stream=False, headers=key))

    assert COMPLETION["choices"] == first.json()["choices"]
    assert first.body == second.body
    assert second.get("content-type") == "application/json"
    assert len(upstream.seen) == 1


async def test_a_key_whose_call_failed_before_its_first_token_may_try_again():
    key = {"idempotency-key": "k-1"}
    async with behind(document({"error": {}}, 500), document({"error": {}}, 500), stream(*HELLO)) as (served, upstream):
        answers = [await ask(served.port, chat_request(headers=key)) for _ in range(4)]

    assert [answer.status for answer in answers] == [502, 502, 200, 200]
    assert answers[2].body == answers[3].body
    assert len(upstream.seen) == 3


async def test_a_bad_key_is_400():
    async with behind(stream(*HELLO)) as (served, _):
        answer = await ask(served.port, chat_request(headers={"idempotency-key": "x" * 256}))

    assert (answer.status, answer.error["param"]) == (400, "Idempotency-Key")


# -- configuration and other dialects


async def test_durable_by_configuration_and_never():
    async with behind(stream(*HELLO), streams='durable = "always"') as (served, _):
        always = await ask(served.port, chat_request())
        whole = await ask(served.port, chat_request(stream=False))
    async with behind(stream(*HELLO), streams='durable = "never"') as (served, _):
        never = await ask(served.port, chat_request(headers=RESUMABLE | {"idempotency-key": "k"}))

    assert events(always.body)
    assert whole.get("x-streamward-stream-id") is None
    assert b"id: " not in never.body


async def test_messages_streams_resume_by_the_same_means():
    body = json.dumps({
        "model": "mock/m", "max_tokens": 9, "stream": True, "messages": [{"role": "user", "content": "hi"}],
    }).encode()  # fmt: skip
    async with behind(stream(*HELLO)) as (served, _):
        whole = await ask(served.port, request("POST", "/v1/messages", body, RESUMABLE))
        stream_id = whole.get("x-streamward-stream-id") or ""
        rest = await ask(served.port, follow(stream_id, 2))
        ahead = await ask(served.port, request("GET", f"/v1/streams/{stream_id}?after=-5"))

    assert whole.body.endswith(rest.body)
    assert events(rest.body)[0][0] == 3
    assert "message_stop" in events(rest.body)[-1][1]
    assert ahead.status == 400


async def test_a_refused_durable_call_is_a_status_and_leaves_no_stream():
    async with behind(document({"error": {}}, 401)) as (served, _):
        refused = await ask(served.port, chat_request(headers=RESUMABLE))
        unknown = await ask(served.port, chat_request("nobody/none", headers=RESUMABLE))

    assert (refused.status, refused.error["code"]) == (502, "upstream_auth")
    assert unknown.status == 404


async def test_durable_streams_under_any_asgi_server():
    async with scripted_upstream(stream(*HELLO)) as upstream, gateway_server(
        config_text(upstream.base_url), http="h11"
    ) as served:  # fmt: skip
        whole = await ask(served.port, chat_request(headers=RESUMABLE))
        stream_id = whole.get("x-streamward-stream-id") or ""
        rest = await ask(served.port, follow(stream_id, 1))
        stopped = await ask(served.port, request("POST", f"/v1/streams/{stream_id}/stop", b""))
        metrics = await ask(served.port, request("GET", "/metrics"))

    assert whole.body.endswith(rest.body)
    assert events(rest.body)[0][0] == 2
    assert stopped.json()["status"] == "completed"
    assert stopped.json()["usage"] == {"input_tokens": 7, "output_tokens": 2, "grade": "exact"}
    assert b"streamward_durable_streams 0.0" in metrics.body


async def test_drain_ends_durable_streams_with_server_shutdown():
    async with half_way() as (served, _upstream), connected(served.port) as connection, connected(served.port) as second:
        await connection.send(chat_request(headers=RESUMABLE))
        answer = await connection.head()
        await read_until(connection, answer, b"two ")
        await second.send(follow(answer.get("x-streamward-stream-id") or ""))
        reader = await second.head()
        await read_until(second, reader, b"two ")
        served.gateway.end_all()
        await connection.body(answer)
        await second.body(reader)

    assert json.loads(events(answer.body)[-1][1])["error"]["code"] == "server_shutdown"
    assert answer.complete
    assert reader.body == answer.body or (not reader.complete and answer.body.startswith(reader.body))


# -- another dialect


async def test_a_stream_begun_in_one_dialect_is_read_on_in_another():
    """Half in Chat Completions, half in Messages, while it is being made; then by its numbers alone."""
    async with half_way() as (served, upstream):
        async with connected(served.port) as first:
            await first.send(chat_request(headers=RESUMABLE))
            answer = await first.head()
            await read_until(first, answer, b"two ")
        stream_id = answer.get("x-streamward-stream-id") or ""
        last = max(number for number, _ in events(answer.body))
        async with connected(served.port) as second:
            await second.send(request("GET", f"/v1/streams/{stream_id}?after={last}&dialect=messages"))
            rest = await second.head()
            await read_until(second, rest, b"content_block_start")
            upstream.gate.set()
            await read_until(second, rest, b"message_stop")
        mark = {"last-event-id": f"{stream_id}:{last + 1}"}
        again = await ask(served.port, request("GET", f"/v1/streams/{stream_id}?dialect=messages", headers=mark))

    assert rest.body.startswith(b'event: message_start\ndata: {"type":"message_start",')
    assert re.findall(rb'"text":"([^"]+)"', rest.body) == [b"three"]
    assert rest.body.endswith(b'event: message_stop\ndata: {"type":"message_stop"}\n\n')
    assert rest.body.endswith(again.body)
    assert again.body.count(b"message_start") == 0


@pytest.mark.parametrize("dialect", ["chat_completions", "responses", "messages"])
async def test_a_whole_stream_can_be_told_in_every_dialect(dialect: str):
    async with behind(stream(*HELLO)) as (served, _):
        first = await ask(served.port, chat_request(headers=RESUMABLE))
        stream_id = first.get("x-streamward-stream-id") or ""
        told = await ask(served.port, request("GET", f"/v1/streams/{stream_id}?dialect={dialect}"))

    assert told.status == 200
    assert (told.body == first.body) == (dialect == "chat_completions")
    reply = collect(decoded(dialect, Profile()).feed(told.body))
    assert (reply.text, reply.finish_reason) == ("Hello", "stop")


async def test_what_cannot_be_told_is_refused_with_a_reason():
    async with behind(stream(*HELLO), document(COMPLETION)) as (served, _):
        first = await ask(served.port, chat_request(headers=RESUMABLE))
        stream_id = first.get("x-streamward-stream-id") or ""
        whole = await ask(served.port, chat_request(headers={"idempotency-key": "k"}, stream=False))
        whole_id = whole.get("x-streamward-stream-id") or ""
        answers = [
            await ask(served.port, request("GET", path))
            for path in (
                f"/v1/streams/{stream_id}?dialect=telex", f"/v1/streams/{whole_id}?dialect=messages",
                "/v1/streams/st_unknown?dialect=messages",
            )
        ]  # fmt: skip
        stranger = await ask(served.port, request("GET", f"/v1/streams/{stream_id}?dialect=messages", key=OTHER_KEY))

    assert [answer.status for answer in answers] == [400, 409, 404]
    assert b"expected one of chat_completions, responses, messages" in answers[0].body
    assert b"was not streamed" in answers[1].body
    assert stranger.status == 404
