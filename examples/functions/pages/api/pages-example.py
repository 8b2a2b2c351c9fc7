"""The Pages Router's place: ``handler(req, res)``; each ``write`` leaves at once."""

import os

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")


async def handler(req, res):
    res.setHeader("content-type", "text/plain; charset=utf-8")
    async with stream_text(MODEL, prompt="Explain streaming in one sentence.") as result:
        async for text in result.text_stream:
            res.write(text)
    res.end()
