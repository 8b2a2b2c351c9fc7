"""The plain place: the file's path is the URL."""

import os

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")


async def GET(request):
    return stream_text(MODEL, prompt="Explain streaming in one sentence.").to_text_stream_response()
