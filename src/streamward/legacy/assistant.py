"""``AssistantResponse``: what ``useAssistant`` reads (AI SDK 2 to 4)."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from streamward.engine.response import StreamResponse
from streamward.engine.writer import WriterBody
from streamward.legacy.providers import field, string
from streamward.legacy.response import UNBUFFERED
from streamward.legacy.sources import END, Source
from streamward.wire.legacy import CONTENT_TYPE, KEEP_ALIVE, format_line
from streamward.wire.masking import MASKED

LAST_EVENTS = ("thread.run.completed", "thread.run.requires_action")


class AssistantWriter:
    """What the application's function gets."""

    def __init__(self, thread_id: str, message_id: str) -> None:
        self.thread_id = self.threadId = thread_id
        self.message_id = self.messageId = message_id
        self.body: WriterBody

    def send_message(self, message: Mapping[str, Any]) -> None:
        self.body.put(format_line("assistant_message", dict(message)))

    def send_data_message(self, message: Mapping[str, Any]) -> None:
        self.body.put(format_line("data_message", dict(message)))

    async def forward_stream(self, stream: Any) -> Any:
        """Forward the text of an Assistants API stream; returns the run when it completed or needs an action."""
        source, last = Source(stream), None
        try:
            while (item := await source.read()) is not END:
                kind, data = field(item, "event"), field(item, "data")
                if kind == "thread.message.created":
                    self.send_message({
                        "id": field(data, "id"), "role": "assistant", "content": [{"type": "text", "text": {"value": ""}}],
                    })  # fmt: skip
                elif kind == "thread.message.delta":
                    text = string(field(data, "delta", "content", 0, "text", "value"))
                    if text is not None:
                        self.body.put(format_line("text", text))
                elif kind in LAST_EVENTS:
                    last = data
        finally:
            await source.aclose()
        return last

    sendMessage, sendDataMessage, forwardStream = send_message, send_data_message, forward_stream  # noqa: N815


def AssistantResponse(  # noqa: N802 - the AI SDK's name
    settings: Mapping[str, str], process: Callable[[AssistantWriter], Any], *,
    on_error: Callable[[Exception], str] | None = None,
) -> StreamResponse:  # fmt: skip
    """A response that *process* writes; *settings* has ``thread_id`` and ``message_id`` (or JavaScript's spelling).

    What *process* raises is shown as "An error occurred." unless *on_error* makes another text of it.
    """
    thread_id = settings.get("thread_id") or settings.get("threadId") or ""
    message_id = settings.get("message_id") or settings.get("messageId") or ""
    writer = AssistantWriter(thread_id, message_id)

    async def work() -> None:
        writer.body.put(format_line("assistant_control_data", {"threadId": thread_id, "messageId": message_id}))
        result = process(writer)
        if inspect.isawaitable(result):
            await result

    def failed(exc: Exception) -> bytes:
        return format_line("error", MASKED if on_error is None else on_error(exc))

    writer.body = WriterBody(work, failed, b"")
    return StreamResponse(writer.body, headers={"content-type": CONTENT_TYPE, **UNBUFFERED}, keep_alive=KEEP_ALIVE)


experimental_AssistantResponse = AssistantResponse  # noqa: N816
