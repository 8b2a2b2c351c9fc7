"""`useChat` and `useCompletion` on FastAPI: `MODEL=openai/gpt-4o-mini python examples/fastapi_chat.py`.

The pages are in `examples/react-chat` (`npm ci && npm run build`, then open http://127.0.0.1:8000/); without them it is
only the API.
"""

import os
from pathlib import Path

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import Response
from fastapi.staticfiles import StaticFiles

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")
PAGES = Path(__file__).parent / "react-chat" / "dist"
app = FastAPI()


@app.post("/api/chat", response_class=Response)
async def chat(request: Request) -> Response:
    body = await request.json()
    return stream_text(MODEL, messages=body["messages"]).to_ui_message_stream_response()


@app.post("/api/completion", response_class=Response)
async def completion(request: Request) -> Response:
    body = await request.json()
    return stream_text(MODEL, prompt=body["prompt"]).to_ui_message_stream_response()


@app.post("/api/v4/chat", response_class=Response)
async def chat_of_version_4(request: Request) -> Response:
    body = await request.json()
    return stream_text(MODEL, messages=body["messages"]).to_data_stream_response()


if PAGES.is_dir():
    app.mount("/", StaticFiles(directory=PAGES, html=True))

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), log_level="warning")
