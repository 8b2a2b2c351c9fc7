"""`useChat` on Litestar, which sends any ASGI application that a handler returns: `python examples/litestar_chat.py`."""

import os
from typing import Any

import uvicorn
from litestar import Litestar, post
from litestar.types import ASGIApp

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")


@post("/api/chat")
async def chat(data: dict[str, Any]) -> ASGIApp:
    return stream_text(MODEL, messages=data["messages"]).to_ui_message_stream_response()


app = Litestar([chat])

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
