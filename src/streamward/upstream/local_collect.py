"""A whole answer from an engine that is asked for a stream.

The engine notices once per second that the reader of a whole answer has gone, and at the next token that the reader of
a stream has (``docs/explain/tiny-model.md``). So it is always asked for a stream; who wanted a whole answer gets what
that stream adds up to.
"""

from __future__ import annotations

from typing import Any

from streamward.dataplane.client import AnswerHead, Receiver
from streamward.errors import ErrorInfo
from streamward.reply import Collector
from streamward.wire import json_text
from streamward.wire.dialect import Context, Profile
from streamward.wire.table import decoded
from streamward.wire.table import dialect as dialect_module

DIALECT = "chat_completions"
HEAD = AnswerHead(200, {"content-type": "application/json"})


def as_stream(body: bytes) -> bytes | None:
    """*body*, a request for a whole answer, as one for a stream that ends with usage.

    None when it cannot be one: no JSON object (the engine shall say so), or several choices, which one stream of events
    does not hold.
    """
    try:
        asked: Any = json_text.decode_any(body)
    except (ValueError, RecursionError):
        return None
    if not isinstance(asked, dict) or asked.get("n") not in (None, 1):
        return None
    return json_text.encode_compact(asked | {"stream": True, "stream_options": {"include_usage": True}})


class Collected:
    """A receiver of a stream that hands *receiver* one ``chat.completion``, at the end or never."""

    def __init__(self, receiver: Receiver, profile: Profile) -> None:
        self.receiver = receiver
        self.stage = decoded(DIALECT, profile)
        self.collector = Collector()
        self.refused = False

    def head_received(self, head: AnswerHead, /) -> None:
        self.refused = head.status != 200
        if self.refused:  # an error is a whole answer as it is
            self.receiver.head_received(head)

    def data_received(self, data: bytes, /) -> None:
        if self.refused:
            self.receiver.data_received(data)
            return
        for event in self.stage.feed(data):
            self.collector.feed(event)

    def ended(self) -> None:
        if self.refused:
            self.receiver.ended()
            return
        for event in self.stage.close():
            self.collector.feed(event)
        reply = self.collector.reply()
        if reply.error is not None:
            self.receiver.failed(reply.error)
            return
        context = Context(id=reply.id, model=reply.model, created=reply.created or 0)
        self.receiver.head_received(HEAD)
        self.receiver.data_received(json_text.encode_compact(dialect_module(DIALECT).render_reply(reply, context)))
        self.receiver.ended()

    def failed(self, error: ErrorInfo, /) -> None:
        self.receiver.failed(error)
