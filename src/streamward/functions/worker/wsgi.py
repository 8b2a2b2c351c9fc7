"""WSGI (PEP 3333) on a link. Each call runs in a thread of its own; the head waits for the first non-empty item."""

from __future__ import annotations

import io
import sys
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from streamward.functions.worker.asgi import stated_length
from streamward.functions.worker.channel import Channel
from streamward.functions.worker.context import Invocation
from streamward.functions.worker.threads import run_in_own_thread

HeaderList = list[tuple[str, str]]


async def run_wsgi(invocation: Invocation, app: Callable[..., Any]) -> None:
    body = await invocation.channel.read_all()
    environ = build_environ(invocation, body)
    await run_in_own_thread(invocation, lambda: WsgiRun(invocation.channel).run(app, environ))


def build_environ(invocation: Invocation, body: bytes) -> dict[str, Any]:
    call = invocation.call
    environ: dict[str, Any] = {
        "REQUEST_METHOD": call.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(call.raw_path).decode("latin-1"),
        "RAW_URI": call.raw_path.decode("latin-1") + ("?" + call.query.decode("latin-1") if call.query else ""),
        "QUERY_STRING": call.query.decode("latin-1"),
        "SERVER_NAME": call.server[0],
        "SERVER_PORT": str(call.server[1]),
        "SERVER_PROTOCOL": f"HTTP/1.{call.http_minor}",
        "REMOTE_ADDR": call.client[0] if call.client else "",
        "REMOTE_PORT": str(call.client[1]) if call.client else "",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": call.scheme,
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "wsgi.input_terminated": True,
        "streamward.path_params": dict(call.params),
    }
    for name, value in call.headers:
        key = name.decode("latin-1").upper().replace("-", "_")
        if key == "TRANSFER_ENCODING":  # the body is whole and de-chunked
            continue
        if key not in ("CONTENT_TYPE", "CONTENT_LENGTH"):
            key = "HTTP_" + key
        joined = environ.get(key)
        text = value.decode("latin-1")
        environ[key] = text if joined is None else f"{joined}{'; ' if key == 'HTTP_COOKIE' else ','}{text}"
    if call.has_body:
        environ["CONTENT_LENGTH"] = str(len(body))
    return environ


class WsgiRun:
    """One call of a WSGI application, in its thread."""

    def __init__(self, channel: Channel) -> None:
        self.channel = channel
        self.status: int | None = None
        self.headers: list[tuple[bytes, bytes]] = []

    def run(self, app: Callable[..., Any], environ: dict[str, Any]) -> None:
        """Raises what the app raised, unless the client has left."""
        result: Any = None
        try:
            result = app(environ, self.start_response)
            known = len(result[0]) if isinstance(result, list | tuple) and len(result) == 1 else None
            for item in result:
                if item:
                    self.write(item, known)
                if self.channel.closed:
                    return
            self.finish()
        except BrokenPipeError:
            if not self.channel.closed:
                raise
        finally:
            close = getattr(result, "close", None)
            if close is not None:
                close()

    def start_response(self, status: str, headers: HeaderList, exc_info: Any = None) -> Callable[[bytes], None]:
        if exc_info is not None:
            try:
                if self.channel.head_sent:
                    raise exc_info[1].with_traceback(exc_info[2])
            finally:
                exc_info = None
        elif self.status is not None:
            raise AssertionError("start_response was called twice without exc_info")
        if not isinstance(status, str) or not status[:3].isdigit():
            raise ValueError(f"start_response needs a status such as '200 OK', got {status!r:.50}")
        self.status = int(status[:3])
        self.headers = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
        return self.write

    def write(self, data: bytes, known: int | None = None) -> None:
        if self.status is None:
            raise AssertionError("the application wrote before it called start_response")
        if not isinstance(data, bytes):
            raise TypeError(f"WSGI items must be bytes, not {type(data).__name__}")
        out = b"" if self.channel.head_sent else self.head(known)
        if data or out:
            self.channel.write_blocking(out + (self.channel.body(data) if data else b""))

    def head(self, known: int | None) -> bytes:
        assert self.status is not None
        return self.channel.head(self.status, self.headers, stated_length(self.headers, known))

    def finish(self) -> None:
        if self.status is None:
            raise AssertionError("the application returned without calling start_response")
        out = b"" if self.channel.head_sent else self.head(0)
        self.channel.write_blocking(out + self.channel.end())
