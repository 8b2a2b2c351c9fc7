"""The functions host: everything of one project folder, for one server process.

Built by the command line, asked by the data plane: ``open_exchange`` takes the requests that are for functions or for
the control endpoints. Follows the functions host contract.
"""

from __future__ import annotations

import asyncio
import logging
import os
import re
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from streamward.dataplane.exchange import Exchange, Request, Sink, render_fields
from streamward.functions import failures, link
from streamward.functions.changes import Watcher, apply_changes
from streamward.functions.control import Control
from streamward.functions.drains import DrainService
from streamward.functions.env import mode_name, read_environment
from streamward.functions.headers import Fields, inbound, parse_networks
from streamward.functions.invocation import Invocation
from streamward.functions.logs import Entry, LogBook, Origin, RequestMark
from streamward.functions.metrics import Labels, Metrics
from streamward.functions.otel import Tracer
from streamward.functions.pool import Lane, Pool
from streamward.functions.processes import WorkerProcess, Zygote, raise_file_limit
from streamward.functions.router import Match, Route, Router
from streamward.functions.scan import Scan, scan

TICK_S = 0.1  # freezes, unfinished lines
MEMORY_TICKS = 10  # memory is sampled every second
DEV_DRAIN_S, SERVE_DRAIN_S = 1.0, 30.0
SWITCH_S = 0.001  # how long the threads of drains and console may keep the loop from the interpreter
CUT_S = 1.0  # for workers to report the end of streams cut by shutdown
STOP_S = 6.0  # lifespan shutdown and a little
RETRY_AFTER_S = 1

log = logging.getLogger("streamward.functions")


class Answered:
    """The exchange of a request that was answered at once."""

    body_timeout_s = 0.0

    def body_received(self, data: bytes, /) -> None: ...
    def body_ended(self) -> None: ...
    def disconnected(self) -> None: ...
    def pause(self) -> None: ...
    def resume(self) -> None: ...
    def drain(self) -> None: ...


class FunctionsHost:
    """All functions of *folder*. ``start`` before the first request, ``drain`` and ``stop`` at the end."""

    def __init__(
        self, folder: str | Path, *, command: str = "dev", address: tuple[str, int] = ("127.0.0.1", 8787),
        environ: Mapping[str, str] | None = None,
    ) -> None:  # fmt: skip
        self.folder = Path(folder).resolve()
        self.development = command == "dev"
        self.real_environment = dict(os.environ if environ is None else environ)
        self.mode = mode_name(command, self.real_environment)
        self.address = address
        self.environment: dict[str, str] = {}
        self.warnings: tuple[str, ...] = ()
        self.read_environment()
        self.scan: Scan = scan(self.folder, self.environment)
        self.config = self.scan.project.host
        self.add_vercel_environment()
        self.router = Router(self.scan.routes, self.scan.project.rewrites)
        self.trusted = parse_networks(self.config.trusted_proxies)
        self.metrics = Metrics()
        self.metrics.gauge_sources.append(self.gauges)
        project = self.config.project or self.folder.name
        self.book = LogBook(Origin(socket.gethostname(), project, self.mode, "dpl_" + secrets.token_hex(8)))
        state = self.config.state_dir
        self.state_dir = (self.folder / state) if state else self.folder / ".streamward"
        self.drains = DrainService(self.scan.project.drains, self.state_dir, self.config.spool_max_bytes, self.metrics)
        self.control = Control(self)
        self.tracer = Tracer.from_environment(self.real_environment)
        self.pools: dict[str, Pool] = {}
        self.lanes: dict[str, Lane] = {}
        self.invocations: set[Invocation] = set()
        self.idle = asyncio.Event()
        self.draining = False
        self.started = False
        self.watcher: Watcher | None = None
        self.ticks = 0
        self.ticker: asyncio.TimerHandle | None = None
        self.cutter: asyncio.TimerHandle | None = None
        self.loop: asyncio.AbstractEventLoop
        self.zygote: Zygote

    # -- life

    async def start(self) -> None:
        """Start workers and drains; returns when every worker is ready or has failed (bounded by init_timeout)."""
        self.loop = asyncio.get_running_loop()
        raise_file_limit()
        sys.setswitchinterval(min(sys.getswitchinterval(), SWITCH_S))
        self.zygote = Zygote(self.loop)
        self.zygote.start()
        if self.scan.project.drains:
            self.drains.start()
            self.book.sinks.append(self.drains.offer)
        self.announce()
        self.build_pools()
        self.ticker = self.loop.call_later(TICK_S, self.tick)
        waits = [pool.ready_once.wait() for pool in self.pools.values()]
        try:
            async with asyncio.timeout(self.config.init_timeout + 1):
                await asyncio.gather(*waits)
        except TimeoutError:
            log.warning("functions_slow_start")
        self.started = True
        if self.development:
            self.watcher = Watcher(self)
            await self.watcher.start()

    def announce(self) -> None:
        for warning in self.warnings:
            self.say("warning", warning)
        for problem in self.scan.problems:
            self.say("error", str(problem))
        for route in self.scan.routes:
            if route.ignored:
                self.say("info", f"{route.file}: {', '.join(route.ignored)}: accepted, no effect here")

    def build_pools(self) -> None:
        routes = [route for route in self.scan.routes if route.problem is None]
        if self.config.isolation == "app":
            if routes:
                self.add_pool("app", routes)
        else:
            for route in routes:
                self.add_pool(route.file, [route])

    def add_pool(self, key: str, routes: list[Route]) -> None:
        pool = self.pools[key] = Pool(self, key, routes)
        self.lanes.update(pool.lanes)
        pool.start()

    @property
    def drain_s(self) -> float:
        """How long running responses may go on at the end: ``[server] drain_s``, else by command."""
        stated = self.config.drain_s
        return stated if stated is not None else DEV_DRAIN_S if self.development else SERVE_DRAIN_S

    def begin_drain(self) -> None:
        """Refuse new requests; what runs may go on for ``drain_s``, then it is cut. May be called more than once."""
        self.draining = True
        if self.cutter is None:
            self.cutter = self.loop.call_later(self.drain_s, self.cut_all)
            self.control.close()

    def cut_all(self) -> None:
        for invocation in list(self.invocations):
            invocation.drain()

    async def drain(self, seconds: float) -> None:
        """Refuse new requests, let running ones go on for *seconds*, then cut them."""
        self.draining = True
        await self.wait_idle(seconds)
        self.cut_all()
        await self.wait_idle(CUT_S)

    async def wait_idle(self, seconds: float) -> None:
        self.idle.clear()
        if self.invocations:
            try:
                async with asyncio.timeout(seconds):
                    await self.idle.wait()
            except TimeoutError:
                pass

    async def stop(self) -> None:
        """End workers (lifespan shutdown included), flush drains, leave no process behind."""
        self.begin_drain()
        await self.drain(self.drain_s)  # wait_until work outlives its connection
        if self.watcher is not None:
            await self.watcher.stop()
        for pool in self.pools.values():
            pool.close()
        limit = self.loop.time() + STOP_S
        while self.zygote.workers and self.loop.time() < limit:  # noqa: ASYNC110 (bounded, at the end of a life)
            await asyncio.sleep(0.01)
        if self.ticker is not None:
            self.ticker.cancel()
        workers, self.zygote.workers = list(self.zygote.workers.values()), {}
        await self.loop.run_in_executor(None, self.zygote.stop)
        for worker in workers:
            worker.exited(-9)
        self.control.close()
        await self.loop.run_in_executor(None, self.drains.stop)
        self.tracer.close()

    def tick(self) -> None:
        self.ticker = self.loop.call_later(TICK_S, self.tick)
        self.ticks += 1
        now = self.loop.time()
        for pool in list(self.pools.values()):
            pool.tick(now)
            if self.ticks % MEMORY_TICKS == 0:
                pool.sample_memory()

    # -- requests

    def open_exchange(self, request: Request, sink: Sink) -> Exchange | None:
        """Take *request* if it is for a function or a control endpoint; None leaves it to others."""
        if request.raw_path.startswith(b"/_streamward/") or request.raw_path == b"/_streamward":
            return self.control.open(request, sink)
        match = self.match(request.raw_path)
        return None if match is None else self.serve(match, request, sink)

    def match(self, raw_path: bytes | str) -> Match | None:
        return self.router.match(raw_path.decode("latin-1") if isinstance(raw_path, bytes) else raw_path)

    def not_found(self, request: Request, sink: Sink) -> Exchange:
        """The answer for a path nobody serves."""
        self.refuse(request, sink, new_id(), "NOT_FOUND")
        return Answered()

    def serve(self, match: Match, request: Request, sink: Sink) -> Exchange:
        route, request_id = match.route, new_id()
        arrived = inbound(
            request.header_list, client=request.client, scheme=request.scheme, trusted=self.trusted, request_id=request_id
        )
        lane = self.lanes.get(route.file)
        problem = route.problem
        if lane is None or (problem is not None and not lane.stale):
            mark = RequestMark(request_id, request.raw_path.decode("latin-1"), request.method, route.file, arrived.trace_id)
            return self.turn_away(mark, request, sink, "FUNCTION_INVOCATION_FAILED", detail=str(problem or ""), plain=True)
        call = method_to_call(lane, request.method)
        invocation = Invocation(self, lane, match, request, sink, arrived, request_id, call or request.method)
        refusal = self.refusal(lane, request, call)
        if refusal:
            return self.turn_away(invocation.mark, request, sink, refusal[0], detail=refusal[1], lane=lane)
        self.invocations.add(invocation)
        if not lane.admit(invocation):
            invocation.fail("FUNCTION_THROTTLED", "")
        elif invocation.worker is None and not invocation.ended:
            invocation.wait()
        return invocation

    def refusal(self, lane: Lane, request: Request, call: str | None) -> tuple[str, str] | None:
        """(code, detail) when the request is not even queued."""
        if self.draining:
            return "SERVER_DRAINING", ""
        if call is None:
            return "INVALID_REQUEST_METHOD", ""
        if request.content_length is not None and request.content_length > self.config.max_body_bytes:
            return "FUNCTION_PAYLOAD_TOO_LARGE", ""
        if len(self.invocations) >= self.config.max_in_flight:
            return "FUNCTION_THROTTLED", ""
        if lane.error and not lane.pool.retry_import(lane):
            return "FUNCTION_INVOCATION_FAILED", lane.error
        return None

    def turn_away(
        self, mark: RequestMark, request: Request, sink: Sink, code: str, *, detail: str = "", lane: Lane | None = None,
        plain: bool = False,
    ) -> Exchange:  # fmt: skip
        """Answer without a worker; counted and reported like any invocation."""
        options = request.method == "OPTIONS" and code == "INVALID_REQUEST_METHOD"
        allow = allowed(lane) if lane is not None and code == "INVALID_REQUEST_METHOD" else ""
        if options:
            fields: list[tuple[str | bytes, str | bytes]] = [("allow", allow), ("server", "streamward")]
            fields += self.response_fields(mark.request_id)
            sink.start(204, render_fields(fields))
            sink.finish()
        else:
            self.metrics.count("streamward_errors", mark.entrypoint, code)
            self.refuse(request, sink, mark.request_id, code, detail=detail, allow=allow, plain=plain)
        status = 204 if options else failures.STATUS[code]
        outcome = "ok" if options else "throttled" if code == "FUNCTION_THROTTLED" else "error"
        self.metrics.count("streamward_invocations", mark.entrypoint, outcome)
        self.report(mark, "front", outcome, status, 0.0, None, 0, "" if options else code)
        return Answered()

    def refuse(
        self, request: Request, sink: Sink, request_id: str, code: str, *, detail: str = "", allow: str = "",
        plain: bool = False,
    ) -> None:  # fmt: skip
        """An error response made by the host. *detail* is shown in development only."""
        accept = request.headers.get(b"accept", b"").decode("latin-1")
        shown = detail if self.development else ""
        kind, body = failures.render(code, request_id, accept, detail=shown)
        if plain and shown and kind.startswith("text/plain"):
            body += f"\n{shown}\n".encode()
        fields: list[tuple[str | bytes, str | bytes]] = [
            ("content-type", kind), ("cache-control", "no-store"), ("x-content-type-options", "nosniff"),
            ("server", "streamward"), ("x-streamward-error", code), *self.response_fields(request_id),
        ]  # fmt: skip
        if self.config.vercel_compat:
            fields.append(("x-vercel-error", code))
        if failures.STATUS[code] == 503:
            fields.append(("retry-after", str(RETRY_AFTER_S)))
        if allow:
            fields.append(("allow", allow))
        sink.start(failures.STATUS[code], render_fields(fields), length=len(body))
        sink.finish(body)

    def response_fields(self, request_id: str, *, stale: bool = False) -> Fields:
        """What every response carries."""
        fields = [(b"x-streamward-id", request_id.encode())]
        if self.config.vercel_compat:
            fields.append((b"x-vercel-id", request_id.encode()))
        if stale:
            fields.append((b"x-streamward-stale", b"1"))
        return fields

    def finished(self, invocation: Invocation) -> None:
        """An invocation is over, its worker's part included."""
        now = self.loop.time()
        self.invocations.discard(invocation)
        if not self.invocations:
            self.idle.set()
        file = invocation.file
        self.metrics.count("streamward_invocations", file, invocation.outcome)
        self.metrics.observe("streamward_invoke_duration_seconds", file, now - invocation.arrived_at)
        if invocation.chunks:
            self.metrics.count("streamward_stream_chunks", file, by=invocation.chunks)
            self.metrics.count("streamward_stream_bytes", file, by=invocation.sent_bytes)
        first = invocation.first_byte_at - invocation.arrived_at if invocation.chunks else None
        self.report(
            invocation.mark, invocation.served_by, invocation.outcome, invocation.status, now - invocation.arrived_at,
            first, invocation.sent_bytes, invocation.code,
        )  # fmt: skip
        self.tracer.record(invocation)
        invocation.lane.advance()

    def report(
        self, mark: RequestMark, instance: str, outcome: str, status: int, seconds: float, first: float | None, size: int,
        code: str,
    ) -> None:  # fmt: skip
        level = "info" if outcome in ("ok", "cancelled") else "error"
        said = f"{mark.method} {mark.path} {status} {outcome} in {seconds * 1000:.0f} ms"
        entry = self.book.make(level, said, "report", mark, instance)
        entry.outcome, entry.status_code, entry.duration_ms = outcome, status, round(seconds * 1000, 3)
        entry.ttfb_ms = None if first is None else round(first * 1000, 3)
        entry.bytes = size
        entry.code = code or None
        self.book.publish([entry])
        self.book.remember(mark)

    # -- what workers say

    def say(self, level: str, message: str, instance: str = "front", *, code: str | None = None) -> None:
        """A log entry of the host itself, or about a worker."""
        self.book.add(level, message, instance=instance, code=code)

    def mark_of(self, worker: WorkerProcess, request_id: str | None) -> RequestMark | None:
        if request_id is None:
            return None
        invocation = worker.invocations.get(request_id)
        return invocation.mark if invocation is not None else self.book.finished.get(request_id)

    def take_records(self, key: str, worker: WorkerProcess, records: list[link.LogRecord]) -> None:
        self.metrics.count("streamward_log_lines", key, by=len(records))
        make, instance = self.book.make, worker.instance
        entries: list[Entry] = []
        for record in records:
            mark = self.mark_of(worker, record.request_id)
            entry = make(record.level, record.message, record.stream, mark, instance, record.timestamp)
            if record.truncated:
                entry.message_truncated = True
            if record.dropped:
                entry.dropped = record.dropped
                self.metrics.count("streamward_log_dropped", key, by=record.dropped)
            entries.append(entry)
        self.book.publish(entries)

    def take_line(self, key: str, worker: WorkerProcess, stream: str, text: str, *, truncated: bool) -> None:
        """A line of a raw descriptor: it belongs to the only request in flight, or to nobody we know."""
        self.metrics.count("streamward_log_lines", key)
        only = next(iter(worker.invocations.values())).mark if len(worker.invocations) == 1 else None
        level = "info" if stream == "stdout" else "error"
        self.book.add(level, text, kind=stream, mark=only, instance=worker.instance, truncated=truncated)

    def take_stacks(self, worker: WorkerProcess, text: str) -> None:
        ids = worker.overdue or set(worker.invocations)
        marks = [worker.invocations[i].mark for i in sorted(ids) if i in worker.invocations]
        why = "did not end in time; where its threads stand" if worker.overdue else "the worker died; its last stacks"
        message = f"{marks[0].entrypoint if marks else 'worker'}: {why}:\n{text}"
        self.book.add("fatal", message, kind="fatal", mark=marks[0] if marks else None, instance=worker.instance)

    # -- state

    def readiness(self) -> str:
        """ "" when ready, else why not: starting, draining, saturated."""
        if self.draining:
            return "draining"
        if not self.started:
            return "starting"
        full = len(self.invocations) >= self.config.max_in_flight
        return "saturated" if full or any(lane.saturated for lane in self.lanes.values()) else ""

    def gauges(self) -> Iterator[tuple[str, Labels, float]]:
        for lane in self.lanes.values():
            yield "streamward_in_flight", (lane.file,), lane.running
            yield "streamward_queued", (lane.file,), len(lane.waiting)
        for pool in self.pools.values():
            yield "streamward_workers", (pool.key,), len(pool.workers)
            yield "streamward_worker_memory_bytes", (pool.key,), sum(w.memory_bytes for w in pool.workers)
        for name, backlog in self.drains.backlogs():
            yield "streamward_drain_backlog", (name,), backlog

    # -- change

    def read_environment(self) -> None:
        found = read_environment(self.folder, self.mode, self.real_environment)
        self.environment, self.warnings = found.variables, found.warnings

    def add_vercel_environment(self) -> None:
        if self.config.vercel_compat:
            env = "development" if self.development else "production"
            url = f"{self.address[0]}:{self.address[1]}"
            self.environment |= {"VERCEL": "1", "VERCEL_ENV": env, "VERCEL_REGION": "dev1", "VERCEL_URL": url}

    def apply(self, changed: set[str]) -> None:
        apply_changes(self, changed)


def new_id() -> str:
    return secrets.token_hex(12)


def method_to_call(lane: Lane, method: str) -> str | None:
    """The method function that answers *method*, or None when the function does not know it."""
    methods = lane.methods
    if lane.kind not in ("methods", "handler") or "*" in methods or method in methods:
        return method
    return "GET" if method == "HEAD" and "GET" in methods else None


def allowed(lane: Lane) -> str:
    names = list(lane.methods)
    if "GET" in names and "HEAD" not in names:
        names.append("HEAD")
    if "OPTIONS" not in names:
        names.append("OPTIONS")
    return ", ".join(name for name in names if re.fullmatch(r"[A-Za-z0-9_-]+", name))
