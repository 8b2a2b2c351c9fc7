"""A peer to compare with: the pass-through proxy most people write first, done without mistakes.

One shared client, no connection limit, no time limits, bytes passed on as they come. UPSTREAM names the server.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx
from starlette.applications import Starlette
from starlette.background import BackgroundTask
from starlette.requests import Request
from starlette.responses import StreamingResponse
from starlette.routing import Route

UPSTREAM = os.environ["UPSTREAM"]
DROPPED = {"host", "content-length", "connection", "accept-encoding"}


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
    async with httpx.AsyncClient(base_url=UPSTREAM, limits=limits, timeout=None) as client:
        app.state.client = client
        yield


async def relay(request: Request) -> StreamingResponse:
    client: httpx.AsyncClient = request.app.state.client
    headers = {name: value for name, value in request.headers.items() if name not in DROPPED}
    outgoing = client.build_request(request.method, request.url.path, headers=headers, content=await request.body())
    answer = await client.send(outgoing, stream=True)
    return StreamingResponse(
        answer.aiter_raw(),
        status_code=answer.status_code,
        media_type=answer.headers.get("content-type"),
        background=BackgroundTask(answer.aclose),
    )


app = Starlette(routes=[Route("/{path:path}", relay, methods=["GET", "POST"])], lifespan=lifespan)
