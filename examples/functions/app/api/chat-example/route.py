"""The App Router's place: one file per route, a function for each method."""

import os

from streamward import stream_text

max_duration = 60
MODEL = os.environ.get("MODEL", "demo/chat")


async def GET(request):
    result = stream_text(MODEL, prompt="Explain streaming in one sentence.")
    return result.to_text_stream_response(headers={"content-type": "text/event-stream"})
