"""Method functions: ``GET``, ``POST``, ... taking (), (request) or (request, params)."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Iterator
from typing import Any

from starlette.requests import Request

from streamward.functions.worker.asgi import Receive, http_scope
from streamward.functions.worker.context import Invocation
from streamward.functions.worker.responses import respond, stream_sync, stream_type
from streamward.functions.worker.threads import run_in_own_thread


class AsyncRequest(Request):
    """Starlette's request with ``text()``."""

    async def text(self) -> str:
        return (await self.body()).decode(charset(self), "replace")


class SyncRequest(Request):
    """The request of a sync function: its body methods return plain values and may block (it has its own thread)."""

    invocation: Invocation

    def stream(self) -> Iterator[bytes]:  # type: ignore[override]
        if hasattr(self, "_body"):
            yield self._body
            return
        while piece := self.invocation.channel.read_blocking():
            yield piece

    def body(self) -> bytes:  # type: ignore[override]
        if not hasattr(self, "_body"):
            self._body = b"".join(self.stream())
        return self._body

    def text(self) -> str:
        return self.body().decode(charset(self), "replace")

    def json(self) -> Any:
        import json

        return json.loads(self.body())

    def form(self, **limits: Any) -> Any:
        data = self.body()

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": data, "more_body": False}

        async def parse() -> Any:
            return await Request(self.scope, receive).form(**limits)

        return asyncio.run_coroutine_threadsafe(parse(), self.invocation.loop).result()

    def is_disconnected(self) -> bool:  # type: ignore[override]
        return self.invocation.gone.is_set()


def charset(request: Request) -> str:
    """The charset of the request's content type, UTF-8 when there is none we know."""
    for parameter in request.headers.get("content-type", "").split(";")[1:]:
        name, _, value = parameter.partition("=")
        if name.strip().lower() == "charset":
            try:
                "".encode(value.strip().strip('"'))
            except LookupError:
                break
            return value.strip().strip('"')
    return "utf-8"


async def serve_method(invocation: Invocation, function: Callable[..., Any], content_type: str | None) -> None:
    scope = http_scope(invocation)
    count = parameter_count(function)
    if is_async(function):
        request: Request = AsyncRequest(scope, Receive(invocation))
        value = function(*(request, dict(invocation.call.params))[:count])
        if inspect.isawaitable(value):
            value = await value
        await respond(invocation, value, content_type)
        return
    sync_request = SyncRequest(scope)
    sync_request.invocation = invocation

    def call() -> Any:
        value = function(*(sync_request, dict(invocation.call.params))[:count])
        if isinstance(value, Iterator) and not hasattr(value, "__aiter__"):
            stream_sync(invocation.channel, value, stream_type(content_type))
            return STREAMED
        return value

    value = await run_in_own_thread(invocation, call)
    if inspect.isawaitable(value):
        value = await value
    if value is not STREAMED and not invocation.gone.is_set():
        await respond(invocation, value, content_type)


STREAMED = object()


def is_async(function: Callable[..., Any]) -> bool:
    target = function if inspect.isroutine(function) else getattr(function, "__call__", function)  # noqa: B004
    return inspect.iscoroutinefunction(target) or inspect.isasyncgenfunction(target)


def parameter_count(function: Callable[..., Any]) -> int:
    """How many of (request, params) the function takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return 1
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 2
    return min(2, sum(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) for p in parameters))
