"""`useChat` on Django's async views, in one file: `python examples/django_chat.py`."""

import json
import os

import uvicorn
from django.conf import settings
from django.core.asgi import get_asgi_application
from django.http import HttpRequest, StreamingHttpResponse
from django.urls import path

from streamward import stream_text

MODEL = os.environ.get("MODEL", "demo/chat")


async def chat(request: HttpRequest) -> StreamingHttpResponse:
    body = json.loads(request.body)
    response = stream_text(MODEL, messages=body["messages"]).to_ui_message_stream_response()
    headers = {name: value for name, value in response.headers.items() if name != "connection"}  # the server's business
    return StreamingHttpResponse(response.body_iterator, headers=headers)


urlpatterns = [path("api/chat", chat)]
settings.configure(ROOT_URLCONF=__name__, ALLOWED_HOSTS=["*"], SECRET_KEY="only-an-example")
app = get_asgi_application()

if __name__ == "__main__":
    uvicorn.run(app, port=int(os.environ.get("PORT", "8000")), lifespan="off", log_level="warning")
