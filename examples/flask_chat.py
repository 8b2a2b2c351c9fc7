"""`useChat` on Flask, without an event loop in sight: `python examples/flask_chat.py`."""

import os
from typing import Any

from flask import Flask, request

from streamward.sync import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")
app = Flask(__name__)


@app.post("/api/chat")
def chat() -> Any:
    result = stream_text(MODEL, messages=request.get_json()["messages"])
    return result.to_ui_message_stream_response().wsgi


if __name__ == "__main__":
    app.run(port=int(os.environ.get("PORT", "8000")), threaded=True)
