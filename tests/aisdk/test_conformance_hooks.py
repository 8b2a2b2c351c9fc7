"""The real React hooks of AI SDK 2 to 7, under jsdom, drive the conformance application."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.model_upstream import ModelUpstream, conformance_app, model_upstream

HOOKS = Path(__file__).parent / "hooks"
HELLO = "Hello, wörld 👋🏽"
PLAIN = {"text": HELLO, "roles": ["user", "assistant"]}
STEPS = ["Hello", "Hello, ", "Hello, wörld", HELLO]
SHOWN_BY_7 = "Error: tool exploded: internal detail"

pytestmark = pytest.mark.xdist_group("conformance-hooks")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelUpstream]:
    with model_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def app(upstream: ModelUpstream) -> Iterator[str]:
    with conformance_app(upstream) as url:
        yield url


@pytest.fixture(scope="module")
def hooks() -> Path:
    if not (HOOKS / "node_modules" / "react").is_dir():
        subprocess.run(["npm", "ci"], cwd=HOOKS, check=True, capture_output=True, timeout=110)
    return HOOKS


def driven(hooks: Path, version: int, app: str, upstream: ModelUpstream) -> dict[str, Any]:
    """What the hooks of *version* made of every route."""
    command = ["node", "run.mjs", str(version), app, upstream.origin]
    done = subprocess.run(command, cwd=hooks, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    results: dict[str, Any] = json.loads(done.stdout)
    return results


@pytest.mark.node
@pytest.mark.parametrize("version", [2, 3, 4])
def test_the_hooks_of_2_to_4(hooks: Path, version: int, app: str, upstream: ModelUpstream) -> None:
    got = driven(hooks, version, app, upstream)

    assert (got["plain"], got["reload"], got["completion"], got["steps"]) == (PLAIN, HELLO, HELLO, STEPS)
    assert got["denied"] == ["An error occurred."]
    assert got["dropped"] == {"errors": 1, "text": "Hel"}
    assert got["stopped"] == {"text": "Hel", "gone": True}
    if version < 4:
        data = {"data": [{"note": "start"}, {"note": "done"}], "annotations": [{"k": 1}], "text": HELLO}
        assert (got["data"], got["node"]) == (data, HELLO)
    if version == 2:
        assert got["function"] == [{"name": "weather", "arguments": '{"city":"Rome"}'}]
    else:
        assert got["tools"]["text"].endswith("Both 21.")
        results = [(call["toolCallId"], call["result"]["tempC"]) for call in got["tools"]["invocations"]]
        assert results == [("c1", 21), ("c2", 21)]
        assert got["failing"] == ["An error occurred."]
        assert (got["text"], got["ask"]) == (HELLO, 'So: {"answer":"because"}')
        assert got["attached"]["text"] == HELLO
        assert "secret" in json.dumps(got["attached"]["said"])
    if version == 4:
        assert got["reasoning"] == {"reasoning": "Let me think.", "parts": ["step-start", "reasoning", "text"]}
        assert got["custom"] == {
            "data": [{"progress": 1}, {"progress": 2}], "annotations": [{"note": "n1"}, {"note": "n2"}],
            "parts": ["source", "step-start", "text"], "text": HELLO,
        }  # fmt: skip
        assert got["object"] == {"city": "Paris", "tempC": 21}


@pytest.mark.node
@pytest.mark.parametrize("version", [5, 6, 7])
def test_the_hooks_of_5_to_7(hooks: Path, version: int, app: str, upstream: ModelUpstream) -> None:
    got = driven(hooks, version, app, upstream)

    assert got["plain"] == {**PLAIN, "id": "string"}
    assert (got["regenerated"], got["completion"], got["text"], got["steps"]) == (HELLO, HELLO, HELLO, STEPS)
    assert got["denied"] == "An error occurred."
    assert got["dropped"] == {"error": "An error occurred.", "text": "Hel"}
    assert got["stopped"] == {"text": "Hel", "gone": True}
    weather = [["output-available", {"city": city, "tempC": 21}] for city in ("Slowville", "Rome")]
    assert got["tools"] == {"text": "Both 21.", "outputs": weather}
    assert got["failing"]["text"] == "It failed."
    assert got["failing"]["tool"]["errorText"] == (SHOWN_BY_7 if version == 7 else "An error occurred.")
    assert got["reasoning"] == ["Let me think."]
    assert got["ask"] == {"text": "So: because", "same": True, "messages": 2}
    assert got["custom"] == {
        "metadata": {"requestId": "r1", "totalTokens": 9}, "data": ["data-status", "data-notify", "data-status"],
        "parts": ["data-status", "source-url", "file", "step-start", "text"], "status": {"pct": 100},
    }  # fmt: skip
    assert got["attached"]["text"] == HELLO
    assert got["attached"]["said"] == [{"type": "text", "text": "secret"}, {"type": "text", "text": "hi"}]
    assert got["object"] == {"city": "Paris", "tempC": 21}
    assert got["resumed"] == {"text": HELLO, "messages": 2}
    if version == 7:
        assert got["socket"] == {
            "turns": ["hi", "Both 21.", "again", "Both 21."], "refused": "An error occurred.", "idle": None,
            "stopped": {"text": "Hel", "status": "ready", "gone": True}, "resumed": {"text": HELLO, "same": True},
        }  # fmt: skip
    if version > 5:
        approved = {"before": "approval-requested", "after": "output-available", "output": {"removed": "/x"}}
        denied = {"before": "approval-requested", "after": "output-denied", "output": None}
        assert (got["approved"], got["denied_tool"]) == (approved, denied)


@pytest.mark.node
def test_the_socket_of_7(hooks: Path, app: str, upstream: ModelUpstream) -> None:
    """Two chats at once on one socket, failures, a stop, a lost socket, and what is no frame."""
    done = subprocess.run(
        ["node", "socket.mjs", app, upstream.origin], cwd=hooks, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    got = json.loads(done.stdout)

    assert got["shared"] == [{"text": HELLO, "errors": []}] * 2
    assert got["tools"] == "Both 21."
    assert got["error"] == got["drop"] == {"text": "Hel", "errors": ["An error occurred."]}
    assert got["denied"]["errors"] == ["An error occurred."]
    assert got["stopped"] == {"before": "Hel", "gone": True}
    assert got["resumed"] == {"text": HELLO, "errors": []}
    assert got["nothing"] is None
    assert got["bad"][0] == 1008
