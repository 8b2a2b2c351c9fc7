"""Bedrock behind the gateway: signed requests, binary streams, every client dialect."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from support.event_stream import delta, exception, stop, stream, tool
from support.gateway_server import Served, config_text, gateway_server
from support.raw_http import ask, chat_request, request
from support.scripted_upstream import LAST, Fault, ScriptedUpstream, Seen, head, http_chunk, scripted_upstream

MODEL = "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0"
ENVIRON = {"AWS_ACCESS_KEY_ID": "AKID", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "session-token-0123",
           "AWS_REGION": "eu-west-1"}  # fmt: skip
TYPE = "application/vnd.amazon.eventstream"
OPEN = head(200, "transfer-encoding: chunked", content_type=TYPE)
USAGE = {"inputTokens": 7, "outputTokens": 2, "totalTokens": 9}
BEGIN = stream({"messageStart": {"role": "assistant"}}, delta(0, text="Grüße"))
REST = stream(delta(0, text=" 🙂"), stop(0), tool(1, "t1", "now"), delta(1, toolUse={"input": '{"a":1}'}), stop(1),
              {"messageStop": {"stopReason": "tool_use"}}, {"metadata": {"usage": USAGE}})  # fmt: skip
WELL = (OPEN, http_chunk(BEGIN), http_chunk(REST), LAST)
TEXT = "Grüße 🙂"


@asynccontextmanager
async def bedrock(*scripts: Any) -> AsyncIterator[tuple[Served, ScriptedUpstream]]:
    async with scripted_upstream(*scripts) as upstream:
        config = config_text(providers__bedrock=f'base_url = "http://127.0.0.1:{upstream.port}"\nretries = 0')
        async with gateway_server(config, environ=ENVIRON) as served:
            yield served, upstream


def signature_of(seen: Seen) -> str:
    """What AWS would compute for the request as it came."""
    line = seen.head.split(b"\r\n")[0].decode()
    headers = {name: seen.header(name) or "" for name in ("host", "content-type")}
    sent = AWSRequest("POST", f"http://{headers['host']}{line.split(' ')[1]}", data=seen.body, headers=headers)
    sent.context["timestamp"] = seen.header("x-amz-date")
    signer = SigV4Auth(Credentials("AKID", "secret", "session-token-0123"), "bedrock", "eu-west-1")
    sent.headers["X-Amz-Date"] = sent.context["timestamp"]
    sent.headers["X-Amz-Security-Token"] = "session-token-0123"
    canonical = signer.canonical_request(sent)
    return str(signer.signature(signer.string_to_sign(sent, canonical), sent))


async def test_the_request_is_signed_for_what_is_sent():
    async with bedrock(WELL) as (served, upstream):
        answer = await ask(served.port, chat_request(MODEL, stream=True))
        seen = await upstream.request()

    assert answer.text == TEXT
    assert seen.head.startswith(b"POST /model/us.anthropic.claude-sonnet-4-5-20250929-v1%3A0/converse-stream HTTP/1.1\r\n")
    assert seen.header("accept") == TYPE
    assert seen.header("authorization").endswith(f"Signature={signature_of(seen)}")  # type: ignore[union-attr]
    assert seen.json()["messages"][0]["role"] == "user"


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
async def test_every_client_dialect(path: str):
    question: dict[str, Any] = {"model": MODEL, "stream": True, "max_tokens": 100}
    key = "input" if path.endswith("responses") else "messages"
    question[key] = [{"role": "user", "content": "hi"}]
    if key == "input":
        question.pop("max_tokens")
    async with bedrock(WELL) as (served, _):
        answer = await ask(served.port, request("POST", path, json.dumps(question).encode()))
        record = await served.record()

    body = answer.body.decode()
    assert answer.status == 200
    assert ("Grüße" in body, " 🙂" in body, '"t1"' in body or "t1" in body) == (True, True, True)
    assert (record["ending"], record["input_tokens"], record["output_tokens"]) == ("finished", 7, 2)


async def test_a_whole_answer():
    whole = {"output": {"message": {"role": "assistant", "content": [{"text": TEXT}]}}, "stopReason": "end_turn",
             "usage": USAGE}  # fmt: skip
    raw = json.dumps(whole).encode()
    async with bedrock((head(200, f"content-length: {len(raw)}", content_type="application/json"), raw)) as (served, upstream):
        answer = await ask(served.port, chat_request(MODEL, stream=False))
        seen = await upstream.request()

    assert answer.json()["choices"][0]["message"]["content"] == TEXT
    assert answer.json()["usage"]["total_tokens"] == 9
    assert seen.head.split(b" ")[1].endswith(b"/converse")


@pytest.mark.parametrize(
    ("tail", "code"),
    [
        ((http_chunk(exception("throttlingException")), LAST), "rate_limit_exceeded"), ((LAST,), "stream_truncated"),
        ((Fault.RESET,), "upstream_reset"), ((http_chunk(REST[:40]), LAST), "stream_truncated"),
        ((http_chunk(b"\0" * 40), LAST), "upstream_invalid"),
    ],
)  # fmt: skip
async def test_a_stream_that_breaks_off_says_so(tail: tuple[Any, ...], code: str):
    async with bedrock((OPEN, http_chunk(BEGIN), Fault.GATE, *tail)) as (served, upstream):
        answer = await ask(served.port, chat_request(MODEL, stream=True), on_chunk=upstream.gate.set)

    assert answer.text == "Grüße"
    assert (answer.finish_reason, answer.frames[-1]["error"]["code"]) == (None, code)


async def test_an_exception_before_anything_is_an_http_error():
    async with bedrock((OPEN, http_chunk(exception("throttlingException")), LAST)) as (served, _):
        answer = await ask(served.port, chat_request(MODEL, stream=True))

    assert (answer.status, answer.error["code"]) == (429, "rate_limit_exceeded")


async def test_what_it_cannot_do_is_a_400():
    async with bedrock(WELL) as (served, upstream):
        answer = await ask(served.port, chat_request(MODEL, stream=True, seed=5))

    assert (answer.status, answer.error["param"]) == (400, "seed")
    assert upstream.seen == []
