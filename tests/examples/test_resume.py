"""The JavaScript that comes back: `examples/resume.mjs` in Node, and a browser's own `EventSource`, over a bad network."""

from __future__ import annotations

import asyncio
import json
import shutil
from pathlib import Path

import pytest
from playwright.async_api import async_playwright

from support.browser import ARGUMENTS, chromium
from support.cutting_proxy import cutting_proxy
from support.gateway_server import config_text, gateway_server
from support.raw_http import ask, chat, chat_request, request

PROGRAM = Path(__file__).parents[2] / "examples" / "resume.mjs"
MODEL = "demo/lorem?tokens=60&tps=0&seed=3"
CUTS = [900, 2500, 10, 4000, 1500]
"""Bytes after which each connection is reset: inside a head, inside a frame, between frames."""

LISTEN = """
url => new Promise(resolve => {
  const source = new EventSource(url);
  let text = '', ids = [];
  source.onmessage = event => {
    ids.push(Number(event.lastEventId));
    if (event.data === '[DONE]') { source.close(); resolve({ text, ids }); return; }
    text += JSON.parse(event.data).choices[0]?.delta.content ?? '';
  };
})
"""


async def whole(port: int, model: str = MODEL) -> str:
    return (await ask(port, chat_request(model))).text


async def run(base_url: str, model: str) -> tuple[str, str, int | None]:
    process = await asyncio.create_subprocess_exec(
        "node", str(PROGRAM), base_url, model, "Hello", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await process.communicate()
    return out.decode(), err.decode(), process.returncode


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
async def test_the_program_says_every_token_once():
    async with (
        gateway_server(config_text(), open_access=True) as served, cutting_proxy(served.port, CUTS) as proxy,
    ):  # fmt: skip
        out, err, code = await run(f"http://127.0.0.1:{proxy.port}/v1", MODEL)

        assert (out, err, code) == (await whole(served.port), "", 0)
        assert proxy.connections == len(CUTS) + 1


@pytest.mark.node
@pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")
async def test_the_program_does_not_take_a_cut_answer_for_a_whole_one():
    async with gateway_server(config_text(), open_access=True) as served:
        out, err, code = await run(f"http://127.0.0.1:{served.port}/v1", "demo/fail?fail_with=truncate&tps=0")

    assert (bool(out), code) == (True, 1)
    assert "ended without saying that it was finished" in err


@pytest.mark.browser
async def test_a_browser_comes_back_by_itself():
    """`EventSource` repeats the request with `Last-Event-ID`; the gateway goes on after that frame."""
    program = chromium()
    async with (
        gateway_server(config_text(server='cors_origins = ["*"]'), open_access=True) as served,
        cutting_proxy(served.port, [2000]) as proxy, async_playwright() as playwright,
    ):  # fmt: skip
        body = json.dumps(chat(MODEL, stream=True)).encode()
        begun = await ask(
            served.port, request("POST", "/v1/chat/completions", body, {"x-streamward-resumable": "1"}, key=None)
        )  # fmt: skip
        stream_id = begun.get("x-streamward-stream-id")
        browser = await playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        page = await browser.new_page()
        await page.goto(f"http://127.0.0.1:{served.port}/healthz")
        heard = await page.evaluate(LISTEN, f"http://127.0.0.1:{proxy.port}/v1/streams/{stream_id}")
        await browser.close()
        told = await whole(served.port)

    assert heard["text"] == told
    assert proxy.connections == 2
    assert heard["ids"] == list(range(len(heard["ids"])))
