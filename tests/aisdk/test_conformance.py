"""The conformance application's own promises: requests, endings, masking, cancelling, resuming."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from support.model_upstream import SECRET, TOKENS, ModelUpstream, conformance_app, model_upstream

HELLO = "".join(TOKENS)
USER = {"role": "user", "content": "hi"}
UI_USER = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}

CHATS = [
    *(f"/v2/api/{name}" for name in ("chat", "chat-data", "node")),
    *(f"/v3/api/{name}" for name in ("chat", "chat-data", "node", "chat-core", "chat-text")),
    *(f"/v4/api/{name}" for name in ("chat", "chat-text", "custom")),
    *(f"/v{v}/api/{name}" for v in (5, 6, 7) for name in ("chat", "chat-text", "custom", "resumable")),
]
COMPLETIONS = [
    "/v2/api/completion", "/v2/api/completion-data", "/v3/api/completion",
    *(f"/v{v}/api/{name}" for v in (4, 5, 6, 7) for name in ("completion", "completion-text")),
]  # fmt: skip

pytestmark = pytest.mark.xdist_group("conformance")


@pytest.fixture(scope="module")
def upstream() -> Iterator[ModelUpstream]:
    with model_upstream() as running:
        yield running


@pytest.fixture(scope="module")
def app(upstream: ModelUpstream) -> Iterator[httpx.Client]:
    with conformance_app(upstream) as url, httpx.Client(base_url=url, timeout=20) as client:
        yield client


@pytest.fixture(autouse=True)
def forget(upstream: ModelUpstream) -> None:
    upstream.post("/forget")


def body_for(path: str, model: str = "plain", chat: str = "chat-1") -> dict[str, Any]:
    messages = [UI_USER] if path[2] in "567" else [USER]
    return {"id": chat, "messages": messages, "trigger": "submit-message", "model": model}


def broken_or(app: httpx.Client, path: str, body: dict[str, Any]) -> tuple[str, bool]:
    """What came, and whether the body broke off."""
    received = b""
    try:
        with app.stream("POST", path, json=body) as answer:
            for data in answer.iter_raw():
                received += data
    except httpx.RemoteProtocolError:
        return received.decode(), True
    return received.decode(), False


def until(condition: Any) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("path", CHATS)
def test_a_chat_route_streams_the_answer_and_asks_as_the_contract_says(
    app: httpx.Client, upstream: ModelUpstream, path: str
) -> None:
    answer = app.post(path, json=body_for(path))

    asked = upstream.seen()[0]
    assert answer.status_code == 200
    assert all(json.dumps(token, ensure_ascii=False)[1:-1] in answer.text for token in TOKENS)
    assert [SYSTEM["content"], "hi"] == [text_of(m) for m in asked["body"]["messages"]]
    assert asked["authorization"] == "Bearer upstream-key"
    if path[2] != "2":
        assert asked["body"]["stream_options"] == {"include_usage": True}


def text_of(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


@pytest.mark.parametrize("path", ["/v2/api/chat", "/v3/api/chat", "/v4/api/chat", "/v7/api/chat"])
def test_half_an_emoji_in_a_message_is_no_error(app: httpx.Client, path: str) -> None:
    posted = json.dumps(body_for(path)).replace('"hi"', '"hi\\ud83d"')

    answer = app.post(path, content=posted)

    assert answer.status_code == 200
    assert "Hello" in answer.text


@pytest.mark.parametrize("path", COMPLETIONS)
def test_a_completion_is_one_user_message(app: httpx.Client, upstream: ModelUpstream, path: str) -> None:
    answer = app.post(path, json={"prompt": "say it"})

    asked = upstream.seen()[0]["body"]
    assert (answer.status_code, [text_of(m) for m in asked["messages"]]) == (200, ["say it"])
    assert "Hello" in answer.text
    if path[2] != "2":
        assert asked["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize("version", [2, 3])
def test_a_node_response_that_fails_before_it_began_is_masked(app: httpx.Client, version: int) -> None:
    answer = app.post(f"/v{version}/api/node", json=body_for("/v2", "error-first"))

    assert (answer.status_code, answer.text) == (500, "An error occurred.")


@pytest.mark.parametrize("path", [*CHATS, *COMPLETIONS])
def test_bad_bodies_are_refused(app: httpx.Client, upstream: ModelUpstream, path: str) -> None:
    bad = [b"{", b"[]", b"\xff", b"{}", b'{"messages": "x"}', b'{"messages": [1]}', b'{"messages":[{"role":"user"}]}']

    statuses = [app.post(path, content=body).status_code for body in bad]

    assert [400 <= status < 500 for status in statuses] == [True] * len(bad)
    assert upstream.seen() == []


@pytest.mark.parametrize("model", ["drop", "cut", "error"])
@pytest.mark.parametrize("path", CHATS)
def test_a_failing_upstream_never_looks_finished(app: httpx.Client, path: str, model: str) -> None:
    wire, broken = broken_or(app, path, body_for(path, model))

    kept = wire.replace("\n", "")
    assert SECRET not in wire
    assert broken or "An error occurred." in wire, wire
    assert '"finishReason":"stop"' not in wire
    assert "Hel" in kept


@pytest.mark.parametrize("path", CHATS)
def test_a_refused_upstream_key_is_masked_and_not_tried_again(
    app: httpx.Client, upstream: ModelUpstream, path: str
) -> None:
    wire, broken = broken_or(app, path, body_for(path, "denied"))

    assert len(upstream.seen()) == 1
    assert SECRET not in wire
    assert broken or "An error occurred." in wire


@pytest.mark.parametrize("path", ["/v2/api/chat", "/v4/api/chat", "/v7/api/chat"])
def test_a_busy_upstream_is_tried_again(app: httpx.Client, upstream: ModelUpstream, path: str) -> None:
    answer = app.post(path, json=body_for(path, "busy"))

    assert "Hello" in answer.text
    assert len(upstream.seen()) == 2


@pytest.mark.parametrize("model", ["stall", "silent"])
@pytest.mark.parametrize("path", [path for path in CHATS if "resumable" not in path])
def test_a_client_that_leaves_cancels_the_upstream(
    app: httpx.Client, upstream: ModelUpstream, path: str, model: str
) -> None:
    leave_after(app, path, body_for(path, model), b"Hel" if model == "stall" else None, upstream)

    until(lambda: [one["gone"] for one in upstream.seen()] == [True])


def leave_after(
    app: httpx.Client, path: str, body: dict[str, Any], word: bytes | None, upstream: ModelUpstream
) -> None:
    """Post, read until *word* (or until the provider was asked), hang up."""
    with socket.create_connection((app.base_url.host, app.base_url.port)) as sock:
        data = json.dumps(body).encode()
        sock.sendall(b"POST %b HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (path.encode(), len(data), data))
        received = b""
        while word is not None and word not in received:
            received += sock.recv(65536)
        until(lambda: len(upstream.seen()) == 1)


@pytest.mark.parametrize("version", [5, 6, 7])
def test_a_resumable_chat_survives_its_client_and_is_replayed(
    app: httpx.Client, upstream: ModelUpstream, version: int
) -> None:
    path, chat = f"/v{version}/api/resumable", "chat/1 #ü%2F"
    resume = f"{path}/{quote(chat, safe='')}/stream"
    leave_after(app, path, body_for(path, "stepped", chat), b"Hello", upstream)

    with app.stream("GET", resume) as answer:
        chunks = answer.iter_text()
        first = next(chunks)
        while "Hello" not in first:
            first += next(chunks)
        rest = ""
        for token in TOKENS[1:]:
            upstream.post("/step")
            while token not in rest:
                rest += next(chunks)
        upstream.post("/step")
        rest += "".join(chunks)

    assert answer.headers["x-vercel-ai-ui-message-stream"] == "v1"
    assert first.startswith('data: {"type":"start"')
    assert rest.endswith("data: [DONE]\n\n")
    assert [one["gone"] for one in upstream.seen()] == [False]
    assert app.get(resume).status_code == 204


def test_the_program_ends_when_it_is_told_to_though_somebody_reads(upstream: ModelUpstream) -> None:
    with conformance_app(upstream) as url:
        client = httpx.Client(base_url=url, timeout=20)
        answer = client.send(client.build_request("POST", "/v7/api/chat", json=body_for("/v7", "stall")), stream=True)
        begun = next(answer.iter_raw())
        told = time.monotonic()

    assert begun
    assert time.monotonic() - told < 8
    client.close()


def test_nothing_to_resume(app: httpx.Client) -> None:
    assert app.get("/v7/api/resumable/never%2Fheard/stream").status_code == 204


@pytest.mark.parametrize("version", [4, 5, 6, 7])
def test_an_object_comes_as_text(app: httpx.Client, upstream: ModelUpstream, version: int) -> None:
    answer = app.post(f"/v{version}/api/object", json={"topic": "t"})

    assert answer.json() == {"city": "Paris", "tempC": 21}
    assert upstream.seen()[0]["body"]["response_format"]["type"] == "json_object"


def test_an_object_needs_json_or_nothing(app: httpx.Client, upstream: ModelUpstream) -> None:
    statuses = [app.post("/v6/api/object", content=body).status_code for body in (b"{", b"\xff", b"[" * 100_000, b"")]

    assert statuses == [400, 400, 400, 200]
    assert len(upstream.seen()) == 1


def test_functions_are_forwarded_by_version_2(app: httpx.Client, upstream: ModelUpstream) -> None:
    functions = [{"name": "weather", "parameters": {"type": "object"}}]

    answer = app.post("/v2/api/chat", json={**body_for("/v2/api/chat", "function"), "functions": functions})

    assert upstream.seen()[0]["body"]["functions"] == functions
    assert answer.json()["function_call"]["name"] == "weather"


def test_the_bytes_of_complex_mode(app: httpx.Client) -> None:
    answers = [app.post(f"/v{v}/api/chat-data", json={"messages": [USER]}) for v in (2, 3)]

    text = "".join(f"0:{json.dumps(token, ensure_ascii=False)}\n" for token in TOKENS)
    for answer in answers:
        assert answer.text == f'2:[{{"note":"start"}}]\n{text}2:[{{"note":"done"}}]\n8:[{{"k":1}}]\n'
    assert [a.headers.get("x-experimental-stream-data") for a in answers] == ["true", None]


def test_a_custom_data_stream(app: httpx.Client) -> None:
    lines = app.post("/v4/api/custom", json={"messages": [USER]}).text.splitlines()

    source = '{"sourceType":"url","id":"s1","url":"https://example.com/s1","title":"S1"}'
    assert lines[:3] == ['2:[{"progress":1}]', '8:[{"note":"n1"}]', f"h:{source}"]
    assert {'2:[{"progress":2}]', '8:[{"note":"n2"}]'} <= set(lines[3:])
    assert any(line.startswith('d:{"finishReason":"stop"') for line in lines)


@pytest.mark.parametrize("version", [5, 6, 7])
def test_a_custom_ui_message_stream(app: httpx.Client, version: int) -> None:
    wire = app.post(f"/v{version}/api/custom", json={"messages": [UI_USER]}).text

    chunks = [json.loads(frame[6:]) for frame in wire.split("\n\n") if frame and frame != "data: [DONE]"]
    assert chunks[:5] == [
        {"type": "start", "messageMetadata": {"requestId": "r1"}},
        {"type": "data-status", "id": "st", "data": {"pct": 10}},
        {"type": "data-notify", "data": {"level": "info"}, "transient": True},
        {"type": "source-url", "sourceId": "s1", "url": "https://example.com/s1", "title": "S1"},
        {"type": "file", "url": "https://example.com/f.png", "mediaType": "image/png"},
    ]
    assert [chunk["type"] for chunk in chunks[5:]].count("start") == 0
    assert chunks[-2]["messageMetadata"] == {"totalTokens": 9}
    assert chunks[-1] == {"type": "data-status", "id": "st", "data": {"pct": 100}}
