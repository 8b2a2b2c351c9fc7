"""Streams as responses: ``StreamingTextResponse`` for ASGI and WSGI, ``stream_to_response`` for what has ``write``."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from streamward.engine.response import StreamResponse
from streamward.engine.run import background
from streamward.errors import StreamwardError
from streamward.legacy.data import StreamData, WithData, first_of
from streamward.legacy.stream import Readable, Version
from streamward.legacy.writers import write_to
from streamward.wire import legacy as wire

UNBUFFERED = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
"""Not the AI SDK's: without them nginx holds the text back, and other proxies compress it into lumps."""


class ReadableBody:
    """A readable as the body of a :class:`StreamResponse`. One that fails is broken off."""

    def __init__(self, stream: Readable) -> None:
        self.stream = stream
        self.pull: asyncio.Task[bytes | None] | None = None
        self.news: asyncio.Future[None] | None = None
        self.over = False
        self.broken = False

    async def read(self) -> bytes:
        if self.over:
            return b""
        if self.pull is None:
            self.pull = asyncio.ensure_future(self.stream.read())
        self.news = asyncio.get_running_loop().create_future()
        await first_of(self.pull, self.news)
        self.news = None
        if self.over or not self.pull.done():
            return b""
        pull, self.pull = self.pull, None
        try:
            data = pull.result()
        except asyncio.CancelledError:
            raise
        except Exception as exc:
            self.over = self.broken = True
            report(exc)
            return b""
        self.over = data is None
        return data or b""

    def nudge(self) -> None:
        if self.news is not None and not self.news.done():
            self.news.set_result(None)

    def cancel(self, reason: str) -> None:
        if self.over:
            return
        self.over = True
        if self.pull is not None:
            self.pull.cancel()
        self.nudge()
        background(self.stream.aclose())


def report(exc: Exception) -> None:
    """The browser sees a broken body; what happened is for the server's log."""
    from streamward.engine.run import log

    log.warning("legacy_stream_failed", extra={"code": getattr(exc, "code", type(exc).__name__)})


class StreamingTextResponse(StreamResponse):
    """The stream as a response (Starlette, FastAPI, any ASGI framework; ``.wsgi`` for WSGI). The status is always 200.

    *init* has ``headers``; *data* is a :class:`StreamData` to send along, then the response lasts until it is closed.
    Version 2 says in a header whether the body is in complex mode.
    """

    def __init__(
        self, stream: Readable, init: Mapping[str, Any] | None = None, data: StreamData | None = None, *,
        version: Version | None = None, keep_alive_s: float | None = 15.0, background: Any = None,
    ) -> None:  # fmt: skip
        of_stream: Version = version if version is not None else getattr(stream, "version", 3)
        own = dict((init or {}).get("headers") or {})
        complex_mode = data is not None or of_stream == 3 or getattr(stream, "lines", False)
        body = ReadableBody(WithData(stream, data, of_stream) if data is not None else stream)
        super().__init__(
            body, headers=head_fields(own, of_stream, data is not None), background=background,
            keep_alive=wire.KEEP_ALIVE if complex_mode else None, keep_alive_s=keep_alive_s,
        )  # fmt: skip


def head_fields(own: dict[str, Any], version: Version, with_data: bool) -> dict[str, str]:
    """Lower-case header fields. In version 2 a field that is spelled differently from the default is joined with it."""
    if version == 3:
        fields = {"content-type": wire.CONTENT_TYPE}
        fields.update({name.lower(): str(value) for name, value in own.items()})
        return UNBUFFERED | fields
    spelled = {"Content-Type": wire.CONTENT_TYPE, "X-Experimental-Stream-Data": "true" if with_data else "false"}
    spelled.update({name: str(value) for name, value in own.items()})
    fields = {}
    for name, value in spelled.items():
        key = name.lower()
        fields[key] = f"{fields[key]}, {value}" if key in fields else value
    return UNBUFFERED | fields


def stream_to_response(
    stream: Readable, res: Any, init: Mapping[str, Any] | None = None, data: StreamData | None = None
) -> Any:
    """Write *stream* to *res*: a Node-like response (``write_head``/``write``/``end``, as in functions' ``pages/api``), an
    ``http.server`` handler, or a WSGI ``start_response``.

    Inside a running event loop the result must be awaited; elsewhere the call returns when all is written (for WSGI:
    at once, with the iterable to return). A client that leaves closes the provider's connection. *init* has ``status``
    and ``headers``; a stream that fails leaves the response broken off, never ended.

    Raises:
        StreamwardError: *res* is none of these.
    """
    version: Version = getattr(stream, "version", 3)
    whole: Readable = WithData(stream, data, version) if data is not None else stream
    status = int((init or {}).get("status") or 200)
    own = {name: str(value) for name, value in ((init or {}).get("headers") or {}).items()}
    named = {name.lower() for name in own}
    headers = {"Content-Type": wire.CONTENT_TYPE, **own, **{k.title(): v for k, v in UNBUFFERED.items() if k not in named}}
    done = write_to(res, whole, status, headers)
    if done is None:
        raise StreamwardError(
            f"stream_to_response: expected something with write_head/write/end, an http.server handler or WSGI's "
            f"start_response, got {type(res).__name__}"
        )
    return done.result


streamToResponse = stream_to_response  # noqa: N816 - the AI SDK's name
