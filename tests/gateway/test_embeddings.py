"""``/v1/embeddings``: passed on as it is, tried and booked as any call, refused clearly where there is none."""

import json

import pytest
from openai import AsyncOpenAI

from support.gateway_server import config_text, gateway_server
from support.raw_http import KEY, ask, request
from support.scripted_upstream import Fault, document, scripted_upstream

ANSWER = {
    "object": "list", "model": "emb-1", "usage": {"prompt_tokens": 5, "total_tokens": 5}, "vendor": {"kept": True},
    "data": [{"object": "embedding", "index": 0, "embedding": [0.25, -1.5, 1e-9]}],
}  # fmt: skip
BUSY = document({"error": {"message": "busy"}}, 503)
QUICK = "timeouts = { connect = 1, first_byte = 0.4, idle = 0.4, total = 20 }\nretries = %d"
SPARE = 'base_url = "%s"\napi_key = "sk-spare"\nretries = 0'


def embed(model: str = "mock/emb", **fields) -> bytes:
    body = {"model": model, "input": "Hello", **fields}
    return request("POST", "/v1/embeddings", json.dumps(body).encode())


async def test_the_answer_is_passed_as_it_is_and_booked():
    async with scripted_upstream(document(ANSWER)) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        answer = await ask(served.port, embed(dimensions=3, encoding_format="float", user="u", vendor_field=[1]))
        record = await served.record()

    assert (answer.status, answer.json()) == (200, ANSWER)
    assert answer.get("x-streamward-id")
    seen = upstream.seen[0]
    assert seen.head.startswith(b"POST /v1/embeddings HTTP/1.1\r\n")
    assert seen.json() == {
        "model": "emb", "input": "Hello", "dimensions": 3, "encoding_format": "float", "user": "u", "vendor_field": [1],
    }  # fmt: skip
    assert (record["route"], record["target"], record["ending"]) == ("/v1/embeddings", "mock/emb", "finished")
    assert (record["input_tokens"], record["output_tokens"], record["grade"]) == (5, 0, "exact")


async def test_tries_and_fallbacks():
    async with scripted_upstream(BUSY) as mock, scripted_upstream(document(ANSWER)) as spare:
        config = config_text(
            mock.base_url, mock=QUICK % 1, providers__spare=SPARE % spare.base_url,
            models__vectors='targets = ["mock/a", "spare/b"]',
        )  # fmt: skip
        async with gateway_server(config) as served:
            answer = await ask(served.port, embed("vectors"))
            record = await served.record()

    assert (answer.json(), len(mock.seen), len(spare.seen)) == (ANSWER, 2, 1)
    assert (record["target"], record["attempts"], record["fallbacks"]) == ("spare/b", 3, 1)


@pytest.mark.parametrize(
    "answer", [document({"object": "list"}), document([1]), document(b"{"), document(b"<html>", content_type="text/html")]
)
async def test_what_is_no_answer_is_not_passed(answer):
    async with (
        scripted_upstream(answer, document(ANSWER)) as upstream,
        gateway_server(config_text(upstream.base_url, mock=QUICK % 1)) as served,
    ):
        found = await ask(served.port, embed())

    assert (found.json(), len(upstream.seen)) == (ANSWER, 2)


@pytest.mark.parametrize(
    ("script", "status", "code"),
    [
        (BUSY, 502, "upstream_error"), ([Fault.RESET], 502, "upstream_reset"), ([Fault.STALL], 504, "upstream_timeout"),
        (document({"error": {}}, 429, "retry-after: 60"), 429, "rate_limit_exceeded"),
        (document({"error": {"message": "sk-secret"}}, 401), 502, "upstream_auth"),
    ],
)  # fmt: skip
async def test_failures(script, status: int, code: str):
    async with (
        scripted_upstream(script) as upstream,
        gateway_server(config_text(upstream.base_url, mock=QUICK % 0)) as served,
    ):
        answer = await ask(served.port, embed())

    assert (answer.status, answer.error["code"]) == (status, code)
    assert b"sk-secret" not in answer.body


@pytest.mark.parametrize("model", ["demo/chat", "anthropic/claude-x", "google/gemini-x", "groq/llama", "deepseek/chat"])
async def test_who_has_none_is_said(model: str):
    keys = {f"{name}_API_KEY": "k" for name in ("ANTHROPIC", "GEMINI", "GROQ", "DEEPSEEK")}
    async with gateway_server(config_text(), environ=keys) as served:
        answer = await ask(served.port, embed(model))

    assert (answer.status, answer.error["code"], answer.error["param"]) == (400, "unsupported", "model")
    assert model.partition("/")[0] in answer.error["message"]


async def test_targets_without_embeddings_are_passed_over():
    async with scripted_upstream(document(ANSWER)) as upstream:
        config = config_text(upstream.base_url, models__vectors='targets = ["demo/chat", "mock/b"]')
        async with gateway_server(config) as served:
            answer = await ask(served.port, embed("vectors"))

    assert answer.status == 200
    assert upstream.seen[0].json()["model"] == "b"


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"input": ""}, "input"), ({"input": []}, "input"), ({"input": ["a", ""]}, "input"), ({"input": 5}, "input"),
        ({"input": ["a", 1]}, "input"), ({"input": [[1], []]}, "input"), ({"input": [True]}, "input"),
        ({"input": ["a"] * 2049}, "input"), ({"model": ""}, "model"), ({"model": 5}, "model"),
        ({"encoding_format": "hex"}, "encoding_format"), ({"dimensions": 0}, "dimensions"),
        ({"dimensions": "3"}, "dimensions"), ({"dimensions": True}, "dimensions"),
    ],
)  # fmt: skip
async def test_wrong_requests_name_the_field(fields, param: str):
    async with scripted_upstream(document(ANSWER)) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        answer = await ask(served.port, embed(**fields))

    assert (answer.status, answer.error["param"], upstream.seen) == (400, param, [])


@pytest.mark.parametrize("given", ["a", ["a", "b"], [1, 2, 3], [[1, 2], [3]]])
async def test_all_forms_of_input_pass(given):
    async with scripted_upstream(document(ANSWER)) as upstream, gateway_server(config_text(upstream.base_url)) as served:
        answer = await ask(served.port, embed(input=given))

    assert (answer.status, upstream.seen[0].json()["input"]) == (200, given)


async def test_the_official_client():
    """It asks for base64 by itself and unpacks it."""
    packed = {**ANSWER, "data": [{"object": "embedding", "index": 0, "embedding": "AACAPgAAwL8="}]}
    async with (
        scripted_upstream(document(packed)) as upstream,
        gateway_server(config_text(upstream.base_url)) as served,
        AsyncOpenAI(base_url=f"{served.url}/v1", api_key=KEY, max_retries=0) as client,
    ):
        found = await client.embeddings.create(model="mock/emb", input=["Hello"])

    assert found.data[0].embedding == [0.25, -1.5]
    assert upstream.seen[0].json()["encoding_format"] == "base64"


async def test_a_key_is_needed():
    async with gateway_server(config_text()) as served:
        answer = await ask(served.port, request("POST", "/v1/embeddings", b"{}", key=None))

    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key")
