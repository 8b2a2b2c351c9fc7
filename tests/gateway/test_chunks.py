"""Where HTTP chunks end: at the end of frames, in every dialect; in Responses at the end of each."""

from __future__ import annotations

import json

import pytest

from support.gateway_server import config_text, gateway_server
from support.raw_http import ask, request

MODEL = "demo/reasoning?tps=0&ttft_ms=0&tokens=5"
DURABLE = {"x-streamward-resumable": "1"}


@pytest.mark.parametrize("headers", [{}, DURABLE], ids=["plain", "durable"])
@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/responses", "/v1/messages"])
async def test_chunks_hold_whole_frames(path: str, headers: dict[str, str]):
    body = {"model": MODEL, "stream": True}
    body |= {"input": "hi"} if path.endswith("responses") else {"messages": [{"role": "user", "content": "hi"}], "max_tokens": 50}
    async with gateway_server(config_text()) as served:
        answer = await ask(served.port, request("POST", path, json.dumps(body).encode(), headers))

    frames = [chunk.count(b"\n\n") for chunk in answer.chunks]
    assert answer.complete
    assert all(chunk.endswith(b"\n\n") for chunk in answer.chunks)
    assert sum(frames) > 10
    if path.endswith("responses"):
        assert set(frames) == {1}
        assert all(chunk.startswith((b"event: ", b": end\r")) for chunk in answer.chunks)


async def test_a_stored_response_is_told_in_chunks_of_one_frame():
    """A stream of another dialect told in Responses, and a stored response replayed."""
    body = {"model": MODEL, "stream": True, "messages": [{"role": "user", "content": "hi"}]}
    async with gateway_server(config_text()) as served:
        first = await ask(served.port, request("POST", "/v1/chat/completions", json.dumps(body).encode(), DURABLE))
        stream_id = first.get("x-streamward-stream-id")
        retold = await ask(served.port, request("GET", f"/v1/streams/{stream_id}?dialect=responses"))
        whole = await ask(served.port, request("POST", "/v1/responses", json.dumps({"model": MODEL, "input": "hi"}).encode()))
        replayed = await ask(served.port, request("GET", f"/v1/responses/{whole.json()['id']}?stream=true"))

    for answer in (retold, replayed):
        assert {chunk.count(b"\n\n") for chunk in answer.chunks} == {1}
        assert len(answer.chunks) > 8
