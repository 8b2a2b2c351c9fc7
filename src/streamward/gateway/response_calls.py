"""Calls of ``/v1/responses``: what they refer to is looked up, what they answer is stored, some run in the background.

A plain call is relayed as any other and stored after its last byte. With ``background`` the call is always streamed
inside and recorded as a durable stream under the response's id, so that it can be polled, followed, resumed and
cancelled from any worker.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from streamward.call import Call
from streamward.dataplane.exchange import Request, Sink
from streamward.durable import START, StreamState
from streamward.errors import ErrorInfo, StreamwardError
from streamward.events import Abort, Error
from streamward.gateway.auth import Caller
from streamward.gateway.compaction import expand_compactions
from streamward.gateway.durable_calls import KeptCall, wants_durable
from streamward.gateway.exchange import JSON_FIELDS, STOPPED
from streamward.gateway.stream_frames import StreamMeta
from streamward.reply import Reply
from streamward.wire import json_text
from streamward.wire.relay import Transcode, stop_relay
from streamward.wire.responses import Encoder, stored
from streamward.wire.responses.items import Item
from streamward.wire.responses.request import parse_request

if TYPE_CHECKING:
    from collections.abc import Callable

    from streamward.gateway.app import Gateway


class ResponseCall(KeptCall):
    """One ``POST /v1/responses``, or one ``response.create`` of a WebSocket."""

    __slots__ = ("answered", "background", "durable", "history", "memory", "on_response", "store", "streamed")

    def let_go(self) -> None:
        """The request is stored with its response: nothing is freed."""

    def __init__(self, gateway: Gateway, request: Request, sink: Sink, dialect: str, caller: Caller, cors: bytes) -> None:
        super().__init__(gateway, request, sink, dialect, caller, cors)
        self.durable = wants_durable(request, gateway.config)
        self.background = False
        self.streamed = False
        """The caller asked for a stream; a background call is one inside, whatever was asked."""
        self.store = True
        self.history: list[Item] | None = None
        self.memory: dict[str, list[Item]] = {}
        """Conversations that only this connection knows, by the id of their last response."""
        self.answered: dict[str, Any] | None = None
        self.on_response: Callable[[dict[str, Any], list[Item]], None] | None = None
        """Told the final object and the conversation up to and with it."""

    # -- the request

    def must_wait(self, body: dict[str, Any]) -> bool:
        if self.durable or body.get("background") is True or body.get("previous_response_id") is not None:
            return True
        items = body.get("input")
        return isinstance(items, list) and any(
            isinstance(item, dict) and (item.get("type") in LOOKED_UP or stored.is_reference(item)) for item in items
        )

    async def resolved(self, body: dict[str, Any]) -> dict[str, Any]:
        responses, tenant = self.gateway.responses, self.caller.name
        previous = body.get("previous_response_id")
        if isinstance(previous, str):
            remembered = self.memory.get(previous)
            self.history = remembered if remembered is not None else await responses.history(previous, tenant)
            self.history = expand_compactions(self.history)
        items = body.get("input")
        if isinstance(items, list):
            body = {**body, "input": expand_compactions(await responses.with_references(items, tenant))}
        return body

    def parse(self, body: dict[str, Any]) -> Call:
        call = parse_request(body, history=self.history)
        self.streamed = call.stream
        self.store = body.get("store") is not False
        self.background = body.get("background") is True
        return replace(call, stream=True) if self.background else call

    def options(self) -> dict[str, Any]:
        options = {**super().options(), "now": time.time, "store": self.store}
        return {**options, "queued": True} if self.background else options

    def is_recorded(self) -> bool:
        return self.background or (self.durable and super().is_recorded())

    def outlives_client(self) -> bool:
        return self.background

    def meta(self, body_hash: str) -> StreamMeta:
        context = self.context()
        base = stored.queued(context) if self.background else stored.in_progress(context)
        return StreamMeta(
            self.is_stream, body_hash, self.record.id, self.record.model, str(context.options["responses_done"]), base
        )

    # -- the answer

    async def answer_from(self, state: StreamState, after: int = START) -> None:
        if not self.background:
            await super().answer_from(state, after)
            return
        self.stream_id = state.id
        if not self.replayed:
            queued = stored.queued(self.context())
            row = self.gateway.responses.record(queued, self.given(), self.caller.name, background=True)
            try:
                await self.gateway.responses.keep_now(row)
            except StreamwardError as exc:  # it could never be asked for: the caller hears of it, nothing is billed
                self.gateway.answer_error(self.client, exc.info, self.module.render_error(exc.info), self.fields(JSON_FIELDS))
                self.gone, self.background = True, False
                return
            response = row.response
        else:
            response = (await self.gateway.responses.view(state.id, self.caller.name)).response
        if self.streamed:
            await super().answer_from(state, after)
            return
        raw = json_text.encode(response)
        if not self.gone:
            self.client.start(200, self.fields(JSON_FIELDS), length=len(raw))
            self.client.finish(raw)
        if self.replayed:
            self.record.status = 200
            self.record.bytes_out = len(raw)
            self.close("finished")

    def render_answer(self, reply: Reply) -> dict[str, Any]:
        self.answered = super().render_answer(reply)
        return self.answered

    def refusal_frames(self, error: ErrorInfo) -> list[bytes]:
        """A background call that failed before its first token fails as a stream: its POST was answered long ago."""
        if not self.background:
            return []
        encoder = Encoder(self.context())
        frames = encoder.feed(Abort(error.message) if error.code == STOPPED.code else Error(error))
        self.answered = encoder.response
        return frames

    # -- the end

    def close(self, ending: Any) -> None:
        if not self.over and not self.replayed:
            response = self.final()
            if response is not None:
                self.keep(response)
        super().close(ending)

    def final(self) -> dict[str, Any] | None:
        """The response object as it is in the end; None when nothing was shown."""
        if self.answered is not None:
            return self.answered
        relay = self.relay
        if not self.committed or not isinstance(relay, Transcode) or not isinstance(relay.encoder, Encoder):
            return None
        stop_relay(relay, STOPPED)  # the client left in the middle: what it has seen is what there is
        return relay.encoder.response

    def keep(self, response: dict[str, Any]) -> None:
        given = self.given()
        if self.store:
            responses = self.gateway.responses
            responses.keep(responses.record(response, given, self.caller.name, background=self.background))
        if self.on_response is not None:
            self.on_response(response, [*(self.history or ()), *given, *response.get("output", ())])

    def given(self) -> list[Item]:
        """The input items as they are stored."""
        return stored.input_items(self.asked, self.context().id)


LOOKED_UP = frozenset({"item_reference", "compaction"})
