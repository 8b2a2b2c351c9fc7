"""A call that the gateway makes on a caller's behalf: the same path as any other, without a connection behind it."""

from __future__ import annotations

import asyncio

from streamward.dataplane.exchange import Request


def inner_request(route: str) -> Request:
    """The head of a request that was never sent."""
    return Request(
        method="POST", path=route, raw_path=route.encode(), query=b"", header_list=[], headers={}, content_length=0,
        http_minor=1, client=None, server=None, scheme="http",
    )  # fmt: skip


class InnerSink:
    """A sink that keeps an answer which is not streamed."""

    def __init__(self) -> None:
        self.status = 0
        self.parts: list[bytes] = []
        self.over = asyncio.Event()

    def start(self, status: int, fields: bytes, *, length: int | None = None, by_frame: bool = False) -> None:
        self.status = status

    def write(self, data: bytes) -> None:
        self.parts.append(data)

    def flush_head(self) -> None:
        """Nobody waits for it."""

    def finish(self, data: bytes = b"") -> None:
        self.parts.append(data)
        self.over.set()

    def abort(self) -> None:
        self.status = 502
        self.over.set()

    def pause_body(self) -> None:
        """There is no body to pause."""

    def resume_body(self) -> None:
        """See ``pause_body``."""
