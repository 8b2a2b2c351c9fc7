"""Connections to providers: reused, replaced when stale, encrypted, through a proxy, under deadlines."""

import asyncio
import base64
from pathlib import Path

import pytest

from streamward.dataplane.client import AnswerHead, Endpoint, Timeouts
from streamward.dataplane.pool import Pool
from streamward.errors import ErrorInfo
from support.certificates import Authority
from support.connect_proxy import connect_proxy
from support.gateway_server import until
from support.scripted_upstream import LAST, SSE, Fault, Seen, document, head, http_chunk, scripted_upstream

PATIENCE_S = 10


class Taken:
    """A receiver that keeps what comes."""

    def __init__(self) -> None:
        self.head: AnswerHead | None = None
        self.body = b""
        self.error: ErrorInfo | None = None
        self.over = asyncio.Event()

    def head_received(self, head: AnswerHead) -> None:
        self.head = head

    def data_received(self, data: bytes) -> None:
        self.body += data

    def ended(self) -> None:
        assert not self.over.is_set()
        self.over.set()

    def failed(self, error: ErrorInfo) -> None:
        assert not self.over.is_set()
        self.error = error
        self.over.set()


@pytest.fixture
async def pool(monkeypatch: pytest.MonkeyPatch):
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    pool = Pool()
    yield pool
    await pool.aclose()
    assert pool.open == set()


GET = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


async def fetch(pool: Pool, endpoint: Endpoint, timeouts: Timeouts | None = None) -> Taken:
    taken = Taken()
    pool.call(endpoint, GET, taken, timeouts or Timeouts(connect=2, first_byte=5, idle=5, total=10))
    async with asyncio.timeout(PATIENCE_S):
        await taken.over.wait()
    return taken


def at(port: int, scheme: str = "http", host: str = "127.0.0.1") -> Endpoint:
    return Endpoint(scheme, host, port)


OK = document({"ok": True})


async def test_one_connection_serves_many_calls(pool: Pool):
    async with scripted_upstream(OK) as upstream:
        for _ in range(20):
            taken = await fetch(pool, at(upstream.port))
            assert taken.body == b'{"ok": true}'

    assert (pool.opened, pool.calls, upstream.connections) == (1, 20, 1)


async def test_calls_at_the_same_time_do_not_share_a_connection(pool: Pool):
    async with scripted_upstream(OK) as upstream:
        taken = await asyncio.gather(*(fetch(pool, at(upstream.port)) for _ in range(150)))
        again = await asyncio.gather(*(fetch(pool, at(upstream.port)) for _ in range(150)))

    assert all(each.error is None for each in (*taken, *again))
    assert pool.opened <= 150, "no cap, and the second wave found the first one's connections"


async def test_an_idle_connection_that_the_server_closed_is_not_used_again(pool: Pool):
    async with scripted_upstream([*OK, Fault.CLOSE], OK) as upstream:
        await fetch(pool, at(upstream.port))
        await until(lambda: not pool.open)
        second = await fetch(pool, at(upstream.port))

    assert (second.error, pool.opened) == (None, 2)


async def test_a_connection_that_closes_just_as_it_is_used_is_replaced_silently(pool: Pool):
    """The server's FIN crosses our request: nothing was processed, so it is sent again, once, on a new connection."""

    async def close_on_second(seen: Seen) -> None:
        if upstream.connections == 1 and len(upstream.seen) == 2:
            seen.writer.transport.abort()
            await seen.gone.wait()
            return
        await seen.write(OK[0])

    async with scripted_upstream(close_on_second) as upstream:
        await fetch(pool, at(upstream.port))
        second = await fetch(pool, at(upstream.port))

    assert (second.error, second.body) == (None, b'{"ok": true}')
    assert (len(upstream.seen), pool.opened) == (3, 2)


async def test_a_fresh_connection_that_closes_is_an_error(pool: Pool):
    async with scripted_upstream([Fault.CLOSE]) as upstream:
        taken = await fetch(pool, at(upstream.port))

    assert taken.error is not None
    assert (taken.error.code, taken.error.safe_to_retry, len(upstream.seen)) == ("upstream_reset", True, 1)


NOT_REUSED = {
    "connection: close": [head(200, "content-length: 2", "connection: close") + b"ok"],
    "HTTP/1.0": [(head(200, "content-length: 2") + b"ok").replace(b"HTTP/1.1", b"HTTP/1.0")],
    "a body that ends with the connection": [head(200) + b"ok", Fault.CLOSE],
    "bytes after the answer": [head(200, "content-length: 2") + b"ok" + b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nevil"],
}


@pytest.mark.parametrize("name", NOT_REUSED)
async def test_a_connection_out_of_step_is_not_used_again(pool: Pool, name: str):
    """Bytes nobody asked for would be taken for the next call's answer."""
    async with scripted_upstream(NOT_REUSED[name]) as upstream:
        first = await fetch(pool, at(upstream.port))
        await until(lambda: not pool.open)
        second = await fetch(pool, at(upstream.port))

    assert (first.error, second.error, second.body) == (None, None, b"ok")
    assert pool.opened == 2


async def test_an_endless_head_is_cut_at_its_bound(pool: Pool):
    """One field that never ends must not fill memory until a deadline."""
    sent = 0

    async def endless(seen: Seen) -> None:
        nonlocal sent
        await seen.write(b"HTTP/1.1 200 OK\r\nx-a: ")
        while not seen.gone.is_set():
            await seen.write(b"y" * 65536)
            sent += 65536

    async with scripted_upstream(endless) as upstream:
        taken = await fetch(pool, at(upstream.port))

    assert taken.error is not None
    assert taken.error.code == "upstream_invalid"
    assert sent < 16 << 20


async def test_deadlines_by_phase(pool: Pool):
    """Connect, first byte, silence, total: each with its own sentence."""
    short = {"connect": 1.0, "first_byte": 0.3, "idle": 0.3, "total": 0.0}

    async def drip(seen: Seen) -> None:
        await seen.write(SSE)
        while not seen.gone.is_set():
            await seen.write(http_chunk(b"x"))
            await asyncio.sleep(0.02)

    async with scripted_upstream([Fault.STALL], [SSE, http_chunk(b"x"), Fault.STALL], drip) as upstream:
        first = await fetch(pool, at(upstream.port), Timeouts(**short))
        idle = await fetch(pool, at(upstream.port), Timeouts(**short))
        total = await fetch(pool, at(upstream.port), Timeouts(**{**short, "total": 0.5}))

    errors = [each.error for each in (first, idle, total)]
    assert [error.code for error in errors if error] == ["upstream_timeout"] * 3
    assert [error.status for error in errors if error] == [504] * 3
    assert len({error.message for error in errors if error}) == 3


async def test_tls_with_an_authority_of_our_own(pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """``SSL_CERT_FILE`` adds trust; the connection is verified, encrypted and reused like any other."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))

    async with scripted_upstream(OK, tls=authority.server_context()) as upstream:
        first = await fetch(pool, at(upstream.port, "https", "localhost"))
        second = await fetch(pool, at(upstream.port, "https", "localhost"))

    assert (first.error, second.error, second.body) == (None, None, b'{"ok": true}')
    assert pool.opened == 1


@pytest.mark.parametrize("host", ["other.example", "localhost"], ids=["another name", "an unknown authority"])
async def test_tls_that_cannot_be_verified_is_refused(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, host: str
):
    authority = Authority(tmp_path)
    if host != "localhost":
        monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))

    async with scripted_upstream(OK, tls=authority.server_context(host)) as upstream:
        taken = await fetch(pool, at(upstream.port, "https", "localhost"))

    assert taken.error is not None
    assert "certificate" in taken.error.message
    assert upstream.seen == []


@pytest.mark.parametrize("scheme", ["http", "https"])
async def test_a_proxy_of_the_environment_is_used_as_a_tunnel(
    pool: Pool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, scheme: str
):
    """CONNECT with the proxy's credentials; the provider's key and the request stay inside the tunnel."""
    authority = Authority(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.bundle))
    tls = authority.server_context("models.example") if scheme == "https" else None

    async with scripted_upstream(OK, tls=tls) as upstream, connect_proxy(upstream.port) as proxy:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://user:p%40ss@127.0.0.1:{proxy.port}")
        endpoint = Endpoint(scheme, "models.example", 8443)
        first = await fetch(pool, endpoint)
        second = await fetch(pool, endpoint)

    assert (first.error, second.body) == (None, b'{"ok": true}')
    assert proxy.heads[0].startswith(b"CONNECT models.example:8443 HTTP/1.1\r\n")
    assert base64.b64encode(b"user:p@ss") in proxy.heads[0]
    assert (len(proxy.heads), pool.opened) == (1, 1), "the tunnel is reused"


async def test_no_proxy_names_hosts_that_are_called_directly(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    async with scripted_upstream(OK) as upstream, connect_proxy(upstream.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "example.org,localhost.localdomain")
        monkeypatch.setattr(pool, "proxies", {})
        direct = pool.look_up_proxy(Endpoint("http", "api.example.org", 80))
        through = pool.look_up_proxy(Endpoint("http", "models.example", 80))

    assert (direct, through) == (None, f"http://127.0.0.1:{proxy.port}")


async def test_this_machine_is_never_called_through_a_proxy(pool: Pool, monkeypatch: pytest.MonkeyPatch):
    """The local engine and servers on loopback work behind a corporate proxy, as Go's and browsers' rules have it."""
    async with scripted_upstream(OK) as upstream, connect_proxy(upstream.port) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        taken = await fetch(pool, at(upstream.port))

    assert (taken.error, proxy.heads) == (None, [])


@pytest.mark.parametrize("answer", [b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n", b"what?\r\n\r\n"])
async def test_a_proxy_that_refuses_is_an_error_that_says_so(
    pool: Pool, monkeypatch: pytest.MonkeyPatch, answer: bytes
):
    async with connect_proxy(1, answer=answer) as proxy:
        monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{proxy.port}")
        taken = await fetch(pool, Endpoint("http", "models.example", 80))

    assert taken.error is not None
    assert (taken.error.code, "proxy" in taken.error.message) == ("upstream_reset", True)


async def test_names_that_do_not_resolve_and_ports_nobody_listens_on(pool: Pool):
    unknown = await fetch(pool, Endpoint("http", "no-such-host.invalid", 80))
    refused = await fetch(pool, at(1))

    assert [each.error.code for each in (unknown, refused) if each.error] == ["upstream_reset"] * 2
    assert "resolve" in unknown.error.message  # type: ignore[union-attr]
    assert "refused" in refused.error.message  # type: ignore[union-attr]
    assert "127.0.0.1" not in refused.error.message  # type: ignore[union-attr]


async def test_a_call_cancelled_while_connecting_opens_nothing(pool: Pool):
    async with scripted_upstream(OK) as upstream:
        taken = Taken()
        call = pool.call(at(upstream.port), GET, taken, Timeouts())
        call.cancel()
        await until(lambda: not pool.tasks)

    assert (upstream.seen, pool.open, taken.over.is_set()) == ([], set(), False)


async def test_a_finished_answer_may_leave_its_body_open_for_a_moment_only(pool: Pool):
    """After ``let_go`` the connection is reused if the body ends soon, and given up if it does not."""
    async with scripted_upstream([SSE, http_chunk(b"x"), Fault.STALL]) as upstream:
        taken = Taken()
        call = pool.call(at(upstream.port), GET, taken, Timeouts())
        await until(lambda: taken.body == b"x")
        call.let_go()
        await upstream.seen[0].wait_gone()

    assert pool.open == set()


async def test_pausing_stops_the_flow_and_resuming_continues_it(pool: Pool):
    async def much(seen: Seen) -> None:
        await seen.write(SSE)
        for _ in range(3000):
            await seen.write(http_chunk(b"x" * 10_000))
        await seen.write(LAST)

    async with scripted_upstream(much) as upstream:
        taken = Taken()
        call = pool.call(at(upstream.port), GET, taken, Timeouts(idle=0.3))
        await until(lambda: len(taken.body) > 0)
        call.pause()
        paused_at = len(taken.body)
        since = pool.loop.time()
        await until(lambda: pool.loop.time() - since > 0.7)
        held = len(taken.body)
        call.resume()
        async with asyncio.timeout(PATIENCE_S):
            await taken.over.wait()

    assert held == paused_at
    assert (len(taken.body), taken.error) == (30_000_000, None)
