"""The gateway put together: one object that is the data plane's application and an ASGI application at once.

Streaming routes are taken in ``open_exchange``; everything else goes to the Starlette routes of ``control``. All state
is made in ``start`` and closed in ``stop`` (the ASGI lifespan does both).
"""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import signal
import sys
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from prometheus_client.registry import Collector
from starlette.applications import Starlette
from starlette.routing import BaseRoute

from streamward.dataplane.exchange import Exchange, Request, Sink
from streamward.dataplane.head import Limits
from streamward.dataplane.pool import Pool
from streamward.dataplane.ticker import Ticker, ticker_of
from streamward.errors import ErrorInfo, StreamwardError
from streamward.gateway.admission import Admission
from streamward.gateway.ai_gateway import ai_gateway_routes
from streamward.gateway.auth import Caller, StaticKeys
from streamward.gateway.config import Config, load
from streamward.gateway.config import Server as ServerTable
from streamward.gateway.continuation import cost_of_legs
from streamward.gateway.control import control_routes
from streamward.gateway.durable_calls import Durable
from streamward.gateway.exchange import JSON_FIELDS, OVERLOADED, CallExchange, too_large
from streamward.gateway.health_metrics import HealthMetrics
from streamward.gateway.ids import Ids
from streamward.gateway.key_ring import KeyRing
from streamward.gateway.memory import allowed_bytes, resident_bytes
from streamward.gateway.metrics import Metrics
from streamward.gateway.opening import CALL_ROUTES, Opening
from streamward.gateway.places import EXPOSED, PREFLIGHT, Places
from streamward.gateway.plan import Routes, timeouts
from streamward.gateway.prices import Prices, cost_usd
from streamward.gateway.records import AccessLog, Record
from streamward.gateway.response_routes import response_routes
from streamward.gateway.responses import Responses
from streamward.gateway.storage import Storage
from streamward.gateway.stream_routes import open_reader, reads_stream, stream_routes
from streamward.gateway.usage import Usage
from streamward.gateway.waiting import WaitingExchange
from streamward.upstream.attempts import Target
from streamward.upstream.cards import price_of
from streamward.upstream.health import Health
from streamward.upstream.local import LocalEngine, LocalEngineError
from streamward.upstream.local_upstream import LocalUpstream
from streamward.wire import json_text
from streamward.wire.chat_completions import render_error
from streamward.wire.splice import Splice

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

    from streamward.gateway.peers import Peers

REDIS_SCHEMES = frozenset({"redis", "rediss", "unix", "valkey", "valkeys"})

log = logging.getLogger("streamward.gateway")


class Active(Protocol):
    """A request being served."""

    record: Record

    def drain(self) -> None: ...

    def tick(self, now: float, /) -> None: ...


class Gateway:
    """The gateway. Serve it with ``streamward serve``, or mount it: it is an ASGI application."""

    def __init__(
        self, config: Config, *, config_path: Path | None = None, environ: Mapping[str, str] | None = None,
        open_access: bool = False, local_model: Path | None = None, local_name: str = "local/tiny",
        extra_routes: Sequence[BaseRoute] = (), access_log: AccessLog | None = None, owns_process: bool = False,
        dev: bool = False, peers_folder: Path | None = None,
    ) -> None:  # fmt: skip
        self.config = config
        self.config_path = config_path
        self.environ = environ
        self.open_access = open_access
        self.owns_process = owns_process
        """We may set signal handlers and tune the garbage collector; not so when mounted in somebody's application."""
        self.dev = dev
        self.peers_folder = peers_folder
        """Where the workers of one server find each other's figures; None for a worker alone."""
        self.peers: Peers | None = None
        self.local_model = local_model or local_path(config)
        self.local_name = local_name
        self.metrics = Metrics()
        self.health = Health()
        self.metrics.registry.register(HealthMetrics(self.health))
        self.access_log = access_log or AccessLog(config.logging.format)
        self.limits = head_limits(config)
        self.workers = config.server.workers
        self.draining = False
        self.ready = False
        self.ids = Ids()
        self.active: set[Active] = set()
        self.readiness: Callable[[], str] = str  # of what runs beside us: "" is ready
        self.lag_s = 0.0
        self.memory_bytes = 0
        self.crowded = False  # it is more than we may have
        self.config_stamp: tuple[int, int] | None = None
        self.background: set[asyncio.Task[None]] = set()
        self.loop: asyncio.AbstractEventLoop = None  # type: ignore[assignment] # these are set by start
        self.ticker: Ticker = None  # type: ignore[assignment]
        self.pool: Pool = None  # type: ignore[assignment]
        self.routes: Routes = None  # type: ignore[assignment]
        self.durable: Durable = None  # type: ignore[assignment]
        self.storage: Storage = None  # type: ignore[assignment]
        self.responses: Responses = None  # type: ignore[assignment]
        self.keys: KeyRing = None  # type: ignore[assignment]
        self.usage: Usage = None  # type: ignore[assignment]
        self.admission: Admission = None  # type: ignore[assignment]
        self.engine: LocalEngine | None = None
        self.lag_timer: asyncio.TimerHandle | None = None
        self.opened = AsyncExitStack()
        self.places = places(config)
        own = [stream_routes(self), response_routes(self), ai_gateway_routes(self), control_routes(self)]
        self.asgi = Starlette(routes=[*itertools.chain.from_iterable(own), *extra_routes])

    # -- life

    async def start(self) -> None:
        """Make everything that needs an event loop. The local model loads in the background."""
        self.loop = asyncio.get_running_loop()
        self.ticker = ticker_of(self.loop)
        self.pool = Pool()
        self.storage = await self.opened.enter_async_context(Storage(self.config.storage.url))
        self.keys = KeyRing(self.static_keys(), self.storage.keys, self.spawn)
        await self.start_accounts()
        self.durable = Durable(self.config, self.spawn)
        await self.opened.enter_async_context(self.durable.streams)
        self.responses = Responses(self.config, self.storage, self.durable)
        self.spawn(self.responses.upkeep())
        self.routes = Routes(self.config, self.pool, self.environ, self.health)
        if self.local_model is not None:
            self.engine = LocalEngine(self.local_model, name=self.local_name)
            self.routes.upstreams["local"] = self.local_upstream()
            self.spawn(self.load_engine(self.engine))
        self.metrics.gauge("streamward_streams_active", "Calls being served.", lambda: len(self.active))
        self.metrics.gauge("streamward_upstream_connections", "Open upstream connections.", lambda: len(self.pool.open))
        self.metrics.gauge("streamward_upstream_connections_opened", "Made since start.", lambda: self.pool.opened)
        self.metrics.gauge("streamward_upstream_calls", "Sent since start.", lambda: self.pool.calls)
        self.metrics.gauge("streamward_durable_streams", "Being written here.", lambda: len(self.durable.calls))
        self.metrics.gauge("streamward_storage_dropped", "Writes lost.", lambda: self.storage.database.dropped)
        self.metrics.gauge("streamward_memory_bytes", "Resident memory.", lambda: self.memory_bytes)
        self.metrics.gauge("streamward_event_loop_lag_seconds", "Latest lag of the event loop.", lambda: self.lag_s)
        if self.config_path is not None:
            self.config_stamp = stamp(self.config_path)
        self.measure_lag(self.loop.time())
        if self.peers_folder is not None and sys.platform != "win32":
            from streamward.gateway.peers import Peers, fold

            await asyncio.to_thread(fold, self.peers_folder)
            self.peers = await self.opened.enter_async_context(Peers(self.peers_folder, self.metrics.registry.collect))
        if self.owns_process:
            self.own_process()
        self.ready = True

    async def start_accounts(self) -> None:
        """What keys use: counted, reserved, written down."""
        self.usage = Usage(self.storage.usage, retention_s=self.config.storage.usage_retention_s)
        self.opened.push_async_callback(self.usage.aclose)
        self.spawn(self.usage.run())
        await asyncio.to_thread(price_of, "")  # reads the file of prices
        shared = None
        if self.config.streams.store.partition(":")[0] in REDIS_SCHEMES:
            from streamward.gateway.limits_redis import RedisLimiter

            shared = await self.opened.enter_async_context(RedisLimiter(self.config.streams.store, self.usage))
        self.admission = Admission(
            self.usage, Prices(self.config.prices), self.spawn, workers=self.workers, shared=shared
        )  # fmt: skip
        self.metrics.gauge("streamward_access_records_dropped", "Records nobody read.", lambda: self.access_log.dropped)
        self.metrics.gauge("streamward_usage_dropped", "Usage rows lost.", lambda: self.usage.dropped)
        self.metrics.gauge("streamward_usage_waiting", "Usage rows not written yet.", lambda: len(self.usage.rows))
        self.metrics.gauge("streamward_limited", "Calls refused by a key's limits.", lambda: self.admission.refusals)

    def static_keys(self) -> StaticKeys:
        """The keys of the present configuration."""
        auth, limits = self.config.auth, self.config.limits
        return StaticKeys(auth.keys, required=auth.required and not self.open_access, limits=limits.per_key())

    def own_process(self) -> None:
        if self.config_path is not None and sys.platform != "win32":
            self.loop.add_signal_handler(signal.SIGHUP, self.reload)
        # What lives from start to end is not looked at again, and young garbage is collected in larger lots.
        gc.collect()
        gc.freeze()
        gc.set_threshold(GC_YOUNG, 20, 50)

    async def stop(self) -> None:
        self.ready = False
        if self.owns_process and self.active:
            await self.finish_calls()
        for task in list(self.background):
            task.cancel()
        if self.lag_timer is not None:
            self.lag_timer.cancel()
        await self.opened.aclose()
        if self.engine is not None:
            await self.engine.stop()
        if self.pool is not None:
            await self.pool.aclose()
        self.access_log.close()

    def local_upstream(self) -> LocalUpstream:
        assert self.engine is not None
        return LocalUpstream(self.engine, self.pool, timeouts(self.config.providers.get("local")))

    async def load_engine(self, engine: LocalEngine) -> None:
        try:
            await engine.start()
        except LocalEngineError as exc:
            engine.failure = engine.failure or str(exc)
            log.error("local_engine_failed", extra={"reason": str(exc)})

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self.loop.create_task(work)
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    def measure_lag(self, due: float) -> None:
        self.lag_s = max(self.loop.time() - due, 0.0)
        self.measure_memory()
        if self.config_path is not None and (now := stamp(self.config_path)) != self.config_stamp:
            self.config_stamp = now
            self.reload()
        self.lag_timer = self.loop.call_later(LAG_PERIOD_S, self.measure_lag, self.loop.time() + LAG_PERIOD_S)

    def measure_memory(self) -> None:
        self.memory_bytes = resident_bytes()
        allowed = allowed_bytes(self.config.limits.max_memory_bytes, self.workers)
        crowded = 0 < allowed < self.memory_bytes
        if crowded and not self.crowded:
            log.error("memory_full", extra={"bytes": self.memory_bytes, "allowed": allowed})
        self.crowded = crowded

    @property
    def overloaded(self) -> bool:
        """New calls are refused until others have ended."""
        return self.crowded or len(self.active) >= self.config.limits.max_concurrent_streams

    @property
    def drain_s(self) -> float:
        """How long running streams may go on at the end; whoever develops does not wait for them unless asked to."""
        configured = self.config.server.drain_s
        return DEV_DRAIN_S if self.dev and configured == ServerTable().drain_s else configured

    def begin_drain(self) -> None:
        """Stop taking calls; those that run may go on for ``server.drain_s``, then end with ``server_shutdown``."""
        if self.draining:
            return
        self.draining = True
        self.loop.call_later(self.drain_s, self.end_all)

    async def finish_calls(self) -> None:
        """Durable calls whose clients are gone hold no connection: the server did not wait for them, so we do."""
        self.begin_drain()
        deadline = self.loop.time() + self.drain_s + END_S
        while self.active and self.loop.time() < deadline:  # noqa: ASYNC110 - at the end of a process, once
            await asyncio.sleep(0.02)

    def end_all(self) -> None:
        for exchange in list(self.active):
            exchange.drain()

    def reload(self) -> None:
        """Read the configuration file again. Running streams keep what they have; a bad edit changes nothing."""
        if self.config_path is None:
            return
        try:
            config = load(self.config_path, self.environ)
            routes = Routes(config, self.pool, self.environ, self.health)
        except StreamwardError as exc:
            log.error("config_reload_refused", extra={"reason": str(exc)})
            return
        self.config = config
        self.limits = head_limits(config)  # of connections made from now on
        self.keys.replace(self.static_keys())
        self.admission.prices = Prices(config.prices)
        if self.engine is not None:
            routes.upstreams["local"] = self.local_upstream()
        self.routes = routes
        self.places = places(config)
        log.info("config_reloaded", extra={"file": str(self.config_path)})

    def join(self, collector: Collector, readiness: Callable[[], str]) -> None:
        """Report *collector*'s metrics with ours, and be ready only while *readiness* names no reason not to be."""
        self.metrics.registry.register(collector)
        self.readiness = readiness

    async def figures(self) -> bytes:
        """The metrics of all workers of this server, as text for Prometheus."""
        return await self.peers.render() if self.peers is not None else self.metrics.render()

    # -- the data plane's application

    def open_exchange(self, request: Request, sink: Sink) -> Exchange | None:
        memo = request.memo
        known: Opening | None = memo.value if memo is not None else None
        if known is not None and known.holds(self.config, self.keys.static):
            return self.serve(known, request, sink)
        refusal = self.places.refused_host(request)
        if refusal is not None:
            fields = JSON_FIELDS + self.note_refusal(refusal.status, refusal.code)
            self.answer_error(sink, refusal, render_error(refusal), fields)
            return None
        cors = self.places.cors_fields(request)
        if request.method == "OPTIONS" and request.path.startswith("/v1/") and b"origin" in request.headers:
            granted = cors + PREFLIGHT if cors else b""
            sink.start(204, b"x-streamward-id: %b\r\n%b" % (self.ids.next().encode(), granted), length=0)
            sink.finish()
            return None
        if (request.path not in CALL_ROUTES or request.method != "POST") and not reads_stream(request):
            return None
        caller: Caller | ErrorInfo | None
        try:
            caller = self.keys.caller(request)
        except StreamwardError as exc:
            caller = exc.info
        if caller is None:
            return WaitingExchange(self, request, sink, cors)
        return self.open_for(request, sink, cors, caller)

    def open_for(self, request: Request, sink: Sink, cors: bytes, caller: Caller | ErrorInfo) -> Exchange:
        """The exchange of a request whose caller is known, or is told why not."""
        if request.method != "POST":
            return open_reader(self, request, sink, cors, caller)
        opening = Opening(request, self.config, self.keys.static, caller, cors)
        if request.memo is not None and opening.refused is None and self.keys.is_static(request):
            request.memo.value = opening
        return self.serve(opening, request, sink)

    def serve(self, opening: Opening, request: Request, sink: Sink) -> Exchange:
        exchange = opening.kind(self, request, sink, opening.dialect, opening.caller, opening.cors)
        exchange.continues = opening.continues
        problem = opening.refused or self.refused_call(request, opening.caller) or opening.bad_body
        if problem is not None:
            exchange.refuse(problem)
        return exchange

    def refused_call(self, request: Request, caller: Caller) -> ErrorInfo | None:
        """Why this call is answered before its body is read, whatever its head says otherwise."""
        if self.draining:
            return ErrorInfo("server_shutdown", "the server is shutting down; use another one", 503, retry_after_s=1)
        if self.overloaded:
            return OVERLOADED
        if caller.limits is not None and (early := self.admission.refused_early(caller)) is not None:
            return early
        limit = self.config.limits.max_body_bytes
        if request.content_length is not None and request.content_length > limit:
            return too_large(limit)
        return None

    def answer_error(self, sink: Sink, error: ErrorInfo, body: dict[str, Any], fields: bytes) -> None:
        raw = json_text.encode(body)
        if error.retry_after_s is not None:
            fields += b"retry-after: %d\r\n" % max(1, round(error.retry_after_s))
        if error.status == 401:
            fields += b"www-authenticate: Bearer\r\n"
        sink.start(error.status, fields, length=len(raw))
        sink.finish(raw)

    def render_refusal(self, status: int, code: str, message: str) -> tuple[bytes, bytes]:
        """(header fields, body) for bytes that are no request we serve: the data plane asks."""
        body = json_text.encode(render_error(ErrorInfo(code, message, status)))
        return JSON_FIELDS + self.note_refusal(status, code), body

    def note_refusal(self, status: int, code: str) -> bytes:
        """Book a request that got no further than its head; its id as a header line."""
        record = Record(time=time.time(), id=self.ids.next(), route="-", status=status, ending="refused", code=code)
        self.metrics.book(record)
        self.access_log.write(record)
        return b"x-streamward-id: %b\r\n" % record.id.encode()

    # -- bookkeeping of calls

    def begin(self, exchange: Active) -> None:
        self.active.add(exchange)

    def end(self, exchange: Active) -> None:
        self.active.discard(exchange)
        self.ticker.discard(exchange)
        self.metrics.book(exchange.record)
        self.access_log.write(exchange.record)

    def settle(self, call: CallExchange) -> None:
        """Price a call that went to a provider, count it against its key and keep it, once: its end is now."""
        record = call.record
        given, answered = record.input_tokens or 0, record.output_tokens or 0
        if isinstance(call.relay, Splice) and call.relay.legs:
            record.cost_usd = cost_of_legs(record, call.relay, self.admission.prices)
        elif given or answered or record.grade != "none":
            price = self.admission.prices.of(record.target)
            if price is not None:
                record.cost_usd = cost_usd(price, given, answered, record.cached_tokens or 0)
        if call.grant is not None:
            call.grant.settle(given + answered, record.cost_usd or 0.0)
        self.usage.book(record, call.caller.name)

    def failed_try(self, target: Target, error: ErrorInfo) -> None:
        """A try at *target* failed, or its stream broke off."""
        self.metrics.upstream_errors.add(target.name, error.code)
        self.health.failed(target.name, time.monotonic(), error)

    def book_health(self, record: Record, ttft_s: float) -> None:
        """How the target of a call that is over did; *ttft_s* of the try that answered."""
        if record.ending == "finished":
            took_s = record.duration_ms / 1000 - ttft_s
            tps = record.output_tokens / took_s if record.output_tokens and record.stream and took_s > MIN_TIMED_S else None
            self.health.succeeded(record.target, time.monotonic(), ttft_s if record.stream else None, tps)
        elif self.health.troubled:
            self.health.released(record.target)

    async def authenticated(self, headers: Mapping[str, str]) -> Caller:
        """The caller of a request that came through ASGI. Raises AuthenticationFailed, StorageUnavailable."""
        pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in headers.items()]
        request = Request(
            method="GET", path="", raw_path=b"", query=b"", header_list=pairs, headers=dict(pairs), content_length=0,
            http_minor=1, client=None, server=None, scheme="http",
        )  # fmt: skip
        return await self.caller_of(request)

    async def caller_of(self, request: Request) -> Caller:
        """Who sent *request*, looked up if need be. Raises AuthenticationFailed, StorageUnavailable, Overloaded."""
        return self.keys.caller(request) or await self.keys.find(request)

    # -- ASGI

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self.lifespan(receive, send)
        elif scope["type"] == "http" and not scope.get("extensions", {}).get("streamward"):
            from streamward.asgi import serve_exchange

            await serve_exchange(self, self.serve_control, scope, receive, send)
        else:
            await self.serve_control(scope, receive, send)

    async def serve_control(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The control routes: with an id, CORS fields where the origin is allowed, and a record if it is an API route."""
        if scope["type"] != "http":
            await self.asgi(scope, receive, send)
            return
        headers = dict(scope["headers"])
        record = Record(time=time.time(), id=self.ids.next(), route=control_route(scope["path"]))
        extra = [(b"x-streamward-id", record.id.encode())]
        origin = headers.get(b"origin")
        if origin is not None and self.places.allows_origin(origin):
            extra += [(b"access-control-allow-origin", origin), (b"vary", b"origin"), EXPOSED]

        async def send_with(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                message = {**message, "headers": [*message.get("headers", ()), *extra]}
            await send(message)

        started = self.loop.time()
        await self.asgi(scope, receive, send_with)
        if record.route:
            record.duration_ms = (self.loop.time() - started) * 1000
            record.ending = "finished" if record.status < 400 else "refused"
            self.metrics.book(record)
            self.access_log.write(record)

    async def lifespan(self, receive: Receive, send: Send) -> None:
        await receive()
        try:
            await self.start()
        except Exception as exc:
            await send({"type": "lifespan.startup.failed", "message": str(exc)})
            raise
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.stop()
        await send({"type": "lifespan.shutdown.complete"})


def stamp(path: Path) -> tuple[int, int] | None:
    """Changes when the file does; None while there is none (an editor may be writing it)."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size


LAG_PERIOD_S = 1.0
DEV_DRAIN_S = 1.0
END_S = 2.0  # beyond the drain, for calls to hear that it is over
MIN_TIMED_S = 0.05  # shorter answers say nothing about a target's speed
GC_YOUNG = 10_000  # allocations; reference counts free what streams make, cycles are rare
def places(config: Config) -> Places:
    return Places(config.server.allowed_hosts, config.server.cors_origins)


def head_limits(config: Config) -> Limits:
    return Limits(max_head_bytes=config.limits.max_head_bytes, head_timeout_s=config.limits.head_timeout_s)


def control_route(path: str) -> str:
    """The route a control request is booked under; empty for probes, figures and pages, which are not."""
    if not path.startswith("/v1/"):
        return ""
    return "/v1/models" if path.startswith("/v1/models") else "/v1/*"  # not the path itself: clients choose that


def local_path(config: Config) -> Path | None:
    table = config.providers.get("local")
    return Path(table.model) if table is not None and table.model is not None else None


GatewayFactory = Callable[[], Gateway]
