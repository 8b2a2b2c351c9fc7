"""npm ``@ai-sdk/gateway`` of AI SDK 5, 6 and 7, unchanged, with our base URL: everything it does with Vercel's."""

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from support.gateway_server import config_text, gateway_server
from support.raw_http import KEY
from support.scripted_upstream import COMPLETION, ScriptedUpstream, document, scripted_upstream

PROJECT = Path(__file__).parent / "gateway"
MAJORS = (5, 6, 7)
VERSIONS = {5: "v2", 6: "v3", 7: "v4"}
PLACE = {**COMPLETION, "choices": [{
    "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"city":"Paris"}'},
}]}  # fmt: skip

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("aisdk-gateway")]


class Run:
    """What one generation reported, and what its provider was sent."""

    def __init__(self, found: dict[str, Any], upstream: ScriptedUpstream) -> None:
        self.found = found
        self.asked = upstream.seen[0].json()
        self.asked_for_object = upstream.seen[1].json() if len(upstream.seen) > 1 else None


RUNS: dict[int, Run] = {}


@pytest.fixture(params=MAJORS, ids=lambda major: f"ai{major}")
async def run(request: pytest.FixtureRequest) -> tuple[int, Run]:
    major: int = request.param
    if major not in RUNS:
        RUNS[major] = await once(major)
    return major, RUNS[major]


async def once(major: int) -> Run:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    lock, installed = PROJECT / "package-lock.json", PROJECT / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        await asyncio.to_thread(subprocess.run, ["npm", "ci"], cwd=PROJECT, check=True, capture_output=True, timeout=90)
    async with (
        scripted_upstream(document(COMPLETION), document(PLACE)) as upstream,
        gateway_server(config_text(upstream.base_url, models__named='targets = ["openai/gpt-4o"]')) as served,
    ):
        command = ["node", "client.mjs", str(major), served.url, KEY]
        process = await asyncio.create_subprocess_exec(
            *command, cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
        )
        async with asyncio.timeout(60):
            out, err = await process.communicate()
        assert process.returncode == 0, err.decode()
        return Run(json.loads(out), upstream)


def figure(usage: dict[str, Any], name: str) -> int:
    value = usage[name]
    return value["total"] if isinstance(value, dict) else value


async def test_text_is_streamed_with_usage(run: tuple[int, Run]):
    _, done = run
    text = done.found["text"]

    assert text["error"] is None
    assert text["text"]
    assert text["finish"] == "stop"
    assert text["parts"].count("text-delta") > 3
    assert figure(text["usage"], "inputTokens") > 0
    assert figure(text["usage"], "outputTokens") > 0


async def test_reasoning_is_told_apart(run: tuple[int, Run]):
    _, done = run
    found = done.found["reasoning"]

    assert found["reasoning"]
    assert found["text"]
    assert found["parts"].index("reasoning-start") < found["parts"].index("text-start")


async def test_tools_run_and_the_answer_follows(run: tuple[int, Run]):
    """Two steps: the call, its result sent back, the text."""
    _, done = run
    found = done.found["tools"]

    assert found["error"] is None
    assert {"tool-input-start", "tool-input-delta", "tool-call", "tool-result"} <= set(found["parts"])
    assert found["parts"].count("finish-step") == 2
    assert found["text"]
    assert found["finish"] == "stop"


async def test_a_whole_answer(run: tuple[int, Run]):
    _, done = run
    found = done.found["whole"]

    assert found["text"] == done.found["text"]["text"]
    assert found["finish"] == "stop"
    assert figure(found["usage"], "outputTokens") > 0


async def test_a_broken_stream_is_an_error(run: tuple[int, Run]):
    """It never looks finished."""
    _, done = run
    found = done.found["failed"]

    assert found["error"] is not None
    assert "error" in found["parts"]
    assert found["finish"] != "stop"


async def test_errors_are_the_clients_own_classes(run: tuple[int, Run]):
    _, done = run

    assert (done.found["unknown"]["name"], done.found["unknown"]["status"]) == ("GatewayModelNotFoundError", 404)
    assert done.found["stranger"]["name"] == "GatewayAuthenticationError"


async def test_the_models_are_listed(run: tuple[int, Run]):
    major, done = run
    models = {model["id"]: model for model in done.found["models"]}

    assert {"demo/chat", "named"} <= set(models)
    assert models["demo/chat"]["specification"]["specificationVersion"] == VERSIONS[major]
    assert models["named"]["pricing"]["input"] == "0.0000025"


async def test_the_provider_is_asked_for_all_of_it(run: tuple[int, Run]):
    """Settings, picture, earlier call and its result; what was for the gateway is not passed on."""
    _, done = run
    asked = done.asked

    assert (asked["model"], asked["temperature"], asked["max_completion_tokens"], asked["stop"]) == ("m", 0.5, 50, ["END"])
    assert asked["reasoning_effort"] == "low"
    assert "providerOptions" not in asked
    system, user, call, result = asked["messages"]
    assert system["content"] == "Be brief."
    assert user["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert json.loads(call["tool_calls"][0]["function"]["arguments"]) == {"city": "Oslo"}
    assert (result["role"], result["tool_call_id"], json.loads(result["content"])) == ("tool", "c1", {"mild": False})
    assert asked["tools"][0]["function"]["name"] == "weather"


async def test_structured_output(run: tuple[int, Run]):
    _, done = run
    if done.asked_for_object is None:
        pytest.skip("this generation has no generateObject")

    assert done.found["object"] == {"city": "Paris"}
    assert done.asked_for_object["response_format"]["type"] == "json_schema"
