"""The official ``openai`` package for Node: one run of ``tests/node/openai_client.mjs``, looked at case by case."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from clients.conftest import MODELS
from support.gateway_server import Process

PROJECT = Path(__file__).parents[1] / "node"

pytestmark = pytest.mark.node


@pytest.fixture(scope="module")
def results(gateway: Process) -> dict[str, Any]:
    if shutil.which("npm") is None:
        pytest.skip("npm is not installed")
    lock, installed = PROJECT / "package-lock.json", PROJECT / "node_modules/.package-lock.json"
    if not installed.exists() or installed.stat().st_mtime < lock.stat().st_mtime:
        subprocess.run(["npm", "ci"], cwd=PROJECT, check=True, capture_output=True, timeout=90)
    command = ["node", "openai_client.mjs", f"{gateway.url}/v1", *MODELS]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("model", MODELS)
def test_a_stream_with_usage(results: dict[str, Any], model: str):
    found = results["streamed"][model]

    assert found["text"]
    assert found["finish"] in (["stop"], ["length"])
    assert len(found["usage"]) == 1
    assert found["usage"][0]["completion_tokens"] > 0


@pytest.mark.parametrize("model", MODELS)
def test_the_stream_helper(results: dict[str, Any], model: str):
    found = results["helper"][model]

    assert found["text"]
    assert ("assistant", found["text"]) == (found["role"], found["final"])


@pytest.mark.parametrize("model", MODELS)
def test_an_answer_in_one_piece(results: dict[str, Any], model: str):
    found = results["whole"][model]

    assert found["text"]
    assert found["usage"]["prompt_tokens"] > 0


@pytest.mark.parametrize("model", ["demo/tools?tps=0&ttft_ms=0", "mock/tools"])
def test_tool_calls(results: dict[str, Any], model: str):
    [call] = results["tool"][model]

    assert call["name"] == "get_weather"
    assert json.loads(call["arguments"])["city"] in ("Zürich", "Bern")
    assert call["id"]


@pytest.mark.parametrize(
    ("model", "error", "status", "code"),
    [
        ("nobody/x", "NotFoundError", 404, "model_not_found"),
        ("mock/http-429", "RateLimitError", 429, "rate_limit_exceeded"),
        ("mock/http-401", "InternalServerError", 502, "upstream_auth"),
        ("mock/http-500", "InternalServerError", 502, "upstream_error"),
    ],
)
def test_errors_before_the_first_token_are_typed(results: dict[str, Any], model: str, error: str, status: int, code: str):
    expected = {"text": "", "error": error, "status": status, "code": code}

    assert [expected, expected] == results["failing"][model]


def test_a_truncated_stream_is_raised_not_swallowed(results: dict[str, Any]):
    """The package takes an early end of body for a normal one; the error frame makes it raise."""
    streamed = results["failing"]["mock/slow-broken"][0]

    assert streamed["error"] in ("APIError", "InternalServerError")
    assert streamed["code"] == "stream_truncated"
