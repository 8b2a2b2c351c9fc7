"""Function and tool calls inside an answer: collected, handed to the application, answered.

``OpenAIStream`` turns calls into JSON text in pieces; an answer that begins with such text is held back here.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import msgspec

from streamward.errors import UpstreamInvalid
from streamward.legacy.callbacks import Callbacks, tell
from streamward.wire import json_text
from streamward.wire.js_json import encode

OPENINGS = ('{"function_call":', '{"tool_calls":')
log = logging.getLogger("streamward.legacy")



class CallBuffer:
    """The calls of one completion. ``messages`` are those that the handler had made for the next request."""

    def __init__(self, callbacks: Callbacks, messages: list[dict[str, Any]]) -> None:
        self.callbacks = callbacks
        self.before = messages
        self.messages = list(messages)
        self.pieces: list[str] = []
        self.answered = 0

    def take(self, text: str) -> bool:
        """Keep *text* when it belongs to a call."""
        if not self.pieces and not text.startswith(OPENINGS):
            return False
        self.pieces.append(text)
        return True

    @property
    def text(self) -> str:
        return "".join(self.pieces)

    @property
    def payload(self) -> dict[str, Any]:
        try:
            value = json_text.decode_answer(self.text.encode("utf-8", "replace"))
        except msgspec.DecodeError as exc:
            raise UpstreamInvalid(f"the model's call is not complete: {exc}") from None
        return value if isinstance(value, dict) else {}

    async def answer(self) -> Any:
        """What the application's handler returned: a stream or response, a text, or None."""
        if not self.pieces:
            return None
        payload, callbacks = self.payload, self.callbacks
        answer = None
        call = payload.get("function_call")
        if callbacks.experimental_on_function_call is not None and call is not None:
            given = {"name": call["name"], "arguments": arguments(call)}
            answer = await tell(callbacks.experimental_on_function_call, given, self.function_messages)
        calls = payload.get("tool_calls")
        if callbacks.experimental_on_tool_call is not None and calls is not None:
            tools = [tool(c["id"], c["function"]) for c in calls]
            try:
                answer = await tell(callbacks.experimental_on_tool_call, {"tools": tools}, self.tool_messages)
            except Exception:
                # As in the AI SDK: the browser is asked instead.
                log.exception("tool_call_handler_failed")
        return answer or None

    def function_messages(self, result: Any) -> list[dict[str, Any]]:
        """``create_function_call_messages``: the messages that tell the model of *result*."""
        call = self.payload["function_call"]
        self.messages = [
            *self.before,
            {"role": "assistant", "content": "", "function_call": call},
            {"role": "function", "name": call["name"], "content": encode(result).decode()},
        ]
        return self.messages

    def tool_messages(self, result: dict[str, Any] | None = None) -> list[dict[str, Any]]:
        """``append_tool_call_message``: called for each result (``tool_call_id``, ``function_name``,
        ``tool_call_result``); returns all messages so far."""
        if not result:
            return self.messages
        if self.answered == 0:
            self.messages = [*self.messages, {"role": "assistant", "content": "", "tool_calls": self.payload["tool_calls"]}]
        self.answered += 1
        self.messages = [*self.messages, {
            "role": "tool", "tool_call_id": result.get("tool_call_id"), "name": result.get("function_name"),
            "content": encode(result.get("tool_call_result")).decode(),
        }]  # fmt: skip
        return self.messages


def tool(call_id: str, function: dict[str, Any]) -> dict[str, Any]:
    """One call as the handler gets it."""
    return {"id": call_id, "type": "function", "func": {"name": function["name"], "arguments": arguments(function)}}


def arguments(call: dict[str, Any]) -> Any:
    try:
        return json.loads(call["arguments"] or "{}")
    except ValueError as exc:
        raise UpstreamInvalid(f"the arguments of {call['name']!r} are not JSON: {exc}") from None
