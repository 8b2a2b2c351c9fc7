"""`useChat` and `useCompletion` on FastAPI: `MODEL=openai/gpt-4o-mini python examples/fastapi_chat.py`."""

import os

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")
app = FastAPI()


@app.post("/api/chat", response_class=Response)
async def chat(request: Request) -> Response:
    body = await request.json()
    return stream_text(MODEL, messages=body["messages"]).to_ui_message_stream_response()


@app.post("/api/completion", response_class=Response)
async def completion(request: Request) -> Response:
    body = await request.json()
    return stream_text(MODEL, prompt=body["prompt"]).to_ui_message_stream_response()


if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
