"""A page's `useChat` (AI SDK 2) answered by `http.server`, nothing else: `python examples/http_server_chat.py`.

The chunks come from the `openai` SDK, as in the days of `OpenAIStream`; OPENAI_BASE_URL and OPENAI_API_KEY say where.
"""

import json
import os
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from openai import OpenAI

from streamward.legacy import OpenAIStream, stream_to_response

MODEL = os.environ.get("MODEL", "gpt-4o-mini")
client = OpenAI()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        chunks = client.chat.completions.create(model=MODEL, messages=body["messages"], stream=True)
        stream_to_response(OpenAIStream(chunks, version=2), self)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(os.environ.get("PORT", "8000"))), Handler).serve_forever()
