"""``stream_to_response`` under ``http.server``: chunk by chunk, and closed when the client leaves."""

from __future__ import annotations

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from streamward.legacy import OpenAIStream, stream_to_response
from support.scripted_upstream import FINISH, ROLE, delta


@contextmanager
def served(chunks: Any) -> Iterator[int]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            stream_to_response(OpenAIStream(chunks(), version=2), self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def test_it_streams_and_keeps_the_connection() -> None:
    gate = threading.Event()

    def chunks() -> Iterator[bytes]:
        yield ROLE + delta("Hel")
        gate.wait(10)
        yield delta("lo") + FINISH

    with served(chunks) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        texts = []
        for _ in range(2):
            gate.clear()
            connection.request("GET", "/")
            answer = connection.getresponse()
            first = answer.read1()
            gate.set()
            texts.append((first, answer.read()))
        connection.close()

    assert texts == [(b"Hel", b"lo")] * 2


def test_a_client_that_leaves_closes_the_source() -> None:
    closed = threading.Event()

    class Chunks:
        def __init__(self) -> None:
            self.count = 0

        def __aiter__(self) -> Chunks:
            return self

        async def __anext__(self) -> bytes:
            import asyncio

            self.count += 1
            if self.count > 1:
                await asyncio.Event().wait()  # for ever
            return ROLE + delta("Hel")

        async def aclose(self) -> None:
            closed.set()

    with served(Chunks) as port:
        connection = http.client.HTTPConnection("127.0.0.1", port)
        connection.request("GET", "/")
        answer = connection.getresponse()
        first = answer.read1()
        answer.close()
        connection.close()

        assert closed.wait(10)
    assert first == b"Hel"
