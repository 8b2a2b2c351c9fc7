"""Mid-stream failover on real sockets: the next target goes on where the first broke off."""

import asyncio
import json

import pytest

from matrix.render import meaning
from streamward.wire.splice import INSTRUCTION
from support.gateway_server import config_text, gateway_server
from support.raw_http import ask, chat, chat_request, request
from support.scripted_upstream import (
    DONE,
    HELLO,
    LAST,
    ROLE,
    SSE,
    USAGE_CHUNK,
    Fault,
    delta,
    document,
    frame,
    http_chunk,
    scripted_upstream,
    stream,
)

TIMES = "timeouts = { connect = 1, first_byte = 0.4, idle = 0.4, total = 20 }\nretries = 0"
OTHER = 'base_url = "%s"\napi_key = "sk-other"\n' + TIMES
ON = "continue_midstream = true"
SEAM = b": streamward-seam target=spare/b\n\n"
FIRST = (ROLE, delta("The quick "), delta("brown fox "))
REST = stream(ROLE, delta("brown "), delta("fox jumps "), delta("over."), delta(finish="stop"), USAGE_CHUNK, DONE)
WHOLE = "The quick brown fox jumps over."
BEGUN = [*stream(*FIRST, end=False), Fault.GATE]  # the caller has read of it before it breaks
BREAKS = {
    "reset": [*BEGUN, Fault.RESET],
    "truncated": [*BEGUN, LAST],
    "stalled": [*BEGUN, Fault.STALL],
    "error frame": [*BEGUN, http_chunk(frame({"error": {"message": "x"}})), LAST],
    "junk": [*BEGUN, http_chunk(b"data: {oops\n\n"), LAST],
}


async def asked_of(served, mock, data: bytes):
    return await ask(served.port, data, on_chunk=mock.gate.set)


class Two:
    """Targets mock/a and spare/b behind the name ``pair``."""

    def __init__(self, first, second, table: str = ON) -> None:
        self.first, self.second, self.table = first, second, table

    async def __aenter__(self):
        self.contexts = []
        mock = await self.enter(scripted_upstream(*self.first))
        spare = await self.enter(scripted_upstream(*self.second))
        config = config_text(
            mock.base_url, mock=TIMES, providers__spare=OTHER % spare.base_url,
            models__pair=f'targets = ["mock/a", "spare/b"]\n{self.table}',
        )  # fmt: skip
        return await self.enter(gateway_server(config)), mock, spare

    async def enter(self, context):
        self.contexts.append(context)
        return await context.__aenter__()

    async def __aexit__(self, *exc) -> None:
        for context in reversed(self.contexts):
            await context.__aexit__(*exc)


@pytest.mark.parametrize("name", BREAKS)
async def test_the_next_target_goes_on(name: str):
    """One answer, one finish, the seam between frames, what was said already left out."""
    async with Two([BREAKS[name]], [REST]) as (served, mock, spare):
        answer = await asked_of(served, mock, chat_request("pair", stream_options={"include_usage": True}))
        record = await served.record()

    assert (answer.text, answer.finish_reason, answer.stream_error) == (WHOLE, "stop", None)
    assert answer.frames[-1] == "[DONE]"
    assert answer.body.count(SEAM) == 1
    assert any(piece.startswith(SEAM) for piece in answer.chunks)
    asked = spare.seen[0].json()
    assert asked["messages"][-2:] == [
        {"role": "assistant", "content": "The quick brown fox "}, {"role": "user", "content": INSTRUCTION},
    ]  # fmt: skip
    assert (record["target"], record["legs"], record["attempts"]) == ("spare/b", ["mock/a", "spare/b"], 2)
    assert (record["ending"], record["finish_reason"], record["status"]) == ("finished", "stop", 200)
    assert (record["input_tokens"], record["output_tokens"], record["grade"]) == (7, 2 + 2, "estimated")
    usage = next(frame["usage"] for frame in answer.frames[:-1] if frame.get("usage"))
    assert usage["completion_tokens"] == 4


@pytest.mark.parametrize("route", ["/v1/responses", "/v1/messages"])
async def test_in_every_client_dialect(route: str):
    body = {"model": "pair", "stream": True}
    body |= (
        {"input": "Tell."} if "responses" in route else {"max_tokens": 50, "messages": [{"role": "user", "content": "Tell."}]}
    )
    async with Two([BREAKS["reset"]], [REST]) as (served, mock, spare):
        answer = await asked_of(served, mock, request("POST", route, json.dumps(body).encode()))
        record = await served.record()

    said = meaning(route.rpartition("/")[2], answer.body)
    assert (said.text, said.finish, said.error) == (WHOLE, "stop", None)
    assert (b"message_stop" in answer.body) or (b"response.completed" in answer.body)
    assert SEAM in answer.body
    assert record["legs"] == ["mock/a", "spare/b"]
    assert len(spare.seen) == 1


async def test_only_where_it_is_asked_for():
    async with Two([BREAKS["reset"]], [REST], table="") as (served, mock, spare):
        plain = await asked_of(served, mock, chat_request("pair"))
        asked = await asked_of(served, mock, chat_request("pair", headers={"x-streamward-continue": "1"}))

    assert (plain.text, plain.stream_error["code"]) == ("The quick brown fox ", "upstream_reset")
    assert (asked.text, asked.stream_error, len(spare.seen)) == (WHOLE, None, 1)


async def test_a_stream_that_does_not_break_is_as_ever():
    async with Two([stream(*HELLO)], [REST]) as (served, mock, spare):
        answer = await asked_of(served, mock, chat_request("pair"))
        record = await served.record()

    assert (answer.text, answer.finish_reason, spare.seen) == ("Hello", "stop", [])
    assert (record["grade"], record["target"], "legs" in record) == ("exact", "mock/a", False)
    assert b"seam" not in answer.body


async def test_before_the_first_token_nothing_changes():
    async with Two([[SSE, http_chunk(ROLE), Fault.RESET]], [stream(*HELLO)]) as (served, mock, spare):
        answer = await asked_of(served, mock, chat_request("pair"))

    assert (answer.text, b"seam" in answer.body) == ("Hello", False)
    assert len(spare.seen[0].json()["messages"]) == 1


@pytest.mark.parametrize(
    "second",
    [document({"error": {}}, 503), [Fault.RESET], stream(ROLE), document({"error": {"message": "x"}}, 400), [Fault.STALL]],
)
async def test_when_nobody_goes_on_the_first_break_is_told(second):
    async with Two([BREAKS["reset"]], [second]) as (served, mock, _):
        answer = await asked_of(served, mock, chat_request("pair"))
        record = await served.record()

    assert (answer.text, answer.stream_error["code"], answer.complete) == ("The quick brown fox ", "upstream_reset", True)
    assert b"[DONE]" not in answer.body
    assert b"seam" not in answer.body
    assert (record["ending"], record["code"]) == ("failed", "upstream_reset")


async def test_inside_tool_arguments_the_break_is_told():
    call = {"index": 0, "id": "c1", "type": "function", "function": {"name": "look", "arguments": '{"ci'}}
    broken = [*stream(ROLE, delta(tool_calls=[call]), end=False), Fault.RESET]
    async with Two([broken], [REST]) as (served, mock, spare):
        answer = await asked_of(served, mock, chat_request("pair"))

    assert (answer.stream_error["code"], spare.seen) == ("upstream_reset", [])


async def test_a_single_target_has_nobody_to_go_on():
    async with Two([BREAKS["reset"]], [REST]) as (served, mock, _):
        answer = await asked_of(served, mock, chat_request("mock/a", headers={"x-streamward-continue": "1"}))

    assert (answer.stream_error["code"], len(mock.seen)) == ("upstream_reset", 1)


async def test_a_second_break_is_told_when_there_is_no_third_target():
    rest = [*stream(ROLE, delta("jumps "), end=False), Fault.RESET]
    async with Two([BREAKS["reset"]], [rest]) as (served, mock, _):
        answer = await asked_of(served, mock, chat_request("pair"))
        record = await served.record()

    assert (answer.text, answer.stream_error["code"]) == ("The quick brown fox jumps ", "upstream_reset")
    assert (record["legs"], record["ending"]) == (["mock/a", "spare/b"], "failed")


async def test_a_client_that_leaves_between_two_legs_ends_the_call():
    async with Two([BREAKS["reset"]], [[SSE, http_chunk(ROLE), Fault.STALL]]) as (served, mock, spare):
        call = asyncio.create_task(asked_of(served, mock, chat_request("pair")))
        await spare.request(0)
        call.cancel()
        await spare.seen[0].wait_gone()
        record = await served.record()

    assert (record["ending"], record["status"]) == ("cancelled", 200)


async def test_shutdown_between_two_legs_is_told_as_such():
    async with Two([BREAKS["reset"]], [[SSE, http_chunk(ROLE), Fault.STALL]]) as (served, mock, spare):
        call = asyncio.create_task(asked_of(served, mock, chat_request("pair")))
        await spare.request(0)
        served.gateway.end_all()
        answer = await call
        await spare.seen[0].wait_gone()

    assert (answer.text, answer.stream_error["code"]) == ("The quick brown fox ", "server_shutdown")


async def test_a_request_only_its_own_dialect_understands_is_passed_as_ever():
    """It cannot be said in other words, so nobody could go on: the call works, the break is told."""
    odd = {**chat("pair"), "functions": [{"name": "f", "parameters": {}}], "n": 2}
    async with Two([BREAKS["reset"]], [REST]) as (served, mock, spare):
        answer = await asked_of(served, mock, request("POST", "/v1/chat/completions", json.dumps(odd).encode()))

    assert mock.seen[0].json()["functions"] == odd["functions"]
    assert (answer.stream_error["code"], spare.seen) == ("upstream_reset", [])


async def test_each_part_is_priced_at_its_own_target():
    prices = '"mock/a" = { input = 0, output = 1000000 }\n"spare/b" = { input = 10, output = 20 }'
    async with Two([BREAKS["reset"]], [REST], table=f"{ON}\n[prices]\n{prices}") as (served, mock, _spare):
        await asked_of(served, mock, chat_request("pair"))
        record = await served.record()

    assert record["cost_usd"] == pytest.approx(2 + (7 * 10 + 2 * 20) / 1e6)


async def test_a_durable_stream_goes_on_too():
    """Its frames are numbered through, whoever they come from; the seam has no number and is left out."""
    async with Two([BREAKS["reset"]], [REST]) as (served, mock, spare):
        answer = await asked_of(served, mock, chat_request("pair", headers={"x-streamward-resumable": "1"}))
        record = await served.record()
        stream_id = answer.get("x-streamward-stream-id")
        again = await asked_of(served, mock, request("GET", f"/v1/streams/{stream_id}"))

    assert meaning("chat_completions", answer.body).text == WHOLE
    assert meaning("chat_completions", again.body).text == WHOLE
    ids = [int(line[4:]) for line in again.body.split(b"\n") if line.startswith(b"id: ")]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert (record["legs"], len(spare.seen)) == (["mock/a", "spare/b"], 1)
