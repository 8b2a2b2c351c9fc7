"""The back end of a ``useCompletion`` page."""

import os

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")


async def POST(request):
    body = await request.json()
    return stream_text(MODEL, prompt=body["prompt"]).to_ui_message_stream_response()
