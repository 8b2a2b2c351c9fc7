"""A tunnel through a forward proxy: CONNECT (RFC 9110 9.3.6), for http and https targets alike."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
import ssl
import urllib.request
from urllib.parse import unquote, urlsplit

MAX_ANSWER_BYTES = 16 << 10  # real ones are a line or two


class Tunnel(asyncio.Protocol):
    """The connection to the proxy until it has answered; ``opened`` is done then, or failed."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.opened: asyncio.Future[None] = loop.create_future()
        self.answer = b""

    def data_received(self, data: bytes) -> None:
        self.answer += data
        if self.opened.done():
            return
        head, end, _ = self.answer.partition(b"\r\n\r\n")
        if not end and len(head) < MAX_ANSWER_BYTES:
            return
        version, _, rest = head.partition(b" ")
        if end and version[:7] == b"HTTP/1." and rest[:1] == b"2":
            self.opened.set_result(None)
        else:
            self.opened.set_exception(ConnectionError("the proxy refused the tunnel"))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.opened.done():
            self.opened.set_exception(ConnectionError("the proxy did not answer CONNECT"))


async def open_tunnel(
    loop: asyncio.AbstractEventLoop, proxy: str, host: str, port: int, tls: ssl.SSLContext
) -> asyncio.Transport:
    """A transport whose bytes go to *host*:*port*; *tls* is used if the proxy itself is an https one.

    Raises:
        OSError: no connection to the proxy, or it refuses. The caller sets the protocol, and the deadline.
    """
    parts = urlsplit(proxy)
    encrypted = parts.scheme == "https"
    transport, tunnel = await loop.create_connection(
        lambda: Tunnel(loop), parts.hostname or "", parts.port or (443 if encrypted else 80), ssl=tls if encrypted else None
    )
    try:
        authority = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n"
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            head += f"Proxy-Authorization: Basic {base64.b64encode(pair).decode()}\r\n"
        transport.write(head.encode() + b"\r\n")
        await tunnel.opened
    except BaseException:
        transport.abort()
        raise
    return transport


def proxy_of_environment(scheme: str, host: str) -> str | None:
    """What ``HTTP_PROXY``, ``HTTPS_PROXY`` and ``NO_PROXY`` say; this machine is always called directly."""
    if is_loopback(host) or urllib.request.proxy_bypass(host):
        return None
    proxy = urllib.request.getproxies().get(scheme)
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


def is_loopback(host: str) -> bool:
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
