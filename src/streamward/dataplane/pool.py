"""Connections to upstreams: made once, reused, never shared by two calls at a time.

No limit on their number (a pool that caps at 100 fails half of 200 streams); idle ones are bounded in number and time.
``HTTPS_PROXY``, ``HTTP_PROXY`` and ``NO_PROXY`` are honoured, TLS is always verified (``SSL_CERT_FILE`` adds trust).
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl

from streamward.dataplane.client import Connection, Endpoint, Receiver, Timeouts, UpstreamCall
from streamward.dataplane.outbox import outbox_of
from streamward.dataplane.ticker import ticker_of
from streamward.dataplane.tunnel import open_tunnel, proxy_of_environment

MAX_IDLE = 1024
"""Idle connections kept per endpoint: a burst of streams ends, the next one finds warm connections."""

IDLE_S = 50.0
"""Servers close idle connections after 60 to 75 s; we go first."""


class Pool:
    """The connections of one event loop. Close it with :meth:`aclose`."""

    def __init__(self, *, trust_env: bool = True) -> None:
        self.loop = asyncio.get_running_loop()
        self.ticker = ticker_of(self.loop)
        self.outbox = outbox_of(self.loop)
        self.idle: dict[Endpoint, list[Connection]] = {}
        self.open: set[Connection] = set()
        self.tasks: set[asyncio.Task[None]] = set()
        self.trust_env = trust_env
        self.tls: ssl.SSLContext | None = None
        self.proxies: dict[Endpoint, str | None] = {}
        self.opened = 0
        """Connections made so far; with ``calls`` it shows reuse."""
        self.calls = 0
        self.ticker.add(self)

    def call(self, endpoint: Endpoint, data: bytes, receiver: Receiver, timeouts: Timeouts) -> UpstreamCall:
        """Send the complete request *data* to *endpoint*; *receiver* is called from now on, possibly at once."""
        self.calls += 1
        call = UpstreamCall(self, endpoint, data, receiver, timeouts)
        connections = self.idle.get(endpoint)
        while connections:
            connection = connections.pop()
            if not connection.closed and not connection.transport.is_closing():
                call.attach(connection, reused=True)
                return call
        self.connect(call)
        return call

    def connect(self, call: UpstreamCall) -> None:
        task = call.connecting = self.loop.create_task(self.connected(call))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def connected(self, call: UpstreamCall) -> None:
        endpoint = call.endpoint
        try:
            async with asyncio.timeout(call.timeouts.connect or None):
                connection = await self.dial(endpoint)
        except TimeoutError:
            call.connecting = None
            call.fail_with("upstream_timeout", f"no connection to the provider within {call.timeouts.connect:g} s", 504)
        except ssl.SSLError:
            call.connecting = None
            call.fail_with("upstream_reset", "the TLS handshake with the provider failed (check its certificate)")
        except OSError as exc:
            call.connecting = None
            call.fail_with("upstream_reset", f"no connection to the provider ({reason(exc)})")
        else:
            self.opened += 1
            if call.done:
                connection.drop()
            else:
                self.open.add(connection)
                call.attach(connection, reused=False)

    async def dial(self, endpoint: Endpoint) -> Connection:
        loop = self.loop
        if endpoint.path:
            _, made = await loop.create_unix_connection(lambda: Connection(self, endpoint), endpoint.path)
            return made
        proxy = self.proxy_for(endpoint)
        if proxy is not None:
            return await self.dial_through(endpoint, proxy)
        tls = self.tls_context() if endpoint.scheme == "https" else None
        _, made = await loop.create_connection(lambda: Connection(self, endpoint), endpoint.host, endpoint.port, ssl=tls)
        return made

    async def dial_through(self, endpoint: Endpoint, proxy: str) -> Connection:
        tunnel = await open_tunnel(self.loop, proxy, endpoint.host, endpoint.port, self.tls_context())
        connection = Connection(self, endpoint)
        try:
            transport = tunnel
            if endpoint.scheme == "https":
                encrypted = await self.loop.start_tls(
                    tunnel, connection, self.tls_context(), server_hostname=endpoint.host
                )
                assert encrypted is not None
                transport = encrypted
            else:
                tunnel.set_protocol(connection)
        except BaseException:
            tunnel.abort()
            raise
        connection.connection_made(transport)
        return connection

    def proxy_for(self, endpoint: Endpoint) -> str | None:
        """The proxy for *endpoint*, looked up once: the environment does not change under a running server."""
        if endpoint not in self.proxies:
            self.proxies[endpoint] = self.look_up_proxy(endpoint)
        return self.proxies[endpoint]

    def look_up_proxy(self, endpoint: Endpoint) -> str | None:
        return proxy_of_environment(endpoint.scheme, endpoint.host) if self.trust_env else None

    def tls_context(self) -> ssl.SSLContext:
        if self.tls is None:
            self.tls = ssl.create_default_context()
            if not self.tls.get_ca_certs() and not ssl.get_default_verify_paths().capath:
                import certifi  # comes with httpx; minimal images have no certificates of their own

                self.tls.load_verify_locations(certifi.where())
        return self.tls

    def give_back(self, connection: Connection) -> None:
        connections = self.idle.setdefault(connection.endpoint, [])
        if len(connections) >= MAX_IDLE:
            connection.drop()
            return
        connection.idle_since = self.loop.time()
        connections.append(connection)

    def forget(self, connection: Connection) -> None:
        self.open.discard(connection)
        connections = self.idle.get(connection.endpoint)
        if connections and connection in connections:
            connections.remove(connection)

    def tick(self, now: float) -> None:
        """Close what has been idle too long; the oldest stand first."""
        for connections in self.idle.values():
            while connections and now - connections[0].idle_since > IDLE_S:
                connections[0].drop()

    async def aclose(self) -> None:
        """Close every connection; calls still open fail."""
        self.ticker.discard(self)
        for task in list(self.tasks):
            task.cancel()
        if self.tasks:
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.wait(self.tasks, timeout=1)
        for connection in list(self.open):
            connection.drop()
        self.idle.clear()


def reason(exc: OSError) -> str:
    """A word for the operator, without addresses."""
    if isinstance(exc, ConnectionRefusedError):
        return "refused"
    if isinstance(exc, ConnectionResetError):
        return "reset"
    name = type(exc).__name__
    if name == "gaierror":
        return "its name does not resolve"
    if isinstance(exc, ConnectionError) and exc.args and isinstance(exc.args[0], str):
        return exc.args[0]
    return "unreachable"
