"""The folder of functions, served as it is."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.functions_server import Server, serve

FOLDER = Path(__file__).parents[2] / "examples" / "functions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    copy = tmp_path_factory.mktemp("functions") / "project"
    shutil.copytree(FOLDER, copy, ignore=shutil.ignore_patterns("__pycache__", ".streamward"))
    with serve(copy, {}, env={"MODEL": "demo/lorem?tokens=8&tps=200"}) as running:
        yield running


@pytest.mark.parametrize("name", ["chat-example", "plain-example", "pages-example"])
def test_each_place_streams_the_answer(server: Server, name: str) -> None:
    answer = server.get(f"/api/{name}")

    assert answer.status == 200
    assert len(answer.chunks) > 2, "token by token"
    assert b"".join(answer.chunks).startswith(b"Lorem ipsum")


def test_the_first_place_sets_its_content_type(server: Server) -> None:
    assert server.get("/api/chat-example").get("content-type") == "text/event-stream"


def test_the_chat_answers_what_a_hook_posts(server: Server) -> None:
    body = {"messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}]}

    answer = server.ask("POST", "/api/chat", {"content-type": "application/json"}, json.dumps(body).encode())

    assert answer.get("x-vercel-ai-ui-message-stream") == "v1"
    assert b"".join(answer.chunks).endswith(b"data: [DONE]\n\n")


@pytest.mark.parametrize("name", ["fastapi_app", "flask_app"])
def test_whole_applications_stream(server: Server, name: str) -> None:
    answer = server.get(f"/api/{name}")

    assert (answer.status, b"".join(answer.chunks)) == (200, b"0\n1\n2\n")
