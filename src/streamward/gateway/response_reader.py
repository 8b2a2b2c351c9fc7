"""``GET /v1/responses/{id}?stream=true``: a response as a stream, live or replayed, from any event on.

Durable ones (in the background, resumable, or with an idempotency key) are read from their stream: the very bytes, and
what still comes. Of others only the object is stored; from it the events are made anew, and only from the beginning:
a cursor into the first stream would mean other events.
"""

from __future__ import annotations

from typing import Any

from streamward.durable import START
from streamward.errors import Conflict, ErrorInfo, InvalidRequest, NotFound, StreamwardError
from streamward.gateway.exchange import STREAM_FIELDS
from streamward.gateway.stream_reader import StreamExchange
from streamward.reply import replay
from streamward.wire.dialect import Context, Profile, frames_of
from streamward.wire.responses import Encoder, errors, parse_reply, snapshot
from streamward.wire.responses.items import Item


class ResponseReader(StreamExchange):
    """The exchange; takes any state of a response."""

    __slots__ = ()

    async def open(self) -> None:
        try:
            row = await self.gateway.responses.view(self.stream_id, self.caller.name)
        except NotFound:
            await self.open_stream()  # not stored (store=false, or still under way), but perhaps durable
            return
        except StreamwardError as exc:
            self.refuse(exc.info)
            return
        try:
            state = await self.gateway.durable.streams.lookup(self.stream_id, self.caller.name)
            await self.delivery.open(state, self.after)
        except NotFound:
            self.replay(row.response)
        except StreamwardError as exc:
            self.refuse(exc.info)

    async def open_stream(self) -> None:
        try:
            state = await self.gateway.durable.streams.lookup(self.stream_id, self.caller.name)
            if state.dialect != "responses":
                raise Conflict("this is the id of a stream in another dialect; read it at /v1/streams/{id}")
            await self.delivery.open(state, self.after)
        except NotFound:
            self.refuse(unknown(self.stream_id).info)
        except StreamwardError as exc:
            self.refuse(exc.info)

    def replay(self, response: dict[str, Any]) -> None:
        if self.after != START:
            self.refuse(InvalidRequest(
                "this response cannot be resumed: its events are not kept (it was not created with background=true or "
                "x-streamward-resumable: 1, or too long ago); leave starting_after out for a replay from the beginning",
                param="starting_after",
            ).info)  # fmt: skip
            return
        data = b"".join(replayed(response, self.gateway.config.server.responses_done))
        self.delivery.status = 200
        self.delivery.bytes_out = len(data)
        self.sink.start(200, self.fields(STREAM_FIELDS), by_frame=True)
        self.sink.finish(data)
        self.delivered("")


def unknown(response_id: str) -> NotFound:
    return NotFound(f"there is no response {response_id[:64]!r}: it was not stored, was deleted, or is not yours")


def replayed(response: dict[str, Any], done: str = "cr") -> list[bytes]:
    """The event sequence of a stored *response*, with its own ids and times; its last snapshot is *response* itself."""
    reply = parse_reply({**response, "status": "completed", "error": None}, Profile())
    context = Context(
        id=response["id"], model=str(response.get("model", "")), created=int(response.get("created_at") or 0),
        options={"responses_done": done},
    )  # fmt: skip
    encoder = Replay(context, response)
    return [frames_of(encoder, replay(reply))]


class Replay(Encoder):
    """An encoder whose response is known from the start: it begins as that one began, and ends as that one ended."""

    def __init__(self, context: Context, response: dict[str, Any]) -> None:
        super().__init__(context)
        self.final = response
        self.response = {
            **snapshot.base(context), **response, "status": "in_progress", "output": [], "usage": None, "completed_at": None,
            "error": None, "incomplete_details": None,
        }  # fmt: skip

    def terminate(self, kind: str, fields: dict[str, Any], usage: Any) -> None:
        status = self.final.get("status")
        if status == "failed":
            error = self.final.get("error") or {}
            info = ErrorInfo(str(error.get("code")), str(error.get("message")), 502)
            self.emit("error", errors.stream_error(info))
        kind = {"completed": "response.completed", "failed": "response.failed"}.get(str(status), "response.incomplete")
        super().terminate(kind, {}, usage)

    def finish_item(self, index: int, item: Item) -> None:
        output = self.final.get("output") or []
        if index < len(output) and output[index].get("id") == item.get("id"):
            item = output[index]  # as it ended: cut off, perhaps
        super().finish_item(index, item)

    def emit(self, kind: str, fields: dict[str, Any]) -> None:
        if kind in TERMINAL:
            fields = {"response": self.final}
        super().emit(kind, fields)


TERMINAL = frozenset({"response.completed", "response.failed", "response.incomplete"})
