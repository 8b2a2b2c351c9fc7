"""One request to a live server, captured read by read: what ``lint``, ``record`` and ``bench`` send and hear.

Works out what to send from the address: the dialect by its path, a short prompt in that dialect, the key from the
environment. Keys never stand on the command line, where every process can read them.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, quote, urlsplit

from msgspec import Struct

from streamward.client.chat_protocol import ChatProtocol
from streamward.dataplane.client import AnswerHead, Timeouts
from streamward.dataplane.exchange import render_fields
from streamward.dataplane.pool import Pool
from streamward.errors import ErrorInfo, InvalidRequest
from streamward.upstream.upstream import parse_base_url
from streamward.version import __version__
from streamward.wire.lint import NAMES, Capture, Ending, Read
from streamward.wire.table import DIALECTS
from streamward.wire.table import dialect as dialect_module

KEY_VARIABLE = "STREAMWARD_API_KEY"
DEMO = "demo/chat?tokens=40&tps=25"
"""Simulated, and its pace is known: what arrives together was collected on the way."""

PROMPT = "Say something about streaming."
MAX_CAPTURE_BYTES = 64 << 20
SAFE_PATH = "/:?=&%+,@-._~"


class Request(Struct, frozen=True, kw_only=True):
    """What is sent, and what is known about the answer."""

    url: str
    dialect: str
    method: str = "POST"
    headers: dict[str, str]
    body: bytes | None = None
    timeout_s: float = 60.0
    pace_s: float = 0.0
    """Seconds between two tokens as the demo model sends them; 0: unknown."""
    ttft_s: float | None = None
    """Time to first token as the demo model states it."""


def plan(
    url: str, *, dialect: str | None = None, model: str | None = None, prompt: str = PROMPT, headers: Sequence[str] = (),
    key_env: str | None = None, body_file: Path | None = None, get: bool = False, timeout_s: float = 60.0,
) -> Request:  # fmt: skip
    """The request for *url*.

    Raises:
        InvalidRequest: not an http URL, an unknown dialect, a bad header or body file; the message says what to do.
    """
    parse_base_url(url)
    if dialect is not None and dialect not in NAMES:
        raise InvalidRequest(f"--dialect is one of {', '.join(NAMES)}, not {dialect!r}")
    name = dialect or dialect_of(url)
    model = model or DEMO
    key = os.environ.get(key_env or KEY_VARIABLE)
    if key_env is not None and not key:
        raise InvalidRequest(f"the environment variable {key_env} is not set")
    fields = {"accept": "text/event-stream, application/x-ndjson, text/plain"}
    if key:
        fields |= {"x-api-key": key} if name == "messages" else {"authorization": f"Bearer {key}"}
    if name == "messages":
        fields["anthropic-version"] = "2023-06-01"
    for header in headers:
        field, colon, value = header.partition(":")
        if not colon:
            raise InvalidRequest(f"--header must be 'name: value', got {header!r}")
        fields[field.strip().lower()] = value.strip()
    options = dict(parse_qsl(model.partition("?")[2])) if model.startswith("demo/") else {}
    tps = number(options.get("tps"), 60.0) if model.startswith("demo/") else 0.0
    return Request(
        url=full_url(url, name, model),
        dialect=name,
        method="GET" if get else "POST",
        headers=fields,
        body=None if get else body_for(name, model, prompt, body_file),
        timeout_s=timeout_s,
        pace_s=1 / tps if tps else 0.0,
        ttft_s=number(options.get("ttft_ms"), 120.0) / 1000 if model.startswith("demo/") else None,
    )


def number(text: str | None, default: float) -> float:
    try:
        return float(text) if text is not None else default
    except ValueError:
        return default


def dialect_of(url: str) -> str:
    """The dialect that is spoken at an address, by its path."""
    parts = urlsplit(url)
    path = parts.path.rstrip("/")
    if "streamGenerateContent" in path:
        return "generate_content"
    for ending, name in (("/chat/completions", "chat_completions"), ("/responses", "responses"), ("/messages", "messages")):
        if path.endswith(ending):
            return name
    if parts.port == 11434 or path.endswith("/api/generate"):
        return "ollama"
    return "ui_message" if "/api/" in path else "chat_completions"


def full_url(url: str, dialect: str, model: str) -> str:
    """*url*, with the dialect's path added to one that is a provider's base URL."""
    path = urlsplit(url).path.rstrip("/")
    if dialect not in DIALECTS or not (path == "" or path.rsplit("/", 1)[-1] in ("v1", "v1beta", "openai")):
        return url
    added = dialect_module(dialect).path(model, stream=True)
    base = url.partition("?")[0].rstrip("/")
    return base + (added if path or dialect == "ollama" else "/v1" + added)


def body_for(dialect: str, model: str, prompt: str, body_file: Path | None) -> bytes:
    if body_file is not None:
        try:
            body = json.loads(body_file.read_bytes())
        except (OSError, ValueError) as exc:
            raise InvalidRequest(f"--body {body_file} is not a readable JSON file: {exc}") from None
        return json.dumps(body).encode()
    user = {"role": "user", "content": prompt}
    bodies: dict[str, Any] = {
        "chat_completions": {
            "model": model, "messages": [user], "stream": True, "stream_options": {"include_usage": True},
        },
        "responses": {"model": model, "input": prompt, "stream": True},
        "messages": {"model": model, "messages": [user], "max_tokens": 1024, "stream": True},
        "generate_content": {"contents": [{"role": "user", "parts": [{"text": prompt}]}]},
        "ollama": {"model": model, "messages": [user], "stream": True},
    }  # fmt: skip
    if dialect in bodies:
        return json.dumps(bodies[dialect]).encode()
    protocol = ChatProtocol("data" if dialect == "data_stream" else "ui")
    message = protocol.user_message("msg-1", prompt)
    return json.dumps(protocol.body("chat-1", [message], "submit-message", None, {"model": model})).encode()


class Tap:
    """A receiver that keeps every read with its time. One read of the network is one entry."""

    def __init__(self, capture: Capture, began: float) -> None:
        self.loop = asyncio.get_running_loop()
        self.capture = capture
        self.began = began
        self.size = 0
        self.over: asyncio.Future[None] = self.loop.create_future()

    def now(self) -> float:
        return self.loop.time() - self.began

    def head_received(self, head: AnswerHead) -> None:
        self.capture.status, self.capture.headers, self.capture.head_at_s = head.status, head.headers, self.now()

    def data_received(self, data: bytes) -> None:
        self.size += len(data)
        if self.size <= MAX_CAPTURE_BYTES:
            self.capture.reads.append(Read(self.now(), data))
        elif not self.over.done():
            self.end("reset", f"stopped after {MAX_CAPTURE_BYTES} bytes")

    def ended(self) -> None:
        self.end("complete", "")

    def failed(self, error: ErrorInfo) -> None:
        timeout = error.code == "upstream_timeout"
        self.end("timeout" if timeout else "reset", error.message.replace("the provider", "the server"))

    def end(self, ending: Ending, error: str) -> None:
        self.capture.ending, self.capture.error, self.capture.ended_at_s = ending, error, self.now()
        if not self.over.done():
            self.over.set_result(None)


def request_bytes(request: Request) -> bytes:
    parts = urlsplit(request.url)
    target = quote(parts.path or "/", safe=SAFE_PATH) + (f"?{quote(parts.query, safe=SAFE_PATH)}" if parts.query else "")
    fields = {
        "host": parts.netloc.rpartition("@")[2], "user-agent": f"streamward/{__version__}", "accept-encoding": "identity",
        **request.headers,
    }  # fmt: skip
    if request.body is not None:
        fields |= {"content-type": "application/json", "content-length": str(len(request.body))}
    head = f"{request.method} {target} HTTP/1.1\r\n".encode() + render_fields(fields.items())
    return head + b"\r\n" + (request.body or b"")


async def capture_live(request: Request) -> Capture:
    """Send *request* and keep its answer. A failure is in the capture (``ending``, ``error``), not raised."""
    capture = Capture(
        url=request.url, method=request.method, dialect=request.dialect, status=0, headers={}, reads=[],
        request_headers={**request.headers, "content-type": "application/json"},
    )  # fmt: skip
    pool = Pool()
    tap = Tap(capture, asyncio.get_running_loop().time())
    endpoint, _ = parse_base_url(request.url)
    timeouts = Timeouts(connect=min(5.0, request.timeout_s), first_byte=request.timeout_s, idle=request.timeout_s, total=0)
    call = pool.call(endpoint, request_bytes(request), tap, timeouts)
    try:
        await tap.over
    finally:
        call.cancel()
        await pool.aclose()
    return capture
