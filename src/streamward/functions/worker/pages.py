"""``pages/api`` functions: ``handler(req, res)`` in the manner of Next.js, where ``res.write`` truly streams."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Callable, Mapping
from http.cookies import CookieError, SimpleCookie
from typing import Any
from urllib.parse import parse_qs

from streamward.functions import link
from streamward.functions.router import query_table
from streamward.functions.worker.context import Invocation
from streamward.functions.worker.methods import is_async, parameter_count
from streamward.functions.worker.responses import JSON, OCTETS, TEXT, respond
from streamward.functions.worker.threads import run_in_own_thread

MAX_UNSENT = 4 << 20  # what an async handler may write while its client does not read
HTML = b"text/html; charset=utf-8"


class MalformedBody(ValueError):
    """The request's body is not the JSON it says to be."""


class Headers(Mapping[str, str]):
    """Request headers by name, in any case."""

    def __init__(self, items: list[tuple[bytes, bytes]]) -> None:
        self.table: dict[str, str] = {}
        for name, value in items:
            key, text = name.decode("latin-1").lower(), value.decode("latin-1")
            join = "; " if key == "cookie" else ", "
            self.table[key] = f"{self.table[key]}{join}{text}" if key in self.table else text

    def __getitem__(self, name: str) -> str:
        return self.table[name.lower()]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and name.lower() in self.table

    def __iter__(self) -> Any:
        return iter(self.table)

    def __len__(self) -> int:
        return len(self.table)


class Now:
    """A value that may be awaited, so that ``await req.json()`` and ``req.json()`` both work for dicts and strings."""


class AwaitableDict(dict[str, Any], Now):
    def __await__(self) -> Any:
        yield from ()
        return self


class AwaitableList(list[Any], Now):
    def __await__(self) -> Any:
        yield from ()
        return self


class AwaitableStr(str, Now):
    def __await__(self) -> Any:
        yield from ()
        return str(self)


class AwaitableInt(int, Now):
    def __await__(self) -> Any:
        yield from ()
        return int(self)


class AwaitableFloat(float, Now):
    def __await__(self) -> Any:
        yield from ()
        return float(self)


class AwaitableConstant(Now):
    """``null``, ``true`` or ``false`` for asynchronous handlers: to be awaited; true, false and equal as its value is."""

    def __init__(self, value: bool | None) -> None:
        self.value = value

    def __await__(self) -> Any:
        yield from ()
        return self.value

    def __bool__(self) -> bool:
        return bool(self.value)

    def __eq__(self, other: object) -> bool:
        return self.value == (other.value if isinstance(other, AwaitableConstant) else other)

    def __hash__(self) -> int:
        return hash(self.value)

    def __repr__(self) -> str:
        return repr(self.value)


def awaitable(value: Any, *, asynchronous: bool) -> Any:
    """*value* as an awaitable look-alike. None and booleans have none that ``is`` them: they stay in plain handlers."""
    if isinstance(value, bool) or value is None:
        return AwaitableConstant(value) if asynchronous else value
    wrapped = WRAPPERS.get(type(value))
    return value if wrapped is None else wrapped(value)


WRAPPERS: dict[type, Callable[[Any], Any]] = {
    dict: AwaitableDict,
    list: AwaitableList,
    str: AwaitableStr,
    int: AwaitableInt,
    float: AwaitableFloat,
}


class PagesRequest:
    """``req``."""

    def __init__(self, invocation: Invocation, raw: bytes, *, asynchronous: bool) -> None:
        call = invocation.call
        self.invocation = invocation
        self.asynchronous = asynchronous
        self.raw = raw
        self.method = call.method
        self.url = call.raw_path.decode("latin-1") + ("?" + call.query.decode("latin-1") if call.query else "")
        self.headers = Headers(call.headers)
        self.query: dict[str, Any] = {**query_table(call.query.decode("latin-1")), **call.params}
        self.cookies = read_cookies(self.headers.get("cookie", ""))
        self.body = parse_body(self.headers.get("content-type", ""), raw)

    def json(self) -> Any:
        """The body as JSON, whatever its content type says. Can be awaited."""
        return awaitable(json.loads(self.raw), asynchronous=self.asynchronous)

    def text(self) -> str:
        return AwaitableStr(self.raw.decode("utf-8", "replace"))

    def on(self, event: str, callback: Callable[[], object]) -> PagesRequest:
        if event == "close":
            self.invocation.on_gone.append(quietly(callback))
        return self


def read_cookies(header: str) -> dict[str, str]:
    cookies: dict[str, str] = {}
    for part in header.split(";"):
        try:
            jar = SimpleCookie(part.strip())
        except CookieError:
            continue
        cookies.update({name: morsel.value for name, morsel in jar.items()})
    return cookies


def parse_body(content_type: str, raw: bytes) -> Any:
    """Raises MalformedBody."""
    if not raw:
        return None
    kind = content_type.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return json.loads(raw)
        except (ValueError, RecursionError) as exc:
            raise MalformedBody(str(exc)) from exc
    if kind == "application/x-www-form-urlencoded":
        table = parse_qs(raw.decode("utf-8", "replace"), keep_blank_values=True)
        return {name: values[0] if len(values) == 1 else values for name, values in table.items()}
    return raw.decode("utf-8", "replace") if kind.startswith("text/") else raw


def quietly(callback: Callable[[], object]) -> Callable[[], None]:
    """Event callbacks are the user's: one that fails is logged and stops nothing."""

    def run() -> None:
        try:
            result = callback()
            if inspect.iscoroutine(result):
                asyncio.get_running_loop().create_task(result)
        except Exception:
            from streamward.functions.worker.context import log

            log.exception("an event callback failed")

    return run


class PagesResponse:
    """``res``. In a sync handler writes block while the client does not read; in an async one ``write`` says False."""

    def __init__(self, invocation: Invocation, *, blocking: bool) -> None:
        self.invocation = invocation
        self.channel = invocation.channel
        self.blocking = blocking
        self.status_code = 200
        self.lines: dict[str, tuple[str, list[str]]] = {}
        self.headers_sent = False
        self.full = False
        self.writable_ended = False
        self.callbacks: dict[str, list[Callable[[], None]]] = {"finish": [], "drain": []}

    # -- head

    def status(self, code: int) -> PagesResponse:
        self.status_code = int(code)
        return self

    def set_header(self, name: str, value: Any) -> PagesResponse:
        if self.headers_sent:
            raise RuntimeError(f"the head was sent already, {name!r} cannot be set")
        values = [str(item) for item in value] if isinstance(value, list | tuple) else [str(value)]
        self.lines[name.lower()] = (name, values)
        return self

    def get_header(self, name: str) -> Any:
        values = self.lines.get(name.lower(), ("", []))[1]
        return None if not values else values[0] if len(values) == 1 else list(values)

    def has_header(self, name: str) -> bool:
        return name.lower() in self.lines

    def remove_header(self, name: str) -> None:
        self.lines.pop(name.lower(), None)

    def write_head(self, code: int, headers: Mapping[str, Any] | None = None) -> PagesResponse:
        self.status(code)
        for name, value in (headers or {}).items():
            self.set_header(name, value)
        return self

    def flush_headers(self) -> None:
        if not self.headers_sent:
            self.put(self.head(None) + link.frame(link.FLUSH))

    def head(self, length: int | None) -> bytes:
        self.headers_sent = True
        headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, values in self.lines.values()
            for value in values
        ]
        stated = self.get_header("content-length")
        known = int(stated) if isinstance(stated, str) and stated.isdigit() else length
        return self.channel.head(self.status_code, headers, known)

    # -- body

    def write(self, chunk: Any) -> bool:
        if self.writable_ended:
            raise RuntimeError("res.write after res.end")
        data = chunk.encode("utf-8", "replace") if isinstance(chunk, str) else bytes(chunk)
        out = b"" if self.headers_sent else self.head(None)
        self.put(out + (self.channel.body(data) if data else b""))
        return not self.channel.unsent

    def put(self, data: bytes) -> None:
        if self.invocation.gone.is_set() or self.channel.closed:
            raise BrokenPipeError("the client has gone")
        if self.blocking:
            self.channel.write_blocking(data)
            return
        if self.channel.unsent_bytes > MAX_UNSENT:
            raise BufferError("the client does not read: stop when res.write returns False and `await res.drain()`")
        self.channel.write(data)
        if self.channel.unsent and not self.full:
            self.full = True
            self.channel.when_sent(self.sent)

    def sent(self) -> None:
        self.full = False
        for callback in self.callbacks["drain"]:
            callback()

    async def drain(self) -> None:
        """Wait until the client has caught up with what was written."""
        await self.channel.drain()

    def end(self, chunk: Any = None) -> None:
        if self.writable_ended:
            return
        data = b"" if chunk is None else chunk.encode("utf-8", "replace") if isinstance(chunk, str) else bytes(chunk)
        out = b"" if self.headers_sent else self.head(len(data))
        self.writable_ended = True
        self.put(out + (self.channel.body(data) if data else b"") + self.channel.end())
        for callback in self.callbacks["finish"]:
            callback()

    def default_type(self, content_type: bytes) -> None:
        if not self.has_header("content-type"):
            self.set_header("Content-Type", content_type.decode())

    def send(self, value: Any = None) -> None:
        if isinstance(value, str):
            self.default_type(HTML if value.lstrip()[:1] == "<" else TEXT)
        elif isinstance(value, bytes | bytearray | memoryview):
            self.default_type(OCTETS)
        elif value is not None:
            self.json(value)
            return
        self.end(value)

    def json(self, value: Any) -> None:
        self.default_type(JSON)
        self.end(json.dumps(value, ensure_ascii=False, separators=(",", ":")))

    def redirect(self, status: Any, url: str | None = None) -> PagesResponse:
        code, target = (307, status) if url is None else (int(status), url)
        self.status(code).set_header("Location", target)
        self.end(target)
        return self

    def on(self, event: str, callback: Callable[[], object]) -> PagesResponse:
        if event == "close":
            self.invocation.on_gone.append(quietly(callback))
        elif event in self.callbacks:
            self.callbacks[event].append(quietly(callback))
        return self

    setHeader, getHeader, hasHeader, removeHeader = set_header, get_header, has_header, remove_header  # noqa: N815
    writeHead, flushHeaders = write_head, flush_headers  # noqa: N815

    @property
    def statusCode(self) -> int:  # noqa: N802
        return self.status_code

    @statusCode.setter
    def statusCode(self, code: int) -> None:  # noqa: N802
        self.status_code = code

    @property
    def headersSent(self) -> bool:  # noqa: N802
        return self.headers_sent

    @property
    def writableEnded(self) -> bool:  # noqa: N802
        return self.writable_ended


async def serve_pages(invocation: Invocation, function: Callable[..., Any], content_type: str | None) -> None:
    """Raises MalformedBody before the handler is called, and whatever the handler raises."""
    raw = await invocation.channel.read_all()
    asynchronous = is_async(function)
    req = PagesRequest(invocation, raw, asynchronous=asynchronous)
    res = PagesResponse(invocation, blocking=not asynchronous)
    arguments = (req, res)[: parameter_count(function)]
    try:
        if asynchronous:
            value = function(*arguments)
            value = await value if inspect.isawaitable(value) else value
        else:
            value = await run_in_own_thread(invocation, lambda: function(*arguments))
            value = await value if inspect.isawaitable(value) else value
        if invocation.gone.is_set():
            return
        if res.headers_sent:
            res.blocking = False
            res.end()
            await invocation.channel.drain()
        elif value is not None:
            await respond(invocation, value, content_type)
    except BrokenPipeError:
        if not (invocation.gone.is_set() or invocation.channel.closed):
            raise
