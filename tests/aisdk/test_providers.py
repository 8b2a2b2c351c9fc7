"""The AI SDK's provider packages, unchanged: four with the gateway as their server, Google's with the streams our decoder
is tested with."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from streamward.reply import ToolBlock, collect
from streamward.wire import generate_content
from streamward.wire.dialect import Profile
from support.codec import decode
from support.gateway_server import config_text, gateway_server
from support.raw_http import KEY
from support.scripted_upstream import COMPLETION, LAST, ScriptedUpstream, document, head, http_chunk, scripted_upstream

PROJECT = Path(__file__).parent / "providers"
GEMINI = Path(__file__).parents[1] / "wire" / "generate_content" / "golden"
PROVIDERS = ("openai.chat", "openai.responses", "openai-compatible", "open-responses", "anthropic")
PLACE = {**COMPLETION, "choices": [{
    "index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": '{"city":"Paris"}'},
}]}  # fmt: skip

pytestmark = [pytest.mark.node, pytest.mark.xdist_group("aisdk-providers")]


async def node(*arguments: str) -> Any:
    """What a script of the project prints."""
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    lock, installed = PROJECT / "package-lock.json", PROJECT / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        await asyncio.to_thread(subprocess.run, ["npm", "ci"], cwd=PROJECT, check=True, capture_output=True, timeout=90)
    process = await asyncio.create_subprocess_exec(
        "node", *arguments, cwd=PROJECT, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    async with asyncio.timeout(60):
        out, err = await process.communicate()
    assert process.returncode == 0, err.decode()[-3000:]
    return json.loads(out)


class Run:
    """What one package reported, and what the provider behind the gateway was sent."""

    def __init__(self, found: dict[str, Any], upstream: ScriptedUpstream) -> None:
        self.found = found
        self.asked, self.asked_for_object = (seen.json() for seen in upstream.seen)


RUNS: dict[str, Run] = {}


@pytest.fixture(params=PROVIDERS)
async def run(request: pytest.FixtureRequest) -> Run:
    name: str = request.param
    if name not in RUNS:
        async with (
            scripted_upstream(document(COMPLETION), document(PLACE)) as upstream,
            gateway_server(config_text(upstream.base_url)) as served,
        ):
            RUNS[name] = Run(await node("client.mjs", name, served.url, KEY), upstream)
    return RUNS[name]


async def test_text_is_streamed_with_usage(run: Run):
    text = run.found["text"]

    assert (text["error"], text["finish"]) == (None, "stop")
    assert text["parts"].count("text-delta") > 3
    assert text["usage"]["inputTokens"] > 0
    assert text["usage"]["outputTokens"] > 0


async def test_a_whole_answer_is_the_same(run: Run):
    whole = run.found["whole"]

    assert (whole["text"], whole["finish"]) == (run.found["text"]["text"], "stop")
    assert whole["usage"]["outputTokens"] == run.found["text"]["usage"]["outputTokens"]


async def test_reasoning_is_told_apart(run: Run, request: pytest.FixtureRequest):
    """By all but OpenAI's own Chat Completions, which has no place for it."""
    found = run.found["reasoning"]

    assert found["text"]
    assert found["finish"] == "stop"
    if request.node.callspec.params["run"] != "openai.chat":
        assert found["reasoning"]
        assert found["parts"].index("reasoning-start") < found["parts"].index("text-start")


async def test_tools_run_and_the_answer_follows(run: Run):
    """Two steps: the call with its arguments in pieces, its result sent back, the text."""
    found = run.found["tools"]

    assert found["error"] is None
    assert {"tool-call", "tool-result"} <= set(found["parts"])
    assert found["parts"].count("finish-step") == 2
    assert (bool(found["text"]), found["finish"]) == (True, "stop")


@pytest.mark.parametrize("how", ["truncated", "errored"])
async def test_a_broken_stream_never_looks_finished(run: Run, how: str):
    found = run.found[how]

    assert found["error"] is not None
    assert "error" in found["parts"]
    assert found["finish"] != "stop"


async def test_errors_have_their_status_and_say_what_to_do(run: Run):
    unknown, stranger = run.found["unknown"], run.found["stranger"]

    assert (unknown["name"], unknown["status"]) == ("AI_APICallError", 404)
    assert "nobody/knows" in unknown["message"]
    assert (stranger["name"], stranger["status"]) == ("AI_APICallError", 401)
    assert "key" in stranger["message"]


async def test_everything_asked_for_reaches_the_provider(run: Run):
    """A picture, an earlier call with its result, settings and tools, whatever dialect they came in."""
    asked = run.asked
    roles = [message["role"] for message in asked["messages"]]

    assert run.found["asked"] == {"text": "Hello", "finish": "stop"}
    assert roles == ["system", "user", "assistant", "tool"]
    assert asked["messages"][1]["content"][1]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    assert asked["messages"][2]["tool_calls"][0]["function"] == {"name": "weather", "arguments": '{"city":"Oslo"}'}
    assert json.loads(asked["messages"][3]["content"]) == {"mild": False}
    assert (asked["temperature"], asked["tool_choice"], asked["tools"][0]["function"]["name"]) == (0.5, "auto", "weather")
    assert asked.get("max_completion_tokens", asked.get("max_tokens")) == 50


async def test_an_object_by_schema(run: Run):
    """As a schema of the answer, or (Anthropic's package, for models it does not know) of a tool it makes for it."""
    asked = run.asked_for_object
    form = asked.get("response_format")
    schema = form["json_schema"]["schema"] if form else asked["tools"][0]["function"]["parameters"]

    assert run.found["object"] == {"city": "Paris"}
    assert schema["required"] == ["city"]


@pytest.mark.parametrize("name", sorted(path.stem for path in GEMINI.glob("*.sse")))
async def test_google_reads_what_we_read(name: str):
    """Text, thoughts, calls, ending and tokens of a stream in Gemini's dialect."""
    raw = (GEMINI / f"{name}.sse").read_bytes()
    ours = collect(decode(generate_content, raw, Profile(ends_with="finish")))
    stream = (head(200, "transfer-encoding: chunked"), http_chunk(raw), LAST)
    async with scripted_upstream(stream) as upstream:
        theirs = await node("google.mjs", f"http://127.0.0.1:{upstream.port}")

    assert (theirs["text"], theirs["reasoning"] or "") == (ours.text, ours.reasoning)
    assert theirs["finish"] == ours.finish_reason
    calls = [(block.name, json.loads(block.input)) for block in ours.blocks if isinstance(block, ToolBlock)]
    assert [(call["name"], call["input"]) for call in theirs["calls"]] == calls
    assert ours.usage is not None
    assert theirs["usage"]["outputTokens"] == (ours.usage.output_tokens or 0)
