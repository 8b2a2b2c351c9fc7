"""Routes of stored responses that do not stream, and what is counted or compacted without storing anything.

``GET`` with ``stream=true`` is the data plane's (``response_reader``), as is ``POST /v1/responses`` itself.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.websockets import WebSocket

from streamward.errors import ErrorInfo, InvalidRequest, StreamwardError, TooLarge
from streamward.gateway.auth import Caller
from streamward.gateway.compact_call import compacted
from streamward.gateway.control import Json
from streamward.gateway.estimates import estimated_tokens
from streamward.gateway.responses_socket import serve_socket
from streamward.gateway.token_counts import counted
from streamward.wire import json_text, messages
from streamward.wire.responses import parse_request, render_error, stored

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway

FIELDS = {"cache-control": "no-store", "x-content-type-options": "nosniff"}

Render = Callable[[ErrorInfo], dict[str, Any]]
Handler = Callable[[Request, Caller], Awaitable[tuple[dict[str, Any], dict[str, str]]]]


def response_routes(gateway: Gateway) -> list[BaseRoute]:
    """The routes, bound to *gateway*."""

    async def retrieve(request: Request, caller: Caller) -> tuple[dict[str, Any], dict[str, str]]:
        row = await gateway.responses.view(request.path_params["response_id"], caller.name)
        return row.response, {}

    async def delete(request: Request, caller: Caller) -> tuple[dict[str, Any], dict[str, str]]:
        return await gateway.responses.delete(request.path_params["response_id"], caller.name), {}

    async def cancel(request: Request, caller: Caller) -> tuple[dict[str, Any], dict[str, str]]:
        return await gateway.responses.cancel(request.path_params["response_id"], caller.name), {}

    async def input_items(request: Request, caller: Caller) -> tuple[dict[str, Any], dict[str, str]]:
        row = await gateway.responses.row(request.path_params["response_id"], caller.name)
        query = request.query_params
        page = stored.list_items(
            row.input, limit=whole(query.get("limit"), "limit"), order=query.get("order"), after=query.get("after")
        )
        return page, {}

    async def input_tokens(request: Request, caller: Caller) -> tuple[dict[str, Any], dict[str, str]]:
        body = json_text.decode_object(await body_of(gateway, request))
        history = None
        if isinstance(body.get("previous_response_id"), str):
            history = await gateway.responses.history(body["previous_response_id"], caller.name)
        if isinstance(body.get("input"), list):
            body["input"] = await gateway.responses.with_references(body["input"], caller.name)
        call = parse_request({"model": "any", **body}, history=history)
        count, exact = await counted(gateway, call) if "model" in body else (estimated_tokens(call), False)
        return {"object": "response.input_tokens", "input_tokens": count}, grade(exact)

    async def compact(request: Request, caller: Caller) -> tuple[dict[str, Any], dict[str, str]]:
        body = json_text.decode_object(await body_of(gateway, request))
        return await compacted(gateway, body, caller), {}

    def served(handler: Handler, render: Render = render_error) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            headers = {**FIELDS, "x-streamward-id": gateway.ids.next()}
            try:
                caller = await gateway.authenticated(request.headers)
                body, more = await handler(request, caller)
            except StreamwardError as exc:
                if exc.info.status == 401:
                    headers["www-authenticate"] = "Bearer"
                if exc.info.retry_after_s is not None:
                    headers["retry-after"] = str(max(1, round(exc.info.retry_after_s)))
                return Json(render(exc.info), exc.info.status, headers)
            return Json(body, 200, {**headers, **more})

        return serve

    async def count_tokens(request: Request, caller: Caller) -> tuple[dict[str, Any], dict[str, str]]:
        body = json_text.decode_object(await body_of(gateway, request))
        count, exact = await counted(gateway, messages.parse_count_request(body))
        return messages.render_count(count), grade(exact)

    async def socket(websocket: WebSocket) -> None:
        await serve_socket(gateway, websocket)

    one = "/v1/responses/{response_id}"
    return [
        WebSocketRoute("/v1/responses", socket),
        Route("/v1/responses/input_tokens", served(input_tokens), methods=["POST"]),
        Route("/v1/responses/compact", served(compact), methods=["POST"]),
        Route(one, served(retrieve), methods=["GET"]),
        Route(one, served(delete), methods=["DELETE"]),
        Route(one + "/cancel", served(cancel), methods=["POST"]),
        Route(one + "/input_items", served(input_items), methods=["GET"]),
        Route("/v1/messages/count_tokens", served(count_tokens, messages.render_error), methods=["POST"]),
    ]


def grade(exact: bool) -> dict[str, str]:
    """The header that says whether a provider has counted."""
    return {"x-streamward-grade": "exact" if exact else "estimated"}


async def body_of(gateway: Gateway, request: Request) -> bytes:
    """The body, within ``limits.max_body_bytes``. Raises TooLarge."""
    limit = gateway.config.limits.max_body_bytes
    parts, size = [], 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            raise TooLarge(f"the request body is larger than {limit} bytes (limits.max_body_bytes)")
        parts.append(part)
    return b"".join(parts)


def whole(text: str | None, name: str) -> int | None:
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise InvalidRequest(f"'{name}' must be a whole number, not {text[:20]!r}", param=name)
    return int(text)

