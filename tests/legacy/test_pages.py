"""``stream_to_response`` in functions of ``pages/api``: sync and async handlers, chunk by chunk."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.functions_server import Connection, serve

HANDLER = """
import asyncio, time
from streamward.legacy import OpenAIStream, stream_to_response

def chunk(text):
    return {{"choices": [{{"index": 0, "delta": {{"content": text}}, "finish_reason": None}}]}}

def chunks():
    for text in ("a", "b", "c"):
        yield chunk(text)
        time.sleep(0.05)

{prefix}def handler(req, res):
    {wait}stream_to_response(OpenAIStream(chunks(), version=2), res, {{"headers": {{"x-a": "b"}}}})
"""


@pytest.mark.parametrize(("prefix", "wait"), [("async ", "await "), ("", "")], ids=["async", "sync"])
def test_each_piece_is_a_chunk(tmp_path: Path, prefix: str, wait: str) -> None:
    with serve(tmp_path / "p", {"pages/api/chat.py": HANDLER.format(prefix=prefix, wait=wait)}) as server:
        connection = Connection(server.port).send("GET", "/api/chat")
        head = connection.head()
        chunks = []
        while data := connection.chunk():
            chunks.append(data)
        connection.close()

    assert chunks == [b"a", b"b", b"c"]
    assert (head.get("x-a"), head.get("content-type")) == ("b", "text/plain; charset=utf-8")
