"""Counting tokens before a call: by the provider where it counts, else an estimate that says so."""

from __future__ import annotations

import json
from typing import Any

import pytest

from support.gateway_server import config_text, gateway_server
from support.raw_http import Answer, ask, request
from support.scripted_upstream import Fault, Seen, head, scripted_upstream

QUESTION = [{"role": "user", "content": "four words of text"}]
MESSAGES = ("/v1/messages/count_tokens", {"model": "counter/m", "messages": QUESTION})
RESPONSES = ("/v1/responses/input_tokens", {"model": "counter/m", "input": "four words of text"})


def answered(value: Any, status: int = 200) -> tuple[bytes, bytes]:
    raw = json.dumps(value).encode()
    return head(status, f"content-length: {len(raw)}", content_type="application/json"), raw


async def count(
    dialect: str, *script: Any, question: tuple[str, dict[str, Any]] = MESSAGES, **more: Any
) -> tuple[Answer, list[Seen]]:
    path, body = question
    async with scripted_upstream(script) as upstream:
        config = config_text(
            providers__counter=f'base_url = "{upstream.base_url}"\napi_key = "k"\nretries = 0\ndialect = "{dialect}"'
        )
        async with gateway_server(config) as served:
            answer = await ask(served.port, request("POST", path, json.dumps(body | more).encode()))
        return answer, upstream.seen


@pytest.mark.parametrize("question", [MESSAGES, RESPONSES])
@pytest.mark.parametrize(
    ("dialect", "said", "path"),
    [
        ("messages", {"input_tokens": 41}, "/v1/messages/count_tokens"), ("responses", {"object": "response.input_tokens",
         "input_tokens": 41}, "/v1/responses/input_tokens"), ("generate_content", {"totalTokens": 41},
         "/v1/models/m:countTokens"), ("converse", {"inputTokens": 41}, "/v1/model/m/count-tokens"),
    ],
)  # fmt: skip
async def test_the_provider_counts(dialect: str, said: dict[str, Any], path: str, question: tuple[str, dict[str, Any]]):
    """Any client dialect, any provider that counts; instructions and tools are sent, limits of the answer are not."""
    answer, seen = await count(dialect, *answered(said), question=question)

    assert (answer.status, answer.json()["input_tokens"], answer.get("x-streamward-grade")) == (200, 41, "exact")
    assert seen[0].head.split(b" ")[1].decode() == path
    assert "four words of text" in seen[0].body.decode()
    assert "max" not in seen[0].body.decode()


async def test_tools_and_instructions_are_counted():
    tools = [{"name": "now", "input_schema": {"type": "object"}}]
    _, seen = await count("messages", *answered({"input_tokens": 1}), system="Be brief", tools=tools)

    assert seen[0].json() == {
        "model": "m", "system": [{"type": "text", "text": "Be brief"}], "tools": tools,
        "messages": [{"role": "user", "content": [{"type": "text", "text": "four words of text"}]}],
    }  # fmt: skip


@pytest.mark.parametrize(
    "script",
    [
        answered({"error": {"type": "not_found_error", "message": "no"}}, 404), answered({"tokens": "many"}), answered([]),
        (head(200, "content-length: 5", content_type="application/json"), b"<html"), (Fault.RESET,),
        (head(200, "content-length: 9", content_type="application/json"), b"{", Fault.CLOSE),
        answered({"input_tokens": 41, "x": "y" * 70_000}),
    ],
)  # fmt: skip
async def test_who_does_not_count_is_estimated_for(script: Any):
    answer, _ = await count("messages", *script)

    assert (answer.status, answer.json(), answer.get("x-streamward-grade")) == (200, {"input_tokens": 9}, "estimated")


async def test_what_the_provider_cannot_do_is_estimated():
    """The count of a call that would be refused asks nobody."""
    answer, seen = await count("converse", *answered({"inputTokens": 41}), question=MESSAGES, messages=[
        {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "https://a.example/x.png"}}]}
    ])  # fmt: skip

    assert answer.get("x-streamward-grade") == "estimated"
    assert seen == []


async def test_a_model_nobody_has():
    for path, body in (MESSAGES, RESPONSES):
        async with gateway_server(config_text()) as served:
            answer = await ask(served.port, request("POST", path, json.dumps(body | {"model": "nobody/x"}).encode()))
        assert answer.status == 404
