"""The small examples run: tokens come one by one, and where the server can tell, a client that leaves is noticed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from support.model_upstream import TOKENS, ModelUpstream, example, model_upstream

EXAMPLES = Path(__file__).parents[2] / "examples"
UI_BODY = {"id": "c", "messages": [{"id": "u", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}
OLD_BODY = {"messages": [{"role": "user", "content": "hi"}]}


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelUpstream]:
    with model_upstream() as running:
        yield running


def environ(upstream: ModelUpstream, model: str) -> dict[str, str]:
    return {
        "MODEL": model, "STREAMWARD_BASE_URL": upstream.base_url, "STREAMWARD_API_KEY": "k",
        "OPENAI_BASE_URL": upstream.base_url, "OPENAI_API_KEY": "k",
    }  # fmt: skip


def one_by_one(url: str, body: Any, upstream: ModelUpstream) -> str:
    """The answer; the provider says a token only after the one before was here."""
    with httpx.stream("POST", url, json=body, timeout=20) as answer:
        assert answer.status_code == 200
        chunks = answer.iter_text()
        received = ""
        for token in TOKENS:
            while token not in received:
                received += next(chunks)
            upstream.post("/step")
        return received + "".join(chunks)


@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar", "django", "flask"])
def test_a_chat_of_the_current_sdk(name: str, upstream: ModelUpstream) -> None:
    with example(EXAMPLES / f"{name}_chat.py", **environ(upstream, "stepped")) as url:
        wire = one_by_one(f"{url}/api/chat", UI_BODY, upstream)

    assert wire.endswith("data: [DONE]\n\n")
    assert json.dumps("wörld", ensure_ascii=False) in wire


def test_a_completion(upstream: ModelUpstream) -> None:
    with example(EXAMPLES / "fastapi_chat.py", **environ(upstream, "stepped")) as url:
        wire = one_by_one(f"{url}/api/completion", {"prompt": "hi"}, upstream)

    assert wire.endswith("data: [DONE]\n\n")


def test_a_chat_of_the_old_sdk_on_http_server(upstream: ModelUpstream) -> None:
    with example(EXAMPLES / "http_server_chat.py", **environ(upstream, "stepped")) as url:
        text = one_by_one(f"{url}/api/chat", OLD_BODY, upstream)

    assert text == "".join(TOKENS)


@pytest.mark.parametrize("name", ["fastapi", "starlette", "litestar", "django", "http_server"])
def test_a_client_that_leaves_cancels_the_provider(name: str, upstream: ModelUpstream) -> None:
    upstream.post("/forget")
    body = OLD_BODY if name == "http_server" else UI_BODY
    with example(EXAMPLES / f"{name}_chat.py", **environ(upstream, "stall")) as url:
        with httpx.stream("POST", f"{url}/api/chat", json=body, timeout=20) as answer:
            received = ""
            for text in answer.iter_text():
                received += text
                if "Hel" in received:
                    break

        deadline = time.monotonic() + 5
        while not upstream.seen()[0]["gone"]:
            assert time.monotonic() < deadline, "the provider still sends"
            time.sleep(0.01)


def test_the_terminal(upstream: ModelUpstream) -> None:
    process = subprocess.Popen(
        [sys.executable, "-u", str(EXAMPLES / "terminal_chat.py")], env={**os.environ, **environ(upstream, "stepped")},
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(b"hi\n")
    process.stdin.flush()
    shown = b""
    for token in TOKENS:
        while token.encode() not in shown:
            shown += os.read(process.stdout.fileno(), 4096)
        upstream.post("/step")
    rest, _ = process.communicate(timeout=20)

    assert (shown + rest).decode() == f"> {''.join(TOKENS)}\n> "
