"""Routes of durable streams: follow or resume one, and stop it.

``GET /v1/streams/{id}`` is the data plane's (it streams); ``POST /v1/streams/{id}/stop`` is an ordinary route, and so is
``POST /v1/streams/stop`` for a call that is known by its ``Idempotency-Key`` alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from streamward.dataplane.exchange import Exchange, Request, Sink
from streamward.durable import START, Offset, StreamState, parse_cursor, parse_last_event_id
from streamward.errors import ErrorInfo, InvalidRequest, NotFound, StreamwardError
from streamward.gateway.auth import Caller
from streamward.gateway.durable_calls import checked_key, name_of_key
from streamward.gateway.response_reader import ResponseReader
from streamward.gateway.stream_frames import meta_of, result_of
from streamward.gateway.stream_reader import StreamExchange
from streamward.wire.retell import TOLD
from streamward.wire.table import dialect as dialect_module

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway

STREAMS = "/v1/streams"
RESPONSES = "/v1/responses"


def reads_stream(request: Request) -> bool:
    """Whether *request* is for ``open_reader``."""
    folder, _, stream_id = request.path.rpartition("/")
    if request.method != "GET" or not stream_id:
        return False
    return folder == STREAMS or (folder == RESPONSES and query_of(request, "stream") == "true")


def open_reader(gateway: Gateway, request: Request, sink: Sink, cors: bytes, caller: Caller | ErrorInfo) -> Exchange:
    """The exchange of a request that reads a stream; an error instead of a caller is its answer."""
    folder, _, stream_id = request.path.rpartition("/")
    exchange: StreamExchange
    if folder == STREAMS:
        exchange = StreamExchange(gateway, f"{STREAMS}/{{id}}", sink, stream_id, START, cors=cors)
        exchange.opening = query_of(request, "after") is not None or b"last-event-id" not in request.headers
        read_cursor = cursor
    else:
        exchange = ResponseReader(gateway, f"{RESPONSES}/{{id}}", sink, stream_id, START, dialect="responses", cors=cors)
        read_cursor = sequence_cursor
    if isinstance(caller, ErrorInfo):
        exchange.refuse(caller)
        return exchange
    exchange.caller = caller
    try:
        exchange.after = read_cursor(request, stream_id)
        exchange.wanted = wanted_dialect(request) if folder == STREAMS else None
    except StreamwardError as exc:
        exchange.refuse(exc.info)
    return exchange


def cursor(request: Request, stream_id: str) -> Offset:
    """Where the reader wants to go on: ``after``, else ``Last-Event-ID`` (a number, or ``{id}:{number}``).

    Raises:
        InvalidRequest: not a cursor, or one of another stream.
    """
    given = query_of(request, "after")
    if given is not None:
        return parse_cursor(given)
    text = request.headers.get(b"last-event-id", b"").decode("latin-1").strip()
    if not text:
        return START
    if ":" not in text:
        return parse_cursor(text, param="Last-Event-ID")
    named, after = parse_last_event_id(text)
    if named != stream_id:
        raise InvalidRequest("Last-Event-ID names another stream than the address does", param="Last-Event-ID")
    return after


def wanted_dialect(request: Request) -> str | None:
    """The dialect the reader asks for with ``?dialect=``. Raises InvalidRequest for one that no stream is told in."""
    given = query_of(request, "dialect")
    if given is not None and given not in TOLD:
        raise InvalidRequest(f"dialect: expected one of {', '.join(TOLD)}, not {given[:40]!r}", param="dialect")
    return given


def sequence_cursor(request: Request, stream_id: str) -> Offset:
    """``starting_after`` of a Responses stream: a sequence number, which is the offset. Raises InvalidRequest."""
    given = query_of(request, "starting_after")
    return cursor(request, stream_id) if given is None else parse_cursor(given, param="starting_after")


def query_of(request: Request, name: str) -> str | None:
    values = parse_qs(request.query.decode("latin-1"), keep_blank_values=True).get(name)
    return values[-1] if values else None


def stream_routes(gateway: Gateway) -> list[BaseRoute]:
    """The routes that do not stream, bound to *gateway*."""

    async def stop(request: HttpRequest) -> Response:
        dialect = "chat_completions"
        try:
            caller = await gateway.authenticated(request.headers)
            state = await gateway.durable.streams.lookup(request.path_params["stream_id"], caller.name)
            dialect = state.dialect
            state = await gateway.durable.streams.stop(state.id) or state
        except StreamwardError as exc:
            return JSONResponse(dialect_module(dialect).render_error(exc.info), exc.info.status)
        return JSONResponse(stream_object(state), headers={"cache-control": "no-store"})

    async def stop_by_key(request: HttpRequest) -> Response:
        """Of a call whose client never learned its stream's id, at whatever worker makes it."""
        dialect = "chat_completions"
        try:
            caller = await gateway.authenticated(request.headers)
            key = checked_key(request.headers.get("idempotency-key", "").encode("latin-1")) or ""
            live = await gateway.durable.streams.active(caller.name, name_of_key(key))
            state = await gateway.durable.streams.stop(live.id) if live is not None else None
            if state is None:
                raise NotFound("no call with this Idempotency-Key is under way")
            dialect = state.dialect
        except StreamwardError as exc:
            return JSONResponse(dialect_module(dialect).render_error(exc.info), exc.info.status)
        return JSONResponse(stream_object(state), headers={"cache-control": "no-store"})

    return [
        Route("/v1/streams/stop", stop_by_key, methods=["POST"]),
        Route("/v1/streams/{stream_id}/stop", stop, methods=["POST"]),
    ]


def stream_object(state: StreamState) -> dict[str, Any]:
    """A stream as ``stop`` answers it: how it ended and what it cost."""
    meta, result = meta_of(state), result_of(state)
    usage = {
        "input_tokens": result.input_tokens, "output_tokens": result.output_tokens, "grade": result.grade,
    }  # fmt: skip
    return {
        "id": state.id, "object": "stream", "created": int(state.created), "model": meta.model,
        "status": state.ending or "live", "last_offset": state.next - 1, "finish_reason": result.finish_reason or None,
        "usage": None if state.live else usage,
    }  # fmt: skip
