"""A small server that keeps its streams, as the gateway's contract says, and cuts connections where it is told to.

Independent of the code under test: frames are made here and numbered here. A script for ``scripted_upstream``.
"""

import json
from collections.abc import Sequence
from typing import Any

from support.scripted_upstream import LAST, SSE, Seen, document, head, http_chunk

STREAM_ID = "st_0123456789abcdef"


class DurableScript:
    """Serves one stream of *frames* (``data:`` blocks). ``cuts[n]`` says after how many frames connection n is reset.

    Beyond the cuts connections are whole. ``hold`` keeps a whole connection open after that many frames.
    """

    def __init__(self, frames: Sequence[bytes], cuts: Sequence[int | None] = (), *, hold: int | None = None) -> None:
        self.frames = list(frames)
        self.cuts = list(cuts)
        self.hold = hold
        self.requests: list[tuple[str, str]] = []
        self.posts: list[dict[str, Any]] = []
        self.keys: list[str | None] = []
        self.stopped = False
        self.forgotten = False
        self.replay_all = False
        self.skip = 0

    async def __call__(self, seen: Seen) -> None:
        method, target, _ = seen.head.split(b"\r\n", 1)[0].decode().split(" ")
        self.requests.append((method, target))
        path, _, query = target.partition("?")
        if path == f"/v1/streams/{STREAM_ID}/stop":
            self.stopped = True
            await seen.write(document({"id": STREAM_ID})[0])
        elif method == "POST":
            self.posts.append(seen.json())
            self.keys.append(seen.header("idempotency-key"))
            await self.stream(seen, 0, durable=seen.header("x-streamward-resumable") == "1")
        elif path != f"/v1/streams/{STREAM_ID}" or self.forgotten:
            body = {"error": {"message": "no such stream", "code": "not_found", "type": "invalid_request_error"}}
            await seen.write(document(body, 404)[0])
        else:
            first = int(query.removeprefix("after=")) + 1 if query else 0
            await self.stream(seen, 0 if self.replay_all else first + self.skip, durable=True)

    async def stream(self, seen: Seen, first: int, *, durable: bool) -> None:
        cut = self.cuts.pop(0) if self.cuts else None
        fields = head(200, "transfer-encoding: chunked", f"x-streamward-stream-id: {STREAM_ID}") if durable else SSE
        if cut == -1:  # before anything
            seen.writer.transport.abort()  # type: ignore[union-attr]
            return
        await seen.write(fields)
        for number, block in enumerate(self.frames[first:], first):
            if cut is not None and number >= first + cut:
                seen.writer.transport.abort()  # type: ignore[union-attr]
                return
            if number == self.hold:
                await seen.gone.wait()
                return
            await seen.write(http_chunk((b"id: %d\n" % number if durable else b"") + block))
        await seen.write(LAST)


def responses_frames(text: Sequence[str], *, response_id: str = "resp_1") -> list[bytes]:
    """A whole Responses stream that says *text*, delta by delta."""
    message = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    part = {"type": "output_text", "text": "", "annotations": [], "logprobs": []}
    whole = "".join(text)
    done_part = {**part, "text": whole}
    done = {**message, "status": "completed", "content": [done_part]}
    at = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    response = {"id": response_id, "object": "response", "model": "m", "created_at": 1, "status": "in_progress", "output": []}
    usage = {"input_tokens": 1, "output_tokens": len(text), "total_tokens": 1 + len(text)}
    events = [
        {"type": "response.created", "response": response},
        {"type": "response.in_progress", "response": response},
        {"type": "response.output_item.added", "output_index": 0, "item": message},
        {"type": "response.content_part.added", **at, "part": part},
        *({"type": "response.output_text.delta", **at, "delta": delta, "logprobs": []} for delta in text),
        {"type": "response.output_text.done", **at, "text": whole, "logprobs": []},
        {"type": "response.content_part.done", **at, "part": done_part},
        {"type": "response.output_item.done", "output_index": 0, "item": done},
        {"type": "response.completed", "response": {**response, "status": "completed", "output": [done], "usage": usage}},
    ]
    return [
        f"event: {event['type']}\ndata: {json.dumps({**event, 'sequence_number': number})}\n\n".encode()
        for number, event in enumerate(events)
    ]


class StoredResponseScript:
    """A server that keeps background responses: ``GET /v1/responses/{id}?stream=true&starting_after=N``."""

    def __init__(self, text: Sequence[str], cuts: Sequence[int]) -> None:
        self.frames = responses_frames(text)
        self.cuts = list(cuts)
        self.targets: list[str] = []

    async def __call__(self, seen: Seen) -> None:
        method, target, _ = seen.head.split(b"\r\n", 1)[0].decode().split(" ")
        self.targets.append(f"{method} {target}")
        first = int(target.rpartition("starting_after=")[2]) + 1 if "starting_after" in target else 0
        cut = self.cuts.pop(0) if self.cuts else None
        await seen.write(SSE)
        for block in self.frames[first : None if cut is None else first + cut]:
            await seen.write(http_chunk(block))
        if cut is not None:
            seen.writer.transport.abort()  # type: ignore[union-attr]
            return
        await seen.write(LAST)
