"""The server of AI SDK 7's WebSocketChatTransport: frames in, frames out, over a WebSocket of plain queues."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from starlette.websockets import WebSocket

from streamward import StreamwardError, chat_socket, resumable, stream_text
from streamward.durable.store import StoreUnavailable
from streamward.errors import UpstreamError
from streamward.testing import ScriptedModel, text

Json = dict[str, Any]
USER = {"id": "u1", "role": "user", "parts": [{"type": "text", "text": "hi"}]}


class Peer:
    """The browser's end of the connection."""

    def __init__(self) -> None:
        self.to_server: asyncio.Queue[Json] = asyncio.Queue()
        self.to_client: asyncio.Queue[Json] = asyncio.Queue()

    def say(self, kind: str, request: str = "r1", **fields: Any) -> None:
        more = {} if kind == "abort" else {"id": "chat 1", "headers": {}, "body": {}}
        if kind == "send":
            more |= {"messages": [USER], "trigger": "submit-message"}
        self.raw(json.dumps({"type": kind, "requestId": request, **more, **fields}))

    def raw(self, text: str) -> None:
        self.to_server.put_nowait({"type": "websocket.receive", "text": text})

    def leave(self) -> None:
        self.to_server.put_nowait({"type": "websocket.disconnect", "code": 1001})

    async def hear(self) -> Json:
        """The next frame; the closing of the connection as ``{"close": code}``."""
        async with asyncio.timeout(5):
            message = await self.to_client.get()
        if message["type"] == "websocket.close":
            return {"close": message["code"]}
        frame: Json = json.loads(message["text"])
        return frame

    async def answer(self, request: str = "r1") -> list[Json]:
        """The frames of one request, to its last."""
        frames: list[Json] = []
        while not frames or frames[-1]["type"] not in ("end", "error", "no-active"):
            frame = await self.hear()
            frames += [frame] if frame["requestId"] == request else []
        return frames


@asynccontextmanager
async def connected(answer: Any, origin: str | None = None, **options: Any) -> AsyncIterator[Peer]:
    peer = Peer()
    headers = [(b"host", b"chat.example"), *([(b"origin", origin.encode())] if origin else [])]
    scope = {
        "type": "websocket", "path": "/", "headers": headers, "query_string": b"", "subprotocols": [],
        "extensions": {"websocket.http.response": {}},
    }  # fmt: skip
    peer.to_server.put_nowait({"type": "websocket.connect"})

    async def send(message: Any) -> None:
        await peer.to_client.put(message)

    serving = asyncio.create_task(chat_socket(WebSocket(scope, peer.to_server.get, send), answer, **options))
    opened = await peer.to_client.get()
    assert opened["type"] == ("websocket.http.response.start" if opened.get("status") == 403 else "websocket.accept")
    try:
        yield peer
    finally:
        peer.leave()
        async with asyncio.timeout(5):
            await serving


def answering(*scripts: Any, **options: Any) -> Any:
    """An answer function for these model calls, and its model."""
    model = ScriptedModel(*scripts, **options)

    def answer(body: Json, headers: dict[str, str]) -> Any:
        answer.seen.append((body, headers))
        return stream_text(model, messages=body["messages"]).to_ui_message_stream_response(
            version=7, original_messages=body["messages"], generate_message_id=lambda: "m1"
        )

    answer.seen, answer.model = [], model  # type: ignore[attr-defined]
    return answer


def said(frames: list[Json]) -> str:
    return "".join(frame["chunk"].get("delta", "") for frame in frames if frame["type"] == "chunk")


async def test_an_answer_is_chunks_numbered_from_zero_and_an_end():
    answer = answering([text("Hel", "lo\u2028")])
    async with connected(answer) as peer:
        peer.say("send", headers={"authorization": "x"}, body={"model": "m"}, messageId="u1")
        frames = await peer.answer()

    assert [frame["type"] for frame in frames] == ["chunk"] * (len(frames) - 1) + ["end"]
    assert [frame["sequence"] for frame in frames[:-1]] == list(range(len(frames) - 1))
    assert frames[0]["chunk"] == {"type": "start", "messageId": "m1"}
    assert said(frames) == "Hello\u2028"
    posted = {"model": "m", "id": "chat 1", "messages": [USER], "trigger": "submit-message", "messageId": "u1"}
    assert answer.seen == [(posted, {"authorization": "x"})]


async def test_turns_of_several_chats_share_the_connection():
    async with connected(answering([text(*"abc")], [text(*"abc")], delay_s=0.01)) as peer:
        peer.say("send", "r1", id="one")
        peer.say("send", "r2", id="two")
        frames = [await peer.hear() for _ in range(20)]

    assert [frame["requestId"] for frame in frames if frame["type"] == "end"] in (["r1", "r2"], ["r2", "r1"])
    for request in ("r1", "r2"):
        assert said([frame for frame in frames if frame["requestId"] == request]) == "abc"


async def test_an_abort_stops_the_generation_and_the_connection_goes_on():
    answer = answering([text(*["x"] * 500)], [text("next")], delay_s=0.01)
    async with connected(answer) as peer:
        peer.say("send", "r1")
        while (await peer.hear())["chunk"]["type"] != "text-delta":
            pass
        peer.say("abort", "r1")
        peer.say("abort", "unknown")
        peer.say("send", "r2")
        frames = await peer.answer("r2")

    assert said(frames) == "next"
    assert answer.model.streams[0].cancelled


async def test_a_lost_connection_ends_what_is_not_recorded():
    answer = answering([text(*["x"] * 500)], delay_s=0.01)
    async with connected(answer) as peer:
        peer.say("send")
        await peer.hear()

    assert answer.model.streams[0].cancelled


async def test_a_recorded_answer_is_replayed_from_its_first_chunk():
    answer = answering([text(*"abcdef")], delay_s=0.02)
    async with resumable() as streams:
        async with connected(answer, streams=streams) as peer:
            peer.say("send")
            while (await peer.hear())["chunk"]["type"] != "text-delta":
                pass
        async with connected(answer, streams=streams) as peer:
            peer.say("resume", "r2")
            frames = await peer.answer("r2")
            peer.say("resume", "r3")
            nothing = await peer.answer("r3")

    assert frames[0] == {"type": "start", "requestId": "r2"}
    assert frames[1]["sequence"] == 0
    assert frames[1]["chunk"] == {"type": "start", "messageId": "m1"}
    assert said(frames) == "abcdef"
    assert nothing == [{"type": "no-active", "requestId": "r3"}]


async def test_a_resume_may_name_what_it_has():
    answer = answering([text(*"abcdef")], delay_s=0.02)
    async with resumable() as streams, connected(answer, streams=streams) as peer:
        peer.say("send", "r1")
        await peer.hear()
        peer.say("resume", "r2", lastSequence=3)
        frames = await peer.answer("r2")

    assert next(frame["sequence"] for frame in frames if frame["type"] == "chunk") == 4


async def test_an_abort_stops_a_recorded_answer_for_everybody():
    answer = answering([text(*["x"] * 500)], delay_s=0.01)
    async with resumable() as streams, connected(answer, streams=streams) as peer:
        peer.say("send", "r1")
        await peer.hear()
        other = await streams.resume("chat 1")
        peer.say("abort", "r1")
        wire = b"".join([data async for data in other.body_iterator])  # type: ignore[attr-defined]

    assert b'"type":"abort"' in wire
    assert answer.model.streams[0].cancelled


async def test_a_store_that_is_away_leaves_the_connection_alone(monkeypatch: pytest.MonkeyPatch):
    answer = answering([text(*["x"] * 500)], [text("next")], delay_s=0.01)

    async def away(*_: Any, **__: Any) -> bool:
        raise StoreUnavailable("no answer from the store")

    async with resumable() as streams, connected(answer, streams=streams) as peer:
        peer.say("send", "r1")
        await peer.hear()
        monkeypatch.setattr(streams, "stop", away)
        peer.say("abort", "r1")
        peer.say("send", "r2", id="chat 2")
        frames = await peer.answer("r2")

    assert said(frames) == "next"


@pytest.mark.parametrize(
    ("failure", "shown"),
    [
        (ValueError("secret path"), "An error occurred."),
        (UpstreamError("secret key"), "An error occurred."),
        (StreamwardError("messages must be an array", status=400), "messages must be an array"),
    ],
)
async def test_an_answer_that_fails_is_an_error_and_masked(failure: Exception, shown: str):
    async def answer(body: Json, headers: dict[str, str]) -> Any:
        raise failure

    async with connected(answer) as peer:
        peer.say("send")
        frames = await peer.answer()

    assert frames == [{"type": "error", "requestId": "r1", "errorText": shown}]


async def test_a_provider_that_fails_is_an_error_chunk():
    async with connected(answering([UpstreamError("secret")])) as peer:
        peer.say("send")
        frames = await peer.answer()

    assert [frame["chunk"]["type"] for frame in frames[:-1]] == ["start", "error"]
    assert "secret" not in json.dumps(frames)


@pytest.mark.parametrize(
    "raw",
    [
        "", "{", "[]", "null", "[" * 100_000, '{"type": "send"}', '{"type": "other", "requestId": "r"}',
        '{"type": "abort", "requestId": 1}', '{"type": "resume", "requestId": "r", "id": "c", "headers": {}}',
        '{"type": "resume", "requestId": "r", "id": "c", "headers": {"a": 1}, "body": {}}',
        '{"type": "resume", "requestId": "r", "id": "c", "headers": {}, "body": {}, "lastSequence": -1}',
        '{"type": "send", "requestId": "r", "id": "c", "headers": {}, "body": {}, "messages": [], "trigger": "x"}',
        '{"type": ["send"], "requestId": "r"}',
    ],
)  # fmt: skip
async def test_a_frame_that_is_none_closes_the_connection(raw: str):
    async with connected(answering()) as peer:
        peer.raw(raw)

        assert await peer.hear() == {"close": 1008}


async def test_pages_of_other_origins_are_refused():
    for origin, options, refused in (
        ("http://chat.example", {}, False), ("http://evil.example", {}, True), ("null", {}, True),
        ("http://evil.example", {"allowed_origins": ["http://evil.example"]}, False),
        ("http://evil.example", {"allowed_origins": "*"}, False),
    ):  # fmt: skip
        async with connected(answering([text("x")]), origin, **options) as peer:
            if refused:
                assert (await peer.to_client.get())["body"] == b"pages of this origin may not connect"
            else:
                peer.say("send")
                assert said(await peer.answer()) == "x"
