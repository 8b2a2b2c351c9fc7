"""The WebSocket transport of /v1/responses, with a real client over real sockets."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidStatus

from streamward.gateway.responses_socket import serve_socket
from support.gateway_server import config_text, gateway_server, until
from support.raw_http import KEY
from support.scripted_upstream import (
    HELLO,
    ROLE,
    SSE,
    Fault,
    delta,
    document,
    http_chunk,
    scripted_upstream,
    stream,
)

PATIENT = "timeouts = { idle = 30 }\nretries = 0"


@asynccontextmanager
async def behind(*scripts, **tables: str):
    async with scripted_upstream(*scripts) as upstream:
        tables.setdefault("mock", PATIENT)
        async with gateway_server(config_text(upstream.base_url, **tables)) as served:
            yield served, upstream


def socket(served, *, key: str | None = KEY, path: str = "/v1/responses", **options):
    headers = {} if key is None else {"authorization": f"Bearer {key}"}
    return connect(f"ws://127.0.0.1:{served.port}{path}", additional_headers=headers, **options)


LAST_EVENTS = ("response.completed", "response.failed", "response.incomplete", "error")


async def ask(connection: ClientConnection, **body) -> list[dict]:
    """One turn: all its events."""
    await connection.send(json.dumps({"type": "response.create", "model": "mock/m", **body}))
    events: list[dict] = []
    async with asyncio.timeout(10):
        while not events or events[-1]["type"] not in LAST_EVENTS:
            events.append(json.loads(await connection.recv()))
    if events[-1]["type"] == "error" and "sequence_number" in events[-1]:
        events.append(json.loads(await connection.recv()))
    return events


async def test_a_turn_sends_the_events_of_a_stream_as_messages():
    async with behind(stream(*HELLO)) as (served, upstream), socket(served) as connection:
        events = await ask(connection, input="hi")
        record = await served.record()

    assert events[0]["type"] == "response.created"
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert events[-1]["response"]["output"][0]["content"][0]["text"] == "Hello"
    assert upstream.seen[0].json()["stream"] is True
    assert (record["ending"], record["route"], record["status"]) == ("finished", "/v1/responses", 200)


async def test_turns_go_on_from_what_only_this_connection_knows():
    async with behind(stream(*HELLO)) as (served, upstream):
        async with socket(served) as connection:
            first = await ask(connection, input="first", store=False)
            await ask(connection, input="second", store=False, previous_response_id=first[-1]["response"]["id"])
        async with socket(served) as another:
            refused = await ask(another, input="third", previous_response_id=first[-1]["response"]["id"])

    sent = upstream.seen[1].json()["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [
        ("user", "first"), ("assistant", "Hello"), ("user", "second"),
    ]  # fmt: skip
    assert (refused[0]["status"], refused[0]["error"]["code"]) == (400, "previous_response_not_found")
    assert len(upstream.seen) == 2


async def test_a_stored_response_is_continued_on_any_connection():
    async with behind(stream(*HELLO)) as (served, upstream):
        async with socket(served) as connection:
            first = await ask(connection, input="first")
        async with socket(served) as another:
            await ask(another, input="second", previous_response_id=first[-1]["response"]["id"])

    assert len(upstream.seen[1].json()["messages"]) == 3


async def test_a_failed_continuation_forgets_what_it_continued():
    scripts = (stream(*HELLO), document({"error": {}}, 500), stream(*HELLO))
    async with behind(*scripts) as (served, _), socket(served) as connection:
        first = await ask(connection, input="first", store=False)
        previous = first[-1]["response"]["id"]
        failed = await ask(connection, input="second", store=False, previous_response_id=previous)
        gone = await ask(connection, input="third", store=False, previous_response_id=previous)
        fresh = await ask(connection, input="fourth", store=False)

    assert (failed[0]["type"], failed[0]["status"], failed[0]["error"]["code"]) == ("error", 502, "upstream_error")
    assert gone[0]["error"]["code"] == "previous_response_not_found"
    assert fresh[-1]["type"] == "response.completed"


@pytest.mark.parametrize(("message", "param"), [
    ("{oops", None), ('{"type":"response.cancel"}', "type"), ("[]", None),
    ('{"type":"response.create","model":"mock/m","input":"x","background":true}', "background"),
    ('{"type":"response.create","model":"mock/m","input":7}', "input"),
])  # fmt: skip
async def test_a_message_that_is_no_request_is_an_error_and_the_connection_lives(message: str, param: str | None):
    async with behind(stream(*HELLO)) as (served, _), socket(served) as connection:
        await connection.send(message)
        error = json.loads(await connection.recv())
        after = await ask(connection, input="hi")

    assert (error["type"], error["status"], error["error"]["param"]) == ("error", 400, param)
    assert after[-1]["type"] == "response.completed"


async def test_turns_sent_at_once_are_answered_one_after_the_other():
    async with behind(stream(*HELLO)) as (served, _), socket(served) as connection:
        for text in ("a", "b", "c"):
            await connection.send(json.dumps({"type": "response.create", "model": "mock/m", "input": text}))
        ids, done = [], 0
        while done < 3:
            event = json.loads(await connection.recv())
            if "response" in event and event["response"]["id"] not in ids:
                ids.append(event["response"]["id"])
                assert len(ids) == done + 1, "a turn began before the last one had ended"
            done += event["type"] == "response.completed"

    assert len(ids) == 3


async def test_the_provider_is_cancelled_when_the_client_leaves():
    async with behind([SSE, *map(http_chunk, (ROLE, delta("one "))), Fault.STALL]) as (served, upstream):
        async with socket(served) as connection:
            await connection.send(json.dumps({"type": "response.create", "model": "mock/m", "input": "hi"}))
            while "one " not in str(await connection.recv()):
                pass
        await upstream.seen[0].wait_gone()
        record = await served.record()

    assert record["ending"] == "cancelled"


async def test_a_stream_that_breaks_ends_with_error_and_failed():
    script = [SSE, *map(http_chunk, (ROLE, delta("one "))), Fault.RESET]
    async with behind(script) as (served, _), socket(served) as connection:
        events = await ask(connection, input="hi")

    assert [event["type"] for event in events[-2:]] == ["error", "response.failed"]
    assert events[-1]["response"]["error"]["code"] == "upstream_reset"


async def test_keys_hosts_and_origins_are_checked_at_the_handshake():
    async with behind() as (served, _):
        own = f"http://127.0.0.1:{served.port}"
        async with socket(served, origin=own), socket(served):
            pass
        statuses = []
        for options in ({"key": None}, {"key": "wrong"}, {"origin": "http://evil.example"}):
            with pytest.raises(InvalidStatus) as refused:
                async with socket(served, **options):
                    pass
            statuses.append(refused.value.response.status_code)

    assert statuses == [401, 401, 403]


async def test_an_unknown_host_is_refused():
    async with behind() as (served, _):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(
                "ws://evil.example/v1/responses", host="127.0.0.1", port=served.port,
                additional_headers={"authorization": f"Bearer {KEY}"},
            ):  # fmt: skip
                pass

    assert refused.value.response.status_code == 421


async def test_a_client_that_does_not_read_pauses_the_provider():
    """The kernel takes some megabytes on loopback; what is beyond them waits at the provider."""
    big = delta("x" * 50_000)
    script = [SSE, *map(http_chunk, (ROLE, *([big] * 2000))), Fault.STALL]
    async with behind(script) as (served, upstream), socket(served, max_queue=1, compression=None) as connection:
        await connection.send(json.dumps({"type": "response.create", "model": "mock/m", "input": "hi"}))
        await until(lambda: any(call.attempts and call.attempts.paused for call in served.gateway.active))
        written = upstream.seen[0].written
        connection.transport.abort()

    assert written < 1000 * len(big)


async def test_a_connection_past_its_age_is_told_and_closed():
    async with behind(stream(*HELLO)) as (served, _):
        gateway = served.gateway

        async def short(websocket) -> None:
            await serve_socket(gateway, websocket, max_age_s=0.05)

        gateway.asgi = Starlette(routes=[WebSocketRoute("/short", short)])
        async with socket(served, path="/short") as connection:
            error = json.loads(await connection.recv())
            await connection.wait_closed()

    assert error["error"]["code"] == "websocket_connection_limit_reached"
