"""The gateway's routes that do not stream: models, health, metrics, the OpenAPI document."""

from __future__ import annotations

import hmac
import ipaddress
import os
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import BaseRoute, Match, Route

from streamward.errors import AuthenticationFailed, ErrorInfo, ModelNotFound, NotFound, StreamwardError
from streamward.gateway.model_list import model_object
from streamward.gateway.openapi import DOCS_PAGE, openapi
from streamward.gateway.opening import CALL_ROUTES
from streamward.wire import json_text
from streamward.wire.chat_completions import render_error

if TYPE_CHECKING:
    from streamward.gateway.app import Gateway

ADMIN_TOKEN = "STREAMWARD_ADMIN_TOKEN"  # noqa: S105 - the variable's name
METRICS_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class Json(JSONResponse):
    """JSON as the wire encodes it."""

    def render(self, content: Any) -> bytes:
        return json_text.encode(content)


def error_response(error: ErrorInfo) -> Response:
    headers = {"x-content-type-options": "nosniff"}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, round(error.retry_after_s)))
    if error.status == 401:
        headers["www-authenticate"] = "Bearer"
    return Json(render_error(error), error.status, headers)


def control_routes(gateway: Gateway) -> list[BaseRoute]:
    """The routes, bound to *gateway*."""

    async def live(request: Request) -> Response:
        return Json({"live": True})

    async def ready(request: Request) -> Response:
        reason = "draining" if gateway.draining else (gateway.readiness() or None) if gateway.ready else "starting"
        if gateway.overloaded:
            reason = reason or "saturated"
        return Json({"ready": reason is None, **({"reason": reason} if reason else {})}, 200 if reason is None else 503)

    async def metrics(request: Request) -> Response:
        refusal = admin_refusal(request)
        return error_response(refusal) if refusal else Response(await gateway.figures(), media_type=METRICS_TYPE)

    def entry(name: str) -> dict[str, Any]:
        return model_object(gateway.routes, name, gateway.admission.prices.of)

    async def models(request: Request) -> Response:
        try:
            await gateway.authenticated(request.headers)
        except StreamwardError as exc:
            return error_response(exc.info)
        return Json({"object": "list", "data": [entry(name) for name in gateway.routes.listed()]})

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            await gateway.authenticated(request.headers)
            gateway.routes.targets(name)
        except AuthenticationFailed as exc:
            return error_response(exc.info)
        except StreamwardError as exc:
            return error_response(ModelNotFound(str(exc), param="model").info)
        return Json(entry(name))

    async def document(request: Request) -> Response:
        return Json(openapi())

    async def docs(request: Request) -> Response:
        return HTMLResponse(DOCS_PAGE, headers={"content-security-policy": "default-src 'self'; style-src 'unsafe-inline'"})

    async def unknown(request: Request) -> Response:
        path = request.url.path
        methods = allowed_methods(request)
        if methods:
            allow = ", ".join(methods)
            message = f"{path[:80]} takes {allow}, not {request.method}"
            response = error_response(ErrorInfo("method_not_allowed", message, 405))
            response.headers["allow"] = allow
            return response
        return error_response(NotFound(f"no such route: {request.method} {path[:80]}; see /docs").info)

    return [
        Route("/healthz", live),
        Route("/_streamward/live", live),
        Route("/readyz", ready),
        Route("/_streamward/ready", ready),
        Route("/metrics", metrics),
        Route("/_streamward/metrics", metrics),
        Route("/v1/models", models),
        Route("/v1/models/{name:path}", model),
        Route("/openapi.json", document),
        Route("/docs", docs),
        Route("/v1/{rest:path}", unknown, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
    ]


def allowed_methods(request: Request) -> list[str]:
    """The methods another route has for the path of *request*."""
    methods = {"POST"} if request.url.path in CALL_ROUTES else set()
    for route in request.app.routes:
        if isinstance(route, Route) and route.matches(request.scope)[0] is Match.PARTIAL:
            methods |= route.methods or set()
    return sorted(methods)


def admin_refusal(request: Request) -> ErrorInfo | None:
    """Who may read operational figures: the admin token's holder, or, where none is set, this machine itself."""
    token = os.environ.get(ADMIN_TOKEN)
    if token:
        sent = request.headers.get("authorization", "")
        if hmac.compare_digest(sent.encode(), f"Bearer {token}".encode()):
            return None
        return ErrorInfo("invalid_api_key", f"send Authorization: Bearer ${ADMIN_TOKEN}", 401)
    forwarded = "x-forwarded-for" in request.headers or "forwarded" in request.headers
    if request.client is not None and not forwarded and is_loopback(request.client.host):
        return None
    return ErrorInfo("permission_denied", f"only readable on this machine; set {ADMIN_TOKEN} to read it from elsewhere", 403)


def is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
