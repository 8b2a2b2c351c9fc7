"""One turn of a chat: the answer as it comes, from a chat endpoint or from a model behind a gateway.

An endpoint that keeps its streams is asked for the running one again when the connection is lost; it replays the
answer from its start, which then replaces what had been shown.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any, Protocol
from urllib.parse import urlsplit

from streamward.client.chat_protocol import Answer, ChatProtocol, Json, Trigger
from streamward.client.client import Client
from streamward.client.failure import answered
from streamward.client.policy import Retries, Timeouts
from streamward.client.request import Messages
from streamward.client.stream import STOP_WAIT_S, Stream
from streamward.client.transport import Http, Incoming
from streamward.errors import ErrorInfo, StreamInterrupted, StreamwardError, UpstreamError, to_exception
from streamward.events import (
    Event,
    Finish,
    ReasoningDelta,
    ReasoningEnd,
    ReasoningStart,
    TextDelta,
    TextEnd,
    TextStart,
    ToolInputDelta,
    ToolInputEnd,
    ToolInputStart,
)
from streamward.wire import json_text, ui_message
from streamward.wire.ui_request import convert_messages


class Turn(Protocol):
    """An answer being read. ``close`` may be called at any time and closes the connection at once."""

    @property
    def texts(self) -> list[str]:
        """Text that the last read brought and that was not there before."""

    @property
    def data(self) -> list[Any]: ...

    async def read(self) -> bool:
        """Take what comes next; False once the answer is complete. Raises how it failed."""

    @property
    def message(self) -> Json | None: ...

    @property
    def finish_reason(self) -> str | None: ...

    def close(self) -> None: ...


class Backend(Protocol):
    """Who answers a chat."""

    protocol: ChatProtocol

    def send(self, chat_id: str, messages: Sequence[Json], trigger: Trigger, message_id: str | None, new_id: str) -> Turn: ...

    async def resume(self, chat_id: str, last: Json | None, new_id: str) -> Turn | None:
        """The answer that runs in this chat; None when there is none."""

    async def stop(self, chat_id: str) -> None: ...

    async def aclose(self) -> None: ...


class Endpoint:
    """A chat endpoint, as ``useChat`` calls it."""

    def __init__(
        self, url: str, protocol: ChatProtocol, *, headers: Mapping[str, str], body: Mapping[str, Any], timeouts: Timeouts,
        retries: Retries, resumable: bool,
    ) -> None:  # fmt: skip
        parts = urlsplit(url)
        self.http = Http(f"{parts.scheme}://{parts.netloc}", headers=headers)
        self.path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        self.protocol = protocol
        self.own = body
        self.timeouts = timeouts
        self.retries = retries
        self.resumable = resumable

    def open(self, method: str, path: str, body: bytes | None = None) -> Incoming:
        return self.http.open(method, path, body, headers={"accept": self.protocol.accept}, timeouts=self.timeouts)

    def send(self, chat_id: str, messages: Sequence[Json], trigger: Trigger, message_id: str | None, new_id: str) -> Turn:
        body = json_text.encode_compact(self.protocol.body(chat_id, messages, trigger, message_id, self.own))
        last = messages[-1] if messages else None
        return EndpointTurn(self, chat_id, self.open("POST", self.path, body), last, new_id)

    async def resume(self, chat_id: str, last: Json | None, new_id: str) -> Turn | None:
        incoming = self.open("GET", self.protocol.resume_path(self.path, chat_id))
        try:
            status = (await incoming.head()).status
        except BaseException:
            incoming.close()
            raise
        if status in (204, 404):
            incoming.close()
            return None
        return EndpointTurn(self, chat_id, incoming, last, new_id)

    async def stop(self, chat_id: str) -> None:
        """Tell the server: on a resumable endpoint a closed connection alone stops nothing."""
        if not self.resumable:
            return
        incoming = self.open("POST", self.protocol.stop_path(self.path, chat_id), b"{}")
        try:
            async with asyncio.timeout(STOP_WAIT_S):
                await incoming.head()
        except (StreamwardError, TimeoutError):
            pass  # it has no such route, or is gone: what can be done was done
        finally:
            incoming.close()

    async def aclose(self) -> None:
        await self.http.aclose()


class EndpointTurn:
    """One answer of an endpoint, over as many connections as it takes."""

    def __init__(self, endpoint: Endpoint, chat_id: str, incoming: Incoming, last: Json | None, new_id: str) -> None:
        self.endpoint = endpoint
        self.chat_id = chat_id
        self.incoming = incoming
        self.last = last
        self.new_id = new_id
        self.answer: Answer = endpoint.protocol.answer(last, new_id)
        self.headed = False
        self.lost = 0
        self.closed = False
        self.texts: list[str] = []
        self.position = 0  # characters of text read on this connection
        self.told = 0  # and those that any connection has brought

    @property
    def data(self) -> list[Any]:
        return self.answer.data

    @property
    def message(self) -> Json | None:
        return self.answer.message

    @property
    def finish_reason(self) -> str | None:
        return self.answer.finish_reason

    async def read(self) -> bool:
        self.texts = []
        if self.stopped():
            return False
        try:
            more = await self.step()
        except StreamwardError as exc:
            if self.stopped():
                return False
            if not self.endpoint.resumable or not self.headed:
                raise self.interruption(exc.info) from exc
            await self.reconnect(exc.info)
            return True
        if self.answer.error is not None:
            self.close()
            raise UpstreamError(self.answer.error)
        return more

    async def step(self) -> bool:
        if not self.headed:
            head = await self.incoming.head()
            if head.status != 200:
                raise to_exception(answered(head.status, head.headers, await self.incoming.error_body()))
            self.headed = True
        data = await self.incoming.read()
        if data:
            self.answer.feed(data)
            self.tell()
            return True
        if self.stopped():
            return False
        self.answer.close()
        self.tell()
        if not self.answer.ended and self.answer.error is None:
            raise to_exception(CUT)
        return False

    def tell(self) -> None:
        """Keep what is new of the text: a replay repeats what was told already."""
        for text in self.answer.texts:
            begin, self.position = self.position, self.position + len(text)
            if self.position > self.told:
                self.texts.append(text[max(self.told - begin, 0) :])
                self.told = self.position

    async def reconnect(self, error: ErrorInfo) -> None:
        """Read the running answer again from its start, on a new connection."""
        self.incoming.close()
        while True:
            self.lost += 1
            pause = self.endpoint.retries.pause(self.lost, error)
            if self.lost > self.endpoint.retries.reconnects or pause is None:
                raise self.interruption(error)
            await asyncio.sleep(pause)
            if self.stopped():
                return
            try:
                turn = await self.endpoint.resume(self.chat_id, self.last, self.new_id)
            except StreamwardError as exc:
                error = exc.info
                continue
            if turn is None:
                raise self.interruption(error)
            assert isinstance(turn, EndpointTurn)
            if self.stopped():
                turn.close()
                return
            self.incoming, self.answer, self.headed = turn.incoming, turn.answer, False
            self.position = 0
            return

    def interruption(self, error: ErrorInfo) -> StreamwardError:
        message = self.answer.message
        if message is None:
            return to_exception(error)
        return StreamInterrupted(f"the answer broke off: {error.message}", partial=message, code=error.code)

    def stopped(self) -> bool:
        """Asked anew after every wait: ``close`` may have been called meanwhile."""
        return self.closed

    def close(self) -> None:
        self.closed = True
        self.incoming.close()


CUT = ErrorInfo("stream_truncated", "the stream ended without saying that it was finished", 502, safe_to_retry=True)


class Model:
    """A model behind a gateway; the chat itself lives here, in messages of the newest form."""

    def __init__(self, client: Client, model: str, *, system: str | None, dialect: str, settings: Mapping[str, Any]) -> None:
        self.client = client
        self.model = model
        self.system = system
        self.dialect = dialect
        self.settings = dict(settings)
        self.protocol = ChatProtocol("ui")

    def send(self, chat_id: str, messages: Sequence[Json], trigger: Trigger, message_id: str | None, new_id: str) -> Turn:
        asked: Messages = [*system_of(self.system), *convert_messages(list(messages)).messages]
        stream = self.client.stream(model=self.model, messages=asked, dialect=self.dialect, **self.settings)
        return ModelTurn(stream, messages[-1] if messages else None, new_id)

    async def resume(self, chat_id: str, last: Json | None, new_id: str) -> Turn | None:
        return None  # streams are continued while they are read; there is no chat on the other side to ask for

    async def stop(self, chat_id: str) -> None:
        await self.client.stops(STOP_WAIT_S)

    async def aclose(self) -> None:
        pass  # the client is the caller's


class ModelTurn:
    """One answer of a model, told to the same assembler as a UI message stream."""

    def __init__(self, stream: Stream, last: Json | None, new_id: str) -> None:
        self.stream = stream
        self.assembler = ui_message.Assembler(last, message_id=new_id)
        self.arguments: dict[str, tuple[str, list[str]]] = {}
        self.entered = False
        self.texts: list[str] = []
        self.data: list[Any] = []

    @property
    def message(self) -> Json | None:
        return self.assembler.message

    @property
    def finish_reason(self) -> str | None:
        return self.assembler.finish_reason

    async def read(self) -> bool:
        if not self.entered:
            self.entered = True
            await self.stream.__aenter__()
            self.assembler.feed({"type": "start-step"})
        events = await self.stream.read()
        self.texts = [event.delta for event in events if isinstance(event, TextDelta)]
        for event in events:
            chunk = self.chunk(event)
            if chunk is not None:
                self.assembler.feed(chunk)
        return bool(events)

    def chunk(self, event: Event) -> Json | None:
        """The event as a chunk of the UI message stream; None for what a chat does not show."""
        if isinstance(event, (TextDelta, ReasoningDelta)):
            return {"type": TAGS[type(event)], "id": event.id, "delta": event.delta}
        if isinstance(event, (TextStart, TextEnd, ReasoningStart, ReasoningEnd)):
            return {"type": TAGS[type(event)], "id": event.id}
        if isinstance(event, ToolInputStart):
            self.arguments[event.id] = (event.name, [])
            return {"type": "tool-input-start", "toolCallId": event.id, "toolName": event.name}
        if isinstance(event, ToolInputDelta):
            self.arguments[event.id][1].append(event.delta)
            return {"type": "tool-input-delta", "toolCallId": event.id, "inputTextDelta": event.delta}
        if isinstance(event, ToolInputEnd):
            return self.tool_input(event.id)
        if isinstance(event, Finish):
            return {"type": "finish", "finishReason": event.reason}
        return None

    def tool_input(self, call_id: str) -> Json:
        name, pieces = self.arguments.pop(call_id)
        text = "".join(pieces)
        fields = {"toolCallId": call_id, "toolName": name}
        try:
            return {"type": "tool-input-available", **fields, "input": json.loads(text or "{}")}
        except (ValueError, RecursionError):
            return {"type": "tool-input-error", **fields, "input": text, "errorText": "the arguments are not JSON"}

    def close(self) -> None:
        self.stream.close()


TAGS: dict[type[Any], str] = {
    kind: str(kind.__struct_config__.tag)
    for kind in (TextStart, TextDelta, TextEnd, ReasoningStart, ReasoningDelta, ReasoningEnd)
}


def system_of(text: str | None) -> list[Any]:
    return [{"role": "system", "content": text}] if text else []
