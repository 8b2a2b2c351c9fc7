"""What a chat endpoint is sent and what it answers, by protocol: pure, like everything it stands on.

``ui`` is the UI message stream of AI SDK 5 to 7, ``data`` the data stream of AI SDK 4, ``text`` plain text.
"""

from __future__ import annotations

import codecs
import copy
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import quote

import msgspec

from streamward.wire import data_stream, json_text, sse, ui_message

Json: TypeAlias = dict[str, Any]
ProtocolName: TypeAlias = Literal["ui", "data", "text"]
Trigger: TypeAlias = Literal["submit-message", "regenerate-message"]



class Answer(Protocol):
    """The assistant's message in the making, from the bytes of one response."""

    texts: list[str]
    """Text that came with the last read."""
    data: list[Any]
    """The application's own data that came with the last read."""

    def feed(self, item: bytes, /) -> None: ...

    def close(self) -> None: ...

    @property
    def message(self) -> Json | None:
        """A copy of the message so far; None before there is anything to show."""

    @property
    def ended(self) -> bool:
        """The stream has said that it is over."""

    @property
    def error(self) -> str | None:
        """What the server reported, or why the stream cannot be read."""

    @property
    def finish_reason(self) -> str | None: ...


class UiAnswer:
    """Reads the UI message stream."""

    def __init__(self, message: Json | None, message_id: str, version: ui_message.Number) -> None:
        self.reader = sse.Reader(flush_at_end=True)
        self.assembler = ui_message.Assembler(message, version=version, message_id=message_id)
        self.texts: list[str] = []
        self.data: list[Any] = []

    def feed(self, item: bytes) -> None:
        self.texts, self.data = [], []
        self.take(self.reader.feed(item))

    def close(self) -> None:
        self.texts, self.data = [], []
        self.take(self.reader.close())

    def take(self, frames: list[sse.Frame]) -> None:
        for frame in frames:
            if not frame.data or frame.data == sse.DONE:
                continue
            try:
                chunk = json_text.decode_answer(frame.data)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                self.assembler.feed_data(frame.data)  # it has the words for what is wrong
                continue
            self.assembler.feed(chunk)
            kind = chunk.get("type") if isinstance(chunk, dict) else None
            if kind == "text-delta" and isinstance(chunk.get("delta"), str):
                self.texts.append(chunk["delta"])
            elif isinstance(kind, str) and kind.startswith("data-"):
                self.data.append(chunk)

    @property
    def message(self) -> Json | None:
        return self.assembler.message

    @property
    def ended(self) -> bool:
        return self.assembler.ended

    @property
    def error(self) -> str | None:
        return self.assembler.error or (self.reader.error.message if self.reader.error is not None else None)

    @property
    def finish_reason(self) -> str | None:
        return self.assembler.finish_reason


class DataAnswer:
    """Reads the data stream."""

    def __init__(self, message: Json | None, message_id: str) -> None:
        self.lines = data_stream.Lines()
        self.assembler = data_stream.Assembler(message, message_id=message_id)
        self.texts: list[str] = []
        self.data: list[Any] = []

    def feed(self, item: bytes) -> None:
        self.take(self.lines.feed(item))

    def close(self) -> None:
        self.take(self.lines.close())

    def take(self, lines: list[str]) -> None:
        self.texts, self.data = [], []
        for line in lines:
            try:
                part = data_stream.parse_part(line)
            except data_stream.PartError:
                self.assembler.feed_line(line)  # keeps what is wrong as its error
                return
            self.assembler.feed(part)
            if part.type == "text":
                self.texts.append(part.value)
            elif part.type == "data":
                self.data.extend(part.value)

    @property
    def message(self) -> Json | None:
        return self.assembler.message

    @property
    def ended(self) -> bool:
        return self.assembler.finished

    @property
    def error(self) -> str | None:
        return self.assembler.error or ("a line of the stream is too long" if self.lines.too_long else None)

    @property
    def finish_reason(self) -> str | None:
        return self.assembler.finish_reason if self.assembler.finished else None


class TextAnswer:
    """Reads plain text: its end is the end of the body, which a server that fails breaks off."""

    def __init__(self, message_id: str) -> None:
        self.message_id = message_id
        self.decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self.pieces: list[str] = []
        self.texts: list[str] = []
        self.data: list[Any] = []
        self.ended = False
        self.error: str | None = None
        self.finish_reason: str | None = None

    def feed(self, item: bytes) -> None:
        text = self.decoder.decode(item)
        self.texts = [text] if text else []
        self.pieces.extend(self.texts)

    def close(self) -> None:
        text = self.decoder.decode(b"", final=True)
        self.texts = [text] if text else []
        self.pieces.extend(self.texts)
        self.ended = True

    @property
    def message(self) -> Json | None:
        if not self.pieces:
            return None
        self.pieces[:] = ["".join(self.pieces)]
        return {"id": self.message_id, "role": "assistant", "parts": [{"type": "text", "text": self.pieces[0]}]}


class ChatProtocol:
    """One endpoint's protocol: the request bodies, the paths, the reader of answers."""

    def __init__(self, name: ProtocolName, *, version: ui_message.Number = 7) -> None:
        self.name = name
        self.version = version

    @property
    def accept(self) -> str:
        return "text/event-stream" if self.name == "ui" else "text/plain, */*"

    def user_message(self, message_id: str, text: str) -> Json:
        parts = [{"type": "text", "text": text}]
        if self.name == "data":
            return {"id": message_id, "role": "user", "content": text, "parts": parts}
        return {"id": message_id, "role": "user", "parts": parts}

    def body(
        self, chat_id: str, messages: Sequence[Json], trigger: Trigger, message_id: str | None, own: Mapping[str, Any]
    ) -> Json:
        """What ``useChat`` posts; *own* are the application's fields beside it."""
        if self.name == "data":
            return {"id": chat_id, "messages": list(messages), **own}
        body = {**own, "id": chat_id, "messages": list(messages), "trigger": trigger}
        return body if message_id is None else {**body, "messageId": message_id}

    def resume_path(self, path: str, chat_id: str) -> str:
        """Where the stream that runs in a chat is read from."""
        if self.name == "data":
            return f"{path}{'&' if '?' in path else '?'}chatId={quote(chat_id, safe='')}"
        return below(path, chat_id, "stream")

    def stop_path(self, path: str, chat_id: str) -> str:
        return below(path, chat_id, "stop")

    def answer(self, message: Json | None, message_id: str) -> Answer:
        """A reader; *message* is the last one of the chat, which an answer may continue."""
        if self.name == "ui":
            return UiAnswer(message, message_id, self.version)
        if self.name == "data":
            return DataAnswer(message, message_id)
        return TextAnswer(message_id)


def below(path: str, chat_id: str, last: str) -> str:
    base, mark, query = path.partition("?")
    return f"{base.rstrip('/')}/{quote(chat_id, safe='')}/{last}{mark}{query}"


def with_tool_output(message: Json, tool_call_id: str, change: Mapping[str, Any]) -> Json | None:
    """A copy of *message* whose call has its output; None when it holds no such call. Both generations' forms."""
    result = copy.deepcopy(message)
    found = False
    for part in result.get("parts", ()):
        if part.get("toolCallId") == tool_call_id:
            failed = "error" in change
            part["state"] = "output-error" if failed else "output-available"
            part["errorText" if failed else "output"] = change["error"] if failed else change["output"]
            found = True
        elif part.get("type") == "tool-invocation" and part["toolInvocation"].get("toolCallId") == tool_call_id:
            part["toolInvocation"] |= {"state": "result", "result": change.get("output", change.get("error"))}
            found = True
    for invocation in result.get("toolInvocations", ()):
        if invocation.get("toolCallId") == tool_call_id:
            invocation |= {"state": "result", "result": change.get("output", change.get("error"))}
            found = True
    return result if found else None


def with_approval(message: Json, approval_id: str, approved: bool, reason: str | None) -> Json | None:
    """A copy of *message* whose approval request is answered; None when it holds no such request."""
    result = copy.deepcopy(message)
    for part in result.get("parts", ()):
        approval = part.get("approval")
        if isinstance(approval, dict) and approval.get("id") == approval_id:
            part["state"] = "approval-responded"
            approval["approved"] = approved
            if reason is not None:
                approval["reason"] = reason
            return result
    return None
