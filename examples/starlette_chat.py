"""`useChat` on Starlette: `python examples/starlette_chat.py`."""

import os

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")


async def chat(request: Request) -> Response:
    body = await request.json()
    return stream_text(MODEL, messages=body["messages"]).to_ui_message_stream_response()


app = Starlette(routes=[Route("/api/chat", chat, methods=["POST"])])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
