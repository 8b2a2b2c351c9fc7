"""Reading streams without the code under test: HTTP chunks, SSE blocks, and what a frame of each dialect says.

Small and naive on purpose; standard library only.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

END_MARKER = b": end\rdata: [DONE]"


class Chunks:
    """The payload of a chunked body as it comes; ``whole`` once its last chunk has come."""

    def __init__(self) -> None:
        self.raw = b""
        self.left = 0
        """Bytes of the chunk under way that are still to come, its line end included."""
        self.whole = False

    def feed(self, data: bytes) -> bytes:
        self.raw += data
        out = b""
        while self.raw and not self.whole:
            if not self.left:
                line, found, rest = self.raw.partition(b"\r\n")
                if not found:
                    break
                self.raw = rest
                self.left = int(line, 16) + 2
                self.whole = self.left == 2
                continue
            piece, self.raw = self.raw[: self.left], self.raw[self.left :]
            end = max(0, self.left - 2)
            self.left -= len(piece)
            out += piece[:end]
            if piece[end:] not in (b"", b"\r", b"\n", b"\r\n"):
                raise ValueError("an HTTP chunk does not end where it should")
        return out


class Blocks:
    """SSE blocks out of a body; what is not whole when the connection ends was never received."""

    def __init__(self) -> None:
        self.rest = b""

    def feed(self, data: bytes) -> list[bytes]:
        *blocks, self.rest = (self.rest + data).split(b"\n\n")
        kept = (without_keep_alives(block) for block in blocks)
        return [block for block in kept if block]


def without_keep_alives(block: bytes) -> bytes:
    return b"\n".join(line for line in block.split(b"\n") if line != b": keep-alive")


@dataclass(frozen=True)
class Frame:
    """One block and what it says."""

    raw: bytes
    number: int | None
    """Its place in the stream; None for the end marker of Responses, which has none."""
    text: str = ""
    finished: bool = False
    error: str = ""
    """The code of an in-band error."""
    output_tokens: int | None = None
    last: bool = False
    """Nothing may follow."""


def frame(dialect: str, raw: bytes) -> Frame:
    """Read a block. Raises ValueError for what is no frame of *dialect*."""
    if dialect == "responses" and raw == END_MARKER:
        return Frame(raw, None, last=True)
    fields = dict(line.split(b": ", 1) for line in raw.split(b"\n"))
    number = int(fields[b"id"]) if b"id" in fields else None
    data = fields[b"data"]
    if dialect == "chat" and data == b"[DONE]":
        return Frame(raw, number, last=True)
    value = json.loads(data)
    if dialect == "responses":
        return responses_frame(raw, value)
    if dialect == "messages":
        return messages_frame(raw, number, value)
    return chat_frame(raw, number, value)


def chat_frame(raw: bytes, number: int | None, value: dict[str, Any]) -> Frame:
    if "error" in value:
        return Frame(raw, number, error=value["error"]["code"], last=True)
    choices = value["choices"]
    text = choices[0]["delta"].get("content") or "" if choices else ""
    finished = bool(choices) and choices[0]["finish_reason"] == "stop"
    usage = value.get("usage")
    return Frame(raw, number, text, finished, output_tokens=usage["completion_tokens"] if usage else None)


def messages_frame(raw: bytes, number: int | None, value: dict[str, Any]) -> Frame:
    kind = value["type"]
    if kind == "error":
        error = value["error"]
        return Frame(raw, number, error=error.get("code") or error["type"], last=True)
    if kind == "content_block_delta":
        return Frame(raw, number, value["delta"]["text"])
    if kind == "message_delta":
        return Frame(raw, number, output_tokens=value["usage"]["output_tokens"])
    return Frame(raw, number, finished=kind == "message_stop", last=kind == "message_stop")


def responses_frame(raw: bytes, value: dict[str, Any]) -> Frame:
    kind, number = value["type"], value["sequence_number"]
    if kind == "response.output_text.delta":
        return Frame(raw, number, value["delta"])
    if kind == "response.completed":
        return Frame(raw, number, finished=True, output_tokens=value["response"]["usage"]["output_tokens"])
    if kind == "response.failed":
        return Frame(raw, number, error=value["response"]["error"]["code"])
    return Frame(raw, number)
