"""``/_streamward/*``: live, ready, metrics, logs. Cannot be shadowed by functions."""

from __future__ import annotations

import hmac
import ipaddress
import re
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

import msgspec

from streamward.dataplane.exchange import Exchange, Request, Sink, render_fields
from streamward.functions.logs import LEVELS, Entry, Filter, Reader, encode

if TYPE_CHECKING:
    from streamward.functions.host import FunctionsHost

TOKEN_VARIABLE = "STREAMWARD_ADMIN_TOKEN"  # noqa: S105 (the variable's name)
BATCH = 200  # entries written per turn, then the client's buffer is looked at
UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
JSON = "application/json"


class Control:
    """The control endpoints of one host."""

    def __init__(self, host: FunctionsHost) -> None:
        self.host = host
        self.followers: set[Follower] = set()

    def open(self, request: Request, sink: Sink) -> Exchange:
        name = request.path.removeprefix("/_streamward").strip("/")
        if name == "live":
            return self.answer(sink, 200, {"live": True})
        if name == "ready":
            reason = self.host.readiness()
            return self.answer(sink, 503, {"ready": False, "reason": reason}) if reason else self.answer(sink, 200, READY)
        if name not in ("metrics", "logs", "routes"):
            return self.host.not_found(request, sink)
        refused = refusal(request, self.host.real_environment.get(TOKEN_VARIABLE, ""))
        if refused:
            return self.fail(sink, refused, *REFUSED[refused])
        if name == "metrics":
            return self.send(sink, 200, "text/plain; version=0.0.4; charset=utf-8", self.host.metrics.render())
        if name == "routes":
            return self.answer(sink, 200, self.host.scan.table())
        return self.logs(request, sink)

    def answer(self, sink: Sink, status: int, value: Any) -> Exchange:
        return self.send(sink, status, JSON, msgspec.json.encode(value))

    def fail(self, sink: Sink, status: int, code: str, message: str) -> Exchange:
        from streamward.functions.host import new_id

        request_id = new_id()
        body = msgspec.json.encode({"error": {"code": code, "message": message, "request_id": request_id}})
        return self.send(sink, status, JSON, body, ("x-streamward-error", code), request_id=request_id)

    def send(
        self, sink: Sink, status: int, kind: str, body: bytes, *more: tuple[str, str], request_id: str | None = None
    ) -> Exchange:  # fmt: skip
        from streamward.functions.host import Answered

        own = self.id_fields(request_id)
        fields = [("content-type", kind), ("cache-control", "no-store"), ("server", "streamward"), *own, *more]
        if status == 401:
            fields.append(("www-authenticate", "Bearer"))
        sink.start(status, render_fields(fields), length=len(body))
        sink.finish(body)
        return Answered()

    def id_fields(self, request_id: str | None = None) -> list[tuple[str, str]]:
        from streamward.functions.host import new_id

        return [("x-streamward-id", request_id or new_id()), ("x-content-type-options", "nosniff")]

    def logs(self, request: Request, sink: Sink) -> Exchange:
        query = parse_qs(request.query.decode("latin-1"))
        level = query.get("level", ["debug"])[0]
        since = parse_since(query["since"][0], time.time()) if "since" in query else None
        if level not in LEVELS or ("since" in query and since is None):
            said = f"level is one of {', '.join(LEVELS)}; since is 30s, 5m, 2h or an ISO 8601 time"
            return self.fail(sink, 400, "BAD_REQUEST", said)
        wanted = Filter(query.get("request_id", [None])[0], level, since)
        follow = query.get("follow", ["0"])[0] not in ("0", "", "false")
        last = request.headers.get(b"last-event-id", b"").decode("latin-1")
        fields = [
            ("content-type", "text/event-stream"), ("cache-control", "no-cache, no-transform"), ("x-accel-buffering", "no"),
            ("server", "streamward"), *self.id_fields(),
        ]  # fmt: skip
        sink.start(200, render_fields(fields))
        follower = Follower(self, sink, wanted, follow=follow)
        if not follow or since is not None or last:
            follower.replay(self.host.book.select(wanted, all_of_them=since is not None or bool(last)), last)
        follower.begin()
        return follower

    def close(self) -> None:
        for follower in list(self.followers):
            follower.drain()


READY = {"ready": True}
REFUSED = {
    401: ("UNAUTHORIZED", f"Send authorization: Bearer with the value of {TOKEN_VARIABLE}."),
    403: ("FORBIDDEN", f"Only this machine itself may read this, and no proxy; set {TOKEN_VARIABLE} to read it from elsewhere."),
}


class Follower:
    """One response of ``logs``: retained entries, then new ones as they happen."""

    body_timeout_s = 0.0

    def __init__(self, control: Control, sink: Sink, wanted: Filter, *, follow: bool) -> None:
        self.control = control
        self.sink = sink
        self.follow = follow
        self.paused = False
        self.over = False
        self.scheduled = False
        self.reader = Reader(Filter(wanted.request_id, wanted.level, None), self.wake)
        self.backlog: list[Entry] = []

    def replay(self, entries: list[Entry], last_id: str) -> None:
        """Start with *entries*, those after *last_id* when it is among them."""
        at = next((index + 1 for index, entry in enumerate(entries) if entry.id == last_id), 0)
        self.backlog = entries[at:][::-1]

    def begin(self) -> None:
        self.control.followers.add(self)
        if self.follow:
            self.control.host.book.readers.add(self.reader)
            self.sink.flush_head()
        self.pump()

    def wake(self) -> None:
        """An entry came: write soon, together with those that come in the same turn of the loop."""
        if not self.scheduled and not self.paused:
            self.scheduled = True
            self.control.host.loop.call_soon(self.pump)

    def pump(self) -> None:
        self.scheduled = False
        while not self.paused and not self.over:
            entries: list[Entry] = []
            while self.backlog and len(entries) < BATCH:
                entries.append(self.backlog.pop())
            if not entries:
                entries = self.reader.take(BATCH)
            if not entries:
                break
            self.sink.write(b"".join(b"id: %b\ndata: %b\n\n" % (e.id.encode(), encode(e)) for e in entries))
        if not self.follow and not self.backlog and not self.paused and not self.over:
            self.leave()
            self.sink.finish()

    def leave(self) -> None:
        self.over = True
        self.control.followers.discard(self)
        self.control.host.book.readers.discard(self.reader)

    # -- the exchange

    def body_received(self, data: bytes, /) -> None: ...

    def body_ended(self) -> None: ...

    def disconnected(self) -> None:
        self.leave()

    def pause(self) -> None:
        self.paused = True

    def resume(self) -> None:
        self.paused = False
        self.pump()

    def drain(self) -> None:
        """The server stops: what has been said is sent, then the response ends normally."""
        if not self.over:
            self.paused = False
            self.pump()
            if not self.over:
                self.leave()
                self.sink.finish()


def refusal(request: Request, token: str) -> int:
    """401 or 403 when the caller may not read logs and metrics, else 0."""
    if token:
        given = request.headers.get(b"authorization", b"")
        return 0 if hmac.compare_digest(given, b"Bearer " + token.encode()) else 401
    forwarded = b"x-forwarded-for" in request.headers or b"forwarded" in request.headers
    try:
        local = request.client is not None and ipaddress.ip_address(request.client[0]).is_loopback
    except ValueError:
        local = False
    return 0 if local and not forwarded else 403


def parse_since(text: str, now: float) -> int | None:
    """Milliseconds since the epoch for ``30s``, ``5m``, ``2h`` or an ISO 8601 time; None when it is neither."""
    if found := re.fullmatch(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)", text.strip()):
        return int((now - float(found[1]) * UNITS[found[2]]) * 1000)
    try:
        parsed = datetime.fromisoformat(text.strip().replace(" ", "+") if "T" in text else text.strip())
    except ValueError:
        return None
    return int(parsed.timestamp() * 1000)
