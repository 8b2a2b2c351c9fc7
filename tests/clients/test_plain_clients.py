"""Clients without an SDK: ``curl -N``, ``requests`` read by hand, ``fetch`` in a browser on another origin."""

import json
import os
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
import requests

from clients.conftest import MODELS
from support.browser import chromium
from support.gateway_server import Process
from support.raw_http import chat

PACED = "demo/lorem?tps=20&ttft_ms=0&tokens=8"


def parsed(body: bytes) -> tuple[str, bool]:
    """Text and whether ``[DONE]`` came, by the simplest reader there is."""
    text, done = "", False
    for line in body.decode().splitlines():
        if line == "data: [DONE]":
            done = True
        elif line.startswith("data: "):
            chunk = json.loads(line[6:])
            text += chunk["choices"][0]["delta"].get("content") or "" if chunk["choices"] else ""
    return text, done


@pytest.mark.parametrize("model", MODELS)
def test_curl(gateway: Process, model: str, tmp_path: Path):
    head = tmp_path / "head"
    body = json.dumps(chat(model, max_completion_tokens=40))
    command = ["curl", "-sN", "-D", str(head), f"{gateway.url}/v1/chat/completions", "--json", body]

    done = subprocess.run(command, capture_output=True, timeout=30, check=True)

    text, ended = parsed(done.stdout)
    assert (bool(text), True) == (True, ended)
    fields = dict(line.split(": ", 1) for line in head.read_text().splitlines()[1:] if line)
    assert fields["content-type"] == "text/event-stream; charset=utf-8"
    assert (fields["cache-control"], fields["x-accel-buffering"]) == ("no-cache, no-transform", "no")
    assert "content-encoding" not in fields
    assert fields["x-streamward-id"].startswith("sw_")


def test_curl_sees_every_token_when_it_comes(gateway: Process):
    """Each token is a read of its own: nothing is held back to batch it."""
    command = ["curl", "-sN", f"{gateway.url}/v1/chat/completions", "--json", json.dumps(chat(PACED))]
    reads = []
    with subprocess.Popen(command, stdout=subprocess.PIPE) as curl:
        assert curl.stdout is not None
        while piece := os.read(curl.stdout.fileno(), 65536):
            reads.append(piece)

    assert len(reads) >= 8
    assert all(piece.endswith(b"\n\n") for piece in reads)


@pytest.mark.parametrize("model", MODELS)
def test_requests_read_by_hand(gateway: Process, model: str):
    """Splitting each network read on its own, as many applications do, loses nothing."""
    text = ""
    with requests.post(f"{gateway.url}/v1/chat/completions", json=chat(model, max_completion_tokens=40), stream=True,
                       timeout=20) as answer:  # fmt: skip
        for read in answer.iter_content(chunk_size=None):
            for block in read.decode().split("\n\n"):
                if block and block != "data: [DONE]":
                    chunk = json.loads(block.removeprefix("data: "))
                    text += chunk["choices"][0]["delta"].get("content") or "" if chunk["choices"] else ""

    assert answer.status_code == 200
    assert text


def test_requests_gets_a_json_error(gateway: Process):
    answer = requests.post(f"{gateway.url}/v1/chat/completions", json={"model": "demo/chat"}, timeout=20)

    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")


PAGE = b"<!doctype html><title>client</title>"


@pytest.fixture
def page_url(gateway: Process) -> Iterator[str]:
    """A page on the origin that the gateway allows."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html")
            self.end_headers()
            self.wfile.write(PAGE)

        def log_message(self, *args: object) -> None:
            pass

    port = int(gateway.page_origin.rpartition(":")[2])
    with HTTPServer(("127.0.0.1", port), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        yield gateway.page_origin
        server.shutdown()
        thread.join()


FETCH = """async ([url, body, key]) => {
  const answer = await fetch(url, {method: "POST", body: JSON.stringify(body),
    headers: {"content-type": "application/json", "authorization": "Bearer " + key, "x-stainless-os": "Linux"}});
  const reader = answer.body.getReader();
  const decoder = new TextDecoder();
  let text = "", reads = 0;
  for (;;) {
    const {done, value} = await reader.read();
    if (done) break;
    reads += 1;
    text += decoder.decode(value, {stream: true});
  }
  return {status: answer.status, id: answer.headers.get("x-streamward-id"), text, reads};
}"""


@pytest.mark.browser
def test_fetch_in_a_browser_on_another_origin(gateway: Process, page_url: str):
    """Preflight, stream, readable id header, readable errors; another origin gets nothing."""
    from playwright.sync_api import Error, sync_playwright

    program = chromium()
    arguments = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
                 "--disable-background-networking", "--disable-component-update", "--disable-sync"]  # fmt: skip
    url = f"{gateway.url}/v1/chat/completions"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=arguments)
        page = browser.new_page()
        page.goto(page_url)
        found = page.evaluate(FETCH, [url, chat(PACED), "k"])
        error = page.evaluate(FETCH, [url, chat("nobody/x"), "k"])
        page.goto(page_url.replace("127.0.0.1", "localhost"))
        with pytest.raises(Error, match="Failed to fetch"):
            page.evaluate(FETCH, [url, chat(PACED), "k"])
        browser.close()

    text, ended = parsed(found["text"].encode())
    assert (found["status"], ended) == (200, True)
    assert text
    assert found["reads"] >= 4
    assert found["id"].startswith("sw_")
    assert (error["status"], json.loads(error["text"])["error"]["code"]) == (404, "model_not_found")


def test_silence_is_filled_with_comments_between_frames(gateway: Process):
    """``keepalive_s`` is 0.2 here; the model says one token in 0.7 s."""
    body = chat("demo/lorem?tps=1.5&ttft_ms=0&tokens=2")
    with requests.post(f"{gateway.url}/v1/chat/completions", json=body, stream=True, timeout=20) as answer:
        reads = list(answer.iter_content(chunk_size=None))

    comments = [read for read in reads if read.startswith(b":")]
    assert len(comments) >= 2
    assert {b": keep-alive\n\n"} == set(comments)
    assert all(read.endswith(b"\n\n") for read in reads)
    assert parsed(b"".join(reads))[1]
