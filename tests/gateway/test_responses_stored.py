"""Stored and background responses, as the official OpenAI SDK meets them."""

import asyncio
import json
from contextlib import asynccontextmanager

import openai
import pytest

from support.gateway_server import config_text, gateway_server, until
from support.raw_http import KEY, Answer, ask, connected, request
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
    delta,
    document,
    http_chunk,
    scripted_upstream,
    stream,
)

OTHER_KEY = "sw-other-key"
PATIENT = "timeouts = { idle = 30 }\nretries = 0"
HALF = [
    SSE, *map(http_chunk, (ROLE, delta("one "), delta("two "))), Fault.GATE,
    *map(http_chunk, (delta("three"), FINISH, USAGE_CHUNK, DONE)), LAST,
]  # fmt: skip


@asynccontextmanager
async def behind(*scripts, **tables: str):
    """The gateway in front of an upstream with *scripts*, and the SDK's client for it."""
    async with scripted_upstream(*scripts) as upstream:
        tables.setdefault("mock", PATIENT)
        text = config_text(upstream.base_url, **tables).replace(f'keys = ["{KEY}"]', f'keys = ["{KEY}", "{OTHER_KEY}"]')
        async with gateway_server(text) as served:
            client = openai.AsyncOpenAI(api_key=KEY, base_url=served.url + "/v1", max_retries=0)
            async with client:
                yield served, upstream, client


def post(**body) -> bytes:
    return request("POST", "/v1/responses", json.dumps({"model": "mock/m", "input": "hi", **body}).encode())


def get(response_id: str, query: str = "", *, key: str = KEY) -> bytes:
    return request("GET", f"/v1/responses/{response_id}{query}", key=key)


def events(answer: Answer) -> list[dict]:
    """The JSON events of an answer; the end marker is hidden from who reads line by line."""
    return [json.loads(line[6:]) for line in answer.body.split(b"\n") if line.startswith(b"data: ")]


def numbers(answer: Answer) -> list[int]:
    return [event["sequence_number"] for event in events(answer)]


# -- stored by default


async def test_a_response_can_be_retrieved_after_it_ended():
    async with behind(document(COMPLETION)) as (_, _, client):
        made = await client.responses.create(model="mock/m", input="hi", metadata={"a": "b"})
        found = await client.responses.retrieve(made.id)

    assert found.output_text == "Hello"
    assert found.metadata == {"a": "b"}
    assert made.to_dict() == found.to_dict()


async def test_a_streamed_response_is_stored_as_its_last_event_said():
    async with behind(stream(*HELLO)) as (_, _, client):
        whole = [event async for event in await client.responses.create(model="mock/m", input="hi", stream=True)]
        found = await client.responses.retrieve(whole[-1].response.id)

    assert whole[-1].type == "response.completed"
    assert found.to_dict() == whole[-1].response.to_dict()
    assert found.usage.output_tokens == 2


async def test_store_false_leaves_nothing():
    async with behind(document(COMPLETION)) as (_, _, client):
        made = await client.responses.create(model="mock/m", input="hi", store=False)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="mock/m", input="more", previous_response_id=made.id)

    assert made.store is False
    assert refused.value.code == "previous_response_not_found"
    assert refused.value.param == "previous_response_id"


async def test_a_strangers_response_does_not_exist():
    async with behind(document(COMPLETION)) as (served, _, client):
        made = await client.responses.create(model="mock/m", input="hi")
        async with openai.AsyncOpenAI(api_key=OTHER_KEY, base_url=served.url + "/v1", max_retries=0) as stranger:
            for attempt in (
                stranger.responses.retrieve(made.id), stranger.responses.delete(made.id), stranger.responses.cancel(made.id),
                stranger.responses.input_items.list(made.id),
            ):  # fmt: skip
                with pytest.raises(openai.NotFoundError):
                    await attempt
            with pytest.raises(openai.BadRequestError):
                await stranger.responses.create(model="mock/m", input="more", previous_response_id=made.id)
        streamed = await ask(served.port, get(made.id, "?stream=true", key=OTHER_KEY))
        keyless = await ask(served.port, request("GET", f"/v1/responses/{made.id}", key=None))

    assert (streamed.status, keyless.status) == (404, 401)


async def test_a_deleted_response_is_gone():
    async with behind(document(COMPLETION)) as (served, _, client):
        made = await client.responses.create(model="mock/m", input="hi")
        deleted = await ask(served.port, request("DELETE", f"/v1/responses/{made.id}"))
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)

    assert deleted.json() == {"id": made.id, "object": "response", "deleted": True}


async def test_input_items_are_listed_page_by_page():
    said = [("user", "one"), ("assistant", "two"), ("user", "three")]
    given = [{"role": role, "content": text} for role, text in said]
    async with behind(document(COMPLETION)) as (_, _, client):
        made = await client.responses.create(model="mock/m", input=given)
        newest = await client.responses.input_items.list(made.id, limit=2)
        everything = [item async for item in client.responses.input_items.list(made.id, limit=1, order="asc")]

    assert [item.content[0].text for item in newest.data] == ["three", "two"]
    assert newest.has_more
    assert [item.content[0].text for item in everything] == ["one", "two", "three"]


# -- conversations


async def test_a_conversation_goes_on_from_a_stored_response():
    async with behind(document(COMPLETION)) as (_, upstream, client):
        first = await client.responses.create(model="mock/m", input="first", instructions="be kind")
        second = await client.responses.create(model="mock/m", input="second", previous_response_id=first.id)
        third = await client.responses.create(model="mock/m", input="third", previous_response_id=second.id)

    assert [(message["role"], message["content"]) for message in upstream.seen[2].json()["messages"]] == [
        ("user", "first"), ("assistant", "Hello"), ("user", "second"), ("assistant", "Hello"), ("user", "third"),
    ]  # fmt: skip
    assert third.previous_response_id == second.id
    assert b"previous_response_id" not in upstream.seen[2].body


async def test_a_conversation_with_a_deleted_turn_is_refused():
    async with behind(document(COMPLETION)) as (_, upstream, client):
        first = await client.responses.create(model="mock/m", input="first")
        second = await client.responses.create(model="mock/m", input="second", previous_response_id=first.id)
        await client.responses.delete(first.id)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="mock/m", input="third", previous_response_id=second.id)

    assert refused.value.code == "previous_response_not_found"
    assert first.id in str(refused.value)
    assert len(upstream.seen) == 2


async def test_a_tool_result_finds_its_call_in_the_earlier_response():
    called = {**COMPLETION, "choices": [{"index": 0, "finish_reason": "tool_calls", "message": {
        "role": "assistant", "content": None,
        "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    }}]}  # fmt: skip
    tools = [{"type": "function", "name": "f", "parameters": {"type": "object"}}]
    async with behind(document(called), document(COMPLETION)) as (_, upstream, client):
        first = await client.responses.create(model="mock/m", input="go", tools=tools)
        output = [{"type": "function_call_output", "call_id": "call_1", "output": "42"}]
        await client.responses.create(model="mock/m", input=output, previous_response_id=first.id, tools=tools)

    sent = upstream.seen[1].json()["messages"]
    assert [message["role"] for message in sent] == ["user", "assistant", "tool"]
    assert (sent[2]["tool_call_id"], sent[2]["content"]) == ("call_1", "42")


async def test_item_references_are_resolved():
    async with behind(document(COMPLETION)) as (_, upstream, client):
        first = await client.responses.create(model="mock/m", input="first")
        reference = {"type": "item_reference", "id": first.output[0].id}
        await client.responses.create(model="mock/m", input=[reference, {"role": "user", "content": "and now?"}])
        with pytest.raises(openai.NotFoundError) as refused:
            await client.responses.create(model="mock/m", input=[{"type": "item_reference", "id": "msg_nothing"}])

    sent = upstream.seen[1].json()["messages"]
    assert [(message["role"], message["content"]) for message in sent] == [("assistant", "Hello"), ("user", "and now?")]
    assert refused.value.code == "item_not_found"


# -- replay


async def test_a_stored_response_can_be_replayed_from_the_beginning_but_not_resumed():
    async with behind(stream(*HELLO)) as (served, _, client):
        first = [event async for event in await client.responses.create(model="mock/m", input="hi", stream=True)]
        response_id = first[0].response.id
        again = [event async for event in await client.responses.retrieve(response_id, stream=True)]
        resumed = await ask(served.port, get(response_id, "?stream=true&starting_after=3"))

    assert again[-1].to_dict()["response"] == first[-1].to_dict()["response"]
    assert [event.sequence_number for event in again] == list(range(len(again)))
    assert {event.type for event in again} == {event.type for event in first}
    assert (resumed.status, resumed.error["param"]) == (400, "starting_after")


async def test_a_failed_stream_is_stored_and_replayed_as_failed():
    async with behind([SSE, *map(http_chunk, (ROLE, delta("one "))), Fault.RESET]) as (served, _, client):
        first = events(await ask(served.port, post(stream=True)))
        found = await client.responses.retrieve(first[0]["response"]["id"])
        again = events(await ask(served.port, get(found.id, "?stream=true")))

    assert (found.status, found.error.code) == ("failed", "upstream_reset")
    assert found.output_text == "one "
    assert [event["type"] for event in again[-2:]] == ["error", "response.failed"]
    assert again[-1]["response"] == first[-1]["response"]


async def test_a_stream_whose_client_left_is_stored_as_cancelled_with_what_was_said():
    async with behind(HALF) as (served, upstream, client):
        async with connected(served.port) as connection:
            await connection.send(post(stream=True))
            answer = await connection.head()
            while b"two " not in answer.body:
                answer.chunks.append(await connection.chunk())
        await upstream.seen[0].wait_gone()
        response_id = json.loads(answer.body.split(b"\n")[1][6:])["response"]["id"]
        found = await client.responses.retrieve(response_id)

    assert (found.status, found.output_text) == ("cancelled", "one two ")


# -- background


async def test_a_background_response_can_be_polled_to_its_end():
    async with behind(HALF) as (served, upstream, client):
        made = await client.responses.create(model="mock/m", input="hi", background=True)
        await until(lambda: any(call.committed for call in served.gateway.durable.calls.values()))
        running = await client.responses.retrieve(made.id)
        upstream.gate.set()
        await until(lambda: not served.gateway.durable.calls)
        done = await client.responses.retrieve(made.id)

    assert (made.status, made.background, made.output) == ("queued", True, [])
    assert running.status == "in_progress"
    assert (done.status, done.output_text, done.usage.output_tokens) == ("completed", "one two three", 2)
    assert done.completed_at >= done.created_at


async def test_a_background_stream_outlives_its_client_and_resumes_with_the_exact_bytes():
    async with behind(HALF, streams="orphan_timeout_s = 0.05") as (served, upstream, client):
        async with connected(served.port) as connection:
            await connection.send(post(stream=True, background=True))
            answer = await connection.head()
            while b"two " not in answer.body:
                answer.chunks.append(await connection.chunk())
        response_id = answer.get("x-streamward-stream-id") or ""
        last = numbers(answer)[-1]
        async with connected(served.port) as second:
            await second.send(get(response_id, f"?stream=true&starting_after={last}"))
            rest = await second.head()
            upstream.gate.set()
            await second.body(rest)
        whole = await ask(served.port, get(response_id, "?stream=true"))
        resumed = [
            event async for event in await client.responses.retrieve(response_id, stream=True, starting_after=last)
        ]  # fmt: skip

    assert whole.body == answer.body + rest.body
    assert whole.body.endswith(b": end\rdata: [DONE]\n\n")
    assert [event.sequence_number for event in resumed] == numbers(rest)
    assert resumed[-1].response.output_text == "one two three"
    assert b"event: response.queued" in answer.body


async def test_the_sdks_stream_helper_resumes_a_background_response():
    async with behind(stream(*HELLO)) as (_served, _, client):
        made = await client.responses.create(model="mock/m", input="hi", background=True, stream=True)
        whole = [event async for event in made]
        async with client.responses.stream(response_id=whole[0].response.id, starting_after=4) as resumed:
            rest = [event async for event in resumed]
            final = await resumed.get_final_response()

    assert rest[0].sequence_number == 5
    assert rest[-1].sequence_number == whole[-1].sequence_number
    assert final.output_text == "Hello"


async def test_cancelling_stops_the_provider_and_keeps_what_was_said():
    async with behind(HALF) as (served, upstream, client):
        made = await client.responses.create(model="mock/m", input="hi", background=True)
        await until(lambda: any(call.committed for call in served.gateway.durable.calls.values()))
        cancelled = await client.responses.cancel(made.id)
        await upstream.seen[0].wait_gone()
        again = await client.responses.cancel(made.id)
        found = await client.responses.retrieve(made.id)
        streamed = await ask(served.port, get(made.id, "?stream=true"))

    assert (cancelled.status, cancelled.output_text) == ("cancelled", "one two ")
    assert cancelled.to_dict() == again.to_dict() == found.to_dict()
    assert b"event: response.incomplete" in streamed.body


async def test_cancelling_before_the_first_token_ends_the_response():
    async with behind([Fault.STALL]) as (_, upstream, client):
        made = await client.responses.create(model="mock/m", input="hi", background=True)
        await upstream.request()
        cancelled = await client.responses.cancel(made.id)
        followed = [event async for event in await client.responses.retrieve(made.id, stream=True)]

    assert (cancelled.status, cancelled.output) == ("cancelled", [])
    assert [event.type for event in followed] == [
        "response.created", "response.queued", "response.in_progress", "response.incomplete",
    ]  # fmt: skip


async def test_only_background_responses_can_be_cancelled():
    async with behind(document(COMPLETION)) as (_, _, client):
        made = await client.responses.create(model="mock/m", input="hi")
        with pytest.raises(openai.BadRequestError, match="background"):
            await client.responses.cancel(made.id)


async def test_a_background_response_that_fails_at_once_says_so_when_polled():
    async with behind(document({"error": {}}, 500)) as (served, _, client):
        made = await client.responses.create(model="mock/m", input="hi", background=True)
        await until(lambda: not served.gateway.durable.calls)
        found = await client.responses.retrieve(made.id)
        followed = events(await ask(served.port, get(made.id, "?stream=true")))

    assert (made.status, found.status, found.error.code) == ("queued", "failed", "upstream_error")
    assert followed[0]["type"] == "response.created"
    assert [event["type"] for event in followed[-2:]] == ["error", "response.failed"]
    assert followed[-1]["response"]["error"]["code"] == "upstream_error"


async def test_background_without_store_or_with_an_unknown_model_is_refused():
    async with behind(stream(*HELLO)) as (_, upstream, client):
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="mock/m", input="hi", background=True, store=False)
        with pytest.raises(openai.NotFoundError):
            await client.responses.create(model="nobody/none", input="hi", background=True)

    assert upstream.seen == []


async def test_a_running_response_cannot_be_continued_yet():
    async with behind(HALF) as (served, upstream, client):
        made = await client.responses.create(model="mock/m", input="hi", background=True)
        with pytest.raises(openai.BadRequestError) as refused:
            await client.responses.create(model="mock/m", input="more", previous_response_id=made.id)
        upstream.gate.set()
        await until(lambda: not served.gateway.durable.calls)
        await client.responses.create(model="mock/m", input="more", previous_response_id=made.id, background=True)

    assert refused.value.code == "previous_response_not_finished"


async def test_deleting_a_running_response_stops_it_and_it_stays_deleted():
    async with behind(HALF) as (served, upstream, client):
        made = await client.responses.create(model="mock/m", input="hi", background=True)
        await until(lambda: any(call.committed for call in served.gateway.durable.calls.values()))
        await client.responses.delete(made.id)
        await upstream.seen[0].wait_gone()
        await until(lambda: not served.gateway.durable.calls)
        with pytest.raises(openai.NotFoundError):
            await client.responses.retrieve(made.id)
        dropped = served.gateway.storage.database.dropped

    assert dropped == 0


async def test_an_idempotency_key_returns_the_same_background_response():
    async with behind(stream(*HELLO)) as (served, upstream, client):
        headers = {"idempotency-key": "k1"}
        first = await client.responses.create(model="mock/m", input="hi", background=True, extra_headers=headers)
        await until(lambda: not served.gateway.durable.calls)
        second = await client.responses.create(model="mock/m", input="hi", background=True, extra_headers=headers)

    assert first.id == second.id
    assert second.status == "completed"
    assert len(upstream.seen) == 1


async def test_a_resumable_stream_that_is_not_in_the_background_resumes_too():
    async with behind(stream(*HELLO)) as (served, _, _):
        body = json.dumps({"model": "mock/m", "input": "hi", "stream": True}).encode()
        whole = await ask(served.port, request("POST", "/v1/responses", body, {"x-streamward-resumable": "1"}))
        response_id = whole.get("x-streamward-stream-id") or ""
        rest = await ask(served.port, get(response_id, "?stream=true&starting_after=4"))
        by_stream = await ask(served.port, request("GET", f"/v1/streams/{response_id}?after=4"))

    assert numbers(rest) == [number for number in numbers(whole) if number > 4]
    assert whole.body.endswith(rest.body)
    assert rest.body == by_stream.body
    assert b"\nid: " not in whole.body


# -- counting and compacting


async def test_input_tokens_are_an_estimate_and_say_so():
    async with behind() as (served, _, client):
        counted = await client.responses.input_tokens.count(model="mock/m", input="four words of text")
        raw = await ask(served.port, request("POST", "/v1/responses/input_tokens", b'{"input":"four words of text"}'))
        wrong = await ask(served.port, request("POST", "/v1/responses/input_tokens", b'{"input":7}'))
        messages = json.dumps({"model": "mock/m", "messages": [{"role": "user", "content": "four words of text"}]}).encode()
        anthropic = await ask(served.port, request("POST", "/v1/messages/count_tokens", messages))

    assert counted.object == "response.input_tokens"
    assert counted.input_tokens == raw.json()["input_tokens"] == anthropic.json()["input_tokens"] == 9
    assert raw.get("x-streamward-grade") == anthropic.get("x-streamward-grade") == "estimated"
    assert (wrong.status, wrong.error["param"]) == (400, "input")


async def test_a_compacted_conversation_is_accepted_back_as_input():
    summary = {**COMPLETION, "choices": [{"index": 0, "finish_reason": "stop", "message": {
        "role": "assistant", "content": "They like blue.",
    }}]}  # fmt: skip
    async with behind(document(COMPLETION), document(summary), document(COMPLETION)) as (_, upstream, client):
        first = await client.responses.create(model="mock/m", input="I like blue")
        compacted = await client.responses.compact(model="mock/m", previous_response_id=first.id)
        items = [item.to_dict() for item in compacted.output]
        await client.responses.create(model="mock/m", input=[*items, {"role": "user", "content": "what do I like?"}])
        damaged = {**items[0], "encrypted_content": items[0]["encrypted_content"][:-6] + "AAAAAA"}
        with pytest.raises(openai.BadRequestError):
            await client.responses.create(model="mock/m", input=[damaged, {"role": "user", "content": "x"}])

    assert compacted.object == "response.compaction"
    assert [item["type"] for item in items] == ["compaction"]
    assert "blue" not in items[0]["encrypted_content"]
    asked, continued = upstream.seen[1].json()["messages"], upstream.seen[2].json()["messages"]
    assert [message["content"] for message in asked[1:3]] == ["I like blue", "Hello"]
    assert "They like blue." in continued[0]["content"]
    assert continued[1]["content"] == "what do I like?"


async def test_compacting_nothing_or_without_a_model_is_400():
    async with behind(document({"error": {}}, 503)) as (served, _, _):
        nothing = await ask(served.port, request("POST", "/v1/responses/compact", b'{"model":"mock/m"}'))
        no_model = await ask(served.port, request("POST", "/v1/responses/compact", b'{"input":"x"}'))
        failing = await ask(served.port, request("POST", "/v1/responses/compact", b'{"model":"mock/m","input":"x"}'))

    assert (nothing.status, nothing.error["param"]) == (400, "input")
    assert (no_model.status, no_model.error["param"]) == (400, "model")
    assert failing.status == 502


async def test_a_plain_response_waits_for_no_database(monkeypatch):
    """What is stored is written behind: the answer is complete although the database has not taken anything yet."""
    async with behind(stream(*HELLO)) as (served, _, client):
        database = served.gateway.storage.database
        held = asyncio.Event()
        submit, kept = database.submit, []
        monkeypatch.setattr(database, "submit", kept.append)
        answer = await ask(served.port, post(stream=True))
        monkeypatch.setattr(database, "submit", submit)
        for job in kept:
            submit(job)
        held.set()
        found = await client.responses.retrieve(json.loads(answer.body.split(b"\n")[1][6:])["response"]["id"])

    assert answer.complete
    assert len(kept) == 1
    assert found.status == "completed"
