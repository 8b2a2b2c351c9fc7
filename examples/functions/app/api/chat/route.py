"""The back end of a ``useChat`` page (AI SDK 5 to 7); messages of every version are recognised."""

import os

from streamward import stream_text

max_duration = 300
MODEL = os.environ.get("MODEL", "demo/chat")


async def POST(request):
    body = await request.json()
    return stream_text(MODEL, messages=body["messages"]).to_ui_message_stream_response()
