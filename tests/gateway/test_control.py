"""The routes that do not stream: what they say of a wrong method and a wrong path."""

from __future__ import annotations

import pytest

from support.gateway_server import config_text, gateway_server
from support.raw_http import ask, chat_request, request


@pytest.mark.parametrize(
    ("method", "path", "allowed"),
    [
        ("GET", "/v1/chat/completions", "POST"), ("DELETE", "/v1/messages", "POST"), ("POST", "/v1/models", "GET, HEAD"),
        ("PUT", "/v1/responses/resp_x", "DELETE, GET, HEAD"), ("GET", "/v1/streams/st_x/stop", "POST"),
    ],
)  # fmt: skip
async def test_a_wrong_method_is_told_the_right_ones(method: str, path: str, allowed: str):
    async with gateway_server(config_text()) as served:
        answer = await ask(served.port, request(method, path))

    assert (answer.status, answer.error["code"], answer.get("allow")) == (405, "method_not_allowed", allowed)
    assert allowed in answer.error["message"]


async def test_no_such_route():
    async with gateway_server(config_text()) as served:
        answer = await ask(served.port, request("GET", "/v1/chat"))

    assert (answer.status, answer.error["code"], answer.get("allow")) == (404, "not_found", None)


async def test_an_unknown_demo_model_names_the_field():
    async with gateway_server(config_text()) as served:
        answer = await ask(served.port, chat_request("demo/ech"))

    assert (answer.status, answer.error["code"], answer.error["param"]) == (404, "model_not_found", "model")
