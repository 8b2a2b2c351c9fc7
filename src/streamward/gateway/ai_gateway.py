"""``/v1/ai``, ``/v3/ai``, ``/v4/ai``: the AI SDK's own gateway provider talks to us as it talks to Vercel's.

``POST language-model`` is a call like any other in a client dialect of its own; model, streaming and specification
version come with headers. ``GET config`` lists the models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.requests import Request as ControlRequest
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from streamward.call import Call
from streamward.dataplane.exchange import Request, Sink
from streamward.errors import InvalidRequest, StreamwardError
from streamward.gateway.auth import Caller
from streamward.gateway.exchange import CallExchange
from streamward.gateway.model_list import model_object
from streamward.wire import json_text
from streamward.wire.ai_gateway import NAME, VERSION_OF_PATH, VERSIONS, render_error

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway

PATHS = {f"{base}/language-model": NAME for base in VERSION_OF_PATH}
JSON = "application/json"


class LanguageModelCall(CallExchange):
    """One ``POST .../language-model``."""

    __slots__ = ("model_id", "streaming", "version")

    def __init__(self, gateway: Gateway, request: Request, sink: Sink, dialect: str, caller: Caller, cors: bytes) -> None:
        super().__init__(gateway, request, sink, dialect, caller, cors)
        headers = request.headers
        stated = headers.get(b"ai-language-model-specification-version", b"").decode("latin-1")
        of_path = VERSION_OF_PATH[request.path.rpartition("/")[0]]
        self.version = int(stated) if stated.isdecimal() and int(stated) in VERSIONS else of_path
        self.model_id = headers.get(b"ai-language-model-id", b"").decode("utf-8", "replace")
        self.streaming = headers.get(b"ai-language-model-streaming", b"").lower() == b"true"

    def parse(self, body: dict[str, Any]) -> Call:
        if not self.model_id:
            raise InvalidRequest("send the model's id in the header ai-language-model-id", param="ai-language-model-id")
        return self.module.parse_request({**body, "model": self.model_id, "stream": self.streaming})

    def options(self) -> dict[str, Any]:
        return {"version": self.version}


def ai_gateway_routes(gateway: Gateway) -> list[BaseRoute]:
    """``GET config`` under every base path."""

    def route(base: str, version: int) -> Route:
        async def config(request: ControlRequest) -> Response:
            try:
                await gateway.authenticated(request.headers)
            except StreamwardError as exc:
                return Response(json_text.encode(render_error(exc.info)), exc.info.status, media_type=JSON)
            names = gateway.routes.listed()
            models = [entry(gateway, name, version) for name in names]
            return Response(json_text.encode({"models": models}), media_type=JSON)

        return Route(f"{base}/config", config)

    return [route(base, version) for base, version in VERSION_OF_PATH.items()]


def entry(gateway: Gateway, name: str, version: int) -> dict[str, Any]:
    known = model_object(gateway.routes, name, gateway.admission.prices.of)
    body: dict[str, Any] = {
        "id": name, "name": known.get("name", name), "description": known.get("description"),
        "modelType": known.get("type", "language"),
        "specification": {
            "specificationVersion": VERSIONS[version].name, "provider": known["owned_by"], "modelId": name,
        },
    }  # fmt: skip
    price = known.get("pricing")
    if price is not None:
        body["pricing"] = {key: price[key] for key in ("input", "output", "input_cache_read") if key in price}
    return body
