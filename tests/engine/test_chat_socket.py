"""The server of WebSocketChatTransport: frames in, numbered chunks out."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.applications import Starlette
from starlette.routing import WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket, WebSocketDisconnect

from streamward import ChatRequest, Resumable, resumable, serve_chat_socket, stream_text
from streamward.engine.chat_socket import MAX_ANSWERS


def client(answer: Any = None, *, streams: Resumable | None = None, **options: Any) -> TestClient:
    def echo(request: ChatRequest) -> Any:
        result = stream_text("demo/echo?tps=0&ttft_ms=0", messages=request.messages)
        return result.to_ui_message_stream_response(version=7)

    async def route(websocket: WebSocket) -> None:
        await serve_chat_socket(websocket, answer or echo, streams=streams, **options)

    return TestClient(Starlette(routes=[WebSocketRoute("/", route)]))


def ask(number: str = "r1", text: str = "one two three", **more: Any) -> dict[str, Any]:
    message = {"id": "u", "role": "user", "parts": [{"type": "text", "text": text}]}
    return {"type": "send", "requestId": number, "id": "chat", "trigger": "submit-message", "messages": [message],
            "headers": {}, "body": {}, **more}  # fmt: skip


def answered(socket: Any) -> list[dict[str, Any]]:
    frames = []
    while not frames or frames[-1]["type"] not in ("end", "error", "no-active"):
        frames.append(socket.receive_json())
    return frames


def said(frames: list[dict[str, Any]]) -> str:
    return "".join(frame["chunk"].get("delta", "") for frame in frames if frame["type"] == "chunk")


def test_an_answer_is_numbered_from_0():
    with client() as app, app.websocket_connect("/") as socket:
        socket.send_json(ask())
        frames = answered(socket)
        socket.send_json(ask("r2", "again"))
        again = answered(socket)

    assert (frames[0], frames[-1]) == ({"type": "start", "requestId": "r1"}, {"type": "end", "requestId": "r1"})
    assert [frame["sequence"] for frame in frames[1:-1]] == list(range(len(frames) - 2))
    assert frames[1]["chunk"]["type"] == "start"
    assert (said(frames), said(again)) == ("one two three", "again")


def test_what_the_answer_is_given():
    given: list[ChatRequest] = []

    def fail(request: ChatRequest) -> Any:
        given.append(request)
        raise ValueError("secret")

    with client(fail) as app, app.websocket_connect("/") as socket:
        socket.send_json(ask(messageId="m1", body={"model": "x"}, headers={"a": "b"}, metadata={"k": 1}))
        frames = answered(socket)

    assert frames == [{"type": "error", "requestId": "r1", "errorText": "An error occurred."}]
    (request,) = given
    assert (request.id, request.message_id, request.body, request.headers, request.metadata) == (
        "chat", "m1", {"model": "x"}, {"a": "b"}, {"k": 1}
    )  # fmt: skip


def test_a_stream_that_breaks_off_does_not_end():
    def broken(request: ChatRequest) -> Any:
        return stream_text("demo/fail?tps=0&ttft_ms=0&fail_with=truncate", prompt="x").to_text_stream_response()

    with client(broken) as app, app.websocket_connect("/") as socket:
        socket.send_json(ask())
        assert answered(socket)[-1]["type"] == "error"


def test_resuming_after_a_chunk():
    """From the beginning without a number; after it with one; nothing for a chat nobody answers."""
    streams = resumable()
    def slow(request: ChatRequest) -> Any:
        result = stream_text("demo/lorem?tps=200&ttft_ms=0&tokens=40", messages=request.messages)
        return result.to_ui_message_stream_response(version=7)

    with client(slow, streams=streams) as app:
        with app.websocket_connect("/") as socket:
            socket.send_json(ask())
            for _ in range(6):
                socket.receive_json()
        resume = {"type": "resume", "id": "chat", "headers": {}, "body": {}}
        with app.websocket_connect("/") as socket:
            socket.send_json(resume | {"requestId": "all"})
            socket.send_json(resume | {"requestId": "rest", "lastSequence": 4})
            socket.send_json(resume | {"requestId": "none", "id": "other"})
            frames: dict[str, list[dict[str, Any]]] = {"all": [], "rest": [], "none": []}
            while any(not seen or seen[-1]["type"] in ("start", "chunk") for seen in frames.values()):
                frame = socket.receive_json()
                frames[frame["requestId"]].append(frame)

    whole = [(frame["sequence"], frame["chunk"]) for frame in frames["all"] if frame["type"] == "chunk"]
    rest = [(frame["sequence"], frame["chunk"]) for frame in frames["rest"] if frame["type"] == "chunk"]
    assert [number for number, _ in whole] == list(range(len(whole)))
    assert rest == whole[5:]
    assert (frames["all"][-1]["type"], frames["none"]) == ("end", [{"type": "no-active", "requestId": "none"}])


def test_without_a_store_there_is_nothing_to_resume():
    with client() as app, app.websocket_connect("/") as socket:
        socket.send_json({"type": "resume", "requestId": "r", "id": "chat", "headers": {}, "body": {}})
        assert answered(socket) == [{"type": "no-active", "requestId": "r"}]


def test_too_many_answers_at_a_time():
    def silent(request: ChatRequest) -> Any:
        return stream_text("demo/lorem?ttft_ms=60000", prompt="x").to_ui_message_stream_response(version=7)

    with client(silent) as app, app.websocket_connect("/") as socket:
        for number in range(MAX_ANSWERS):
            socket.send_json(ask(f"r{number}"))
        socket.send_json(ask("r0"))
        socket.send_json(ask("one too many"))
        refused = []
        while len(refused) < 2:
            frame = socket.receive_json()
            refused += [frame] if frame["type"] == "error" else []
        socket.send_json({"type": "abort", "requestId": "r1"})
        socket.send_json({"type": "abort", "requestId": "r1"})

    assert [frame["requestId"] for frame in refused] == ["r0", "one too many"]


@pytest.mark.parametrize("frame", ["hello", "[]", '{"type":"stop","requestId":"r"}', '{"type":"abort"}', '{"type":"send"}'])
def test_what_is_no_frame(frame: str):
    with client() as app, app.websocket_connect("/") as socket:
        socket.send_text(frame)
        with pytest.raises(WebSocketDisconnect) as closed:
            socket.receive_json()

    assert closed.value.code == 1008


def test_pages_that_may_connect():
    with client(origins=["https://app.example"]) as app:
        with app.websocket_connect("/", headers={"origin": "https://app.example"}) as socket:
            socket.send_json(ask())
            assert answered(socket)[-1]["type"] == "end"
        with pytest.raises(WebSocketDisconnect), app.websocket_connect("/", headers={"origin": "https://evil.example"}):
            pass
