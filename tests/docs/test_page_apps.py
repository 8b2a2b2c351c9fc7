"""The applications, configurations and page sources that the documentation shows are real ones."""

from __future__ import annotations

import ast
import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
import websockets
from starlette.applications import Starlette
from starlette.routing import Route

from streamward.gateway import config
from support.gateway_server import running

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
MESSAGES = {"messages": [{"id": "1", "role": "user", "parts": [{"type": "text", "text": "How warm is it in Lisbon?"}]}]}


def blocks(page: str, kind: str) -> list[str]:
    return [text for name, text in BLOCK.findall((ROOT / "docs" / page).read_text("utf-8")) if name == kind]


def run(code: str) -> dict[str, Any]:
    scope: dict[str, Any] = {"__name__": "page"}
    exec(compile(code, "page", "exec", dont_inherit=True), scope)
    return scope


async def posted(app: Any, path: str, body: Any) -> httpx.Response:
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://page") as client:
        return await client.post(path, json=body)


async def test_the_chat_page_has_its_back_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Served by uvicorn and asked with the page's own curl command."""
    monkeypatch.setenv("MODEL", "demo/echo?tps=0")
    [code] = blocks("start/chat-page.md", "python")
    [command] = [text for text in blocks("start/chat-page.md", "bash") if text.startswith("curl")]

    async with running(uvicorn.Config(run(code)["app"], port=0, log_config=None)) as (_, port):
        asked = command.replace("127.0.0.1:8000", f"127.0.0.1:{port}").replace("curl ", "curl -sS ", 1)
        process = await asyncio.create_subprocess_exec("bash", "-c", asked, stdout=subprocess.PIPE)
        answer, _ = await process.communicate()

    assert b'data: {"type":"text-delta","id":"text-0","delta":"Hello"}\n\n' in answer
    assert answer.endswith(b"data: [DONE]\n\n")


async def test_the_resumable_chat_comes_back_and_stops_over_http_and_over_a_socket():
    [code] = [text for text in blocks("how-to/resume.md", "python") if "app = " in text]
    app = run(code.replace('"demo/chat"', '"demo/lorem?tokens=400&tps=100"'))["app"]
    posted = {"id": "chat/1", **MESSAGES}
    async with running(uvicorn.Config(app, port=0, log_config=None)) as (_, port):
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            async with client.stream("POST", "/api/chat", json=posted) as answer:
                first = await anext(answer.aiter_text())
            async with client.stream("GET", "/api/chat/chat%2F1/stream") as again:
                replayed = await anext(again.aiter_text())
            stopped = await client.post("/api/chat/chat%2F1/stop")
            nothing = await client.get("/api/chat/chat%2F1/stream")
        async with websockets.connect(f"ws://127.0.0.1:{port}/api/chat-ws") as socket:
            frame = {"type": "send", "requestId": "r", "trigger": "submit-message", "headers": {}, "body": {}, **posted}
            await socket.send(json.dumps(frame))
            chunk = json.loads(await socket.recv())

    assert first.startswith('data: {"type":"start"')
    assert replayed.startswith(first.split("\n\n")[0])
    assert (stopped.json(), nothing.status_code) == (True, 204)
    assert (chunk["type"], chunk["sequence"], chunk["chunk"]["type"]) == ("chunk", 0, "start")


def test_the_chat_page_shows_the_example():
    [shown] = blocks("start/chat-page.md", "jsx")

    assert shown == (ROOT / "examples/react-chat/src/chat.jsx").read_text("utf-8")


async def test_the_object_route_streams_one_object():
    [code] = [text for text in blocks("how-to/objects.md", "python") if "app = " in text]

    answer = await posted(run(code)["app"], "/api/object", {"dish": "beans"})

    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert set(answer.json()) == {"name", "steps"}


async def test_the_route_moved_from_the_ai_sdk_answers_with_its_tool():
    [code] = blocks("how-to/moving-from-the-ai-sdk.md", "python")
    post = run(code.replace("openai/gpt-4o-mini", "demo/tools?tps=0"))["POST"]

    answer = await posted(Starlette(routes=[Route("/api/chat", post, methods=["POST"])]), "/api/chat", MESSAGES)

    assert '"type":"tool-output-available"' in answer.text
    assert answer.text.endswith("data: [DONE]\n\n")


def test_the_configuration_moved_from_litellm_is_one():
    [text] = blocks("how-to/moving-from-litellm.md", "toml")

    read = config.parse(text, "streamward.toml", {"MASTER_KEY": "sw-" + "k" * 40})

    assert list(read.models) == ["fast", "mine"]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").rglob("*.md")), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_somewhere(page: Path):
    links = re.findall(r"\]\(([^)#\s:]+)(?:#[^)]*)?\)", page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


def test_every_page_is_in_the_index():
    index = (ROOT / "docs/README.md").read_text("utf-8")
    pages = [str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md")]

    assert [page for page in pages if page != "README.md" and f"]({page})" not in index] == []


def test_python_blocks_compile():
    """Also those that nobody runs."""
    for page in (ROOT / "docs").rglob("*.md"):
        for code in blocks(str(page.relative_to(ROOT / "docs")), "python"):
            compile(code, str(page), "exec", flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT, dont_inherit=True)
