"""Header rules between client, host and function. Pure."""

from __future__ import annotations

import ipaddress
import re
import secrets
from collections.abc import Iterable

from msgspec import Struct

Fields = list[tuple[bytes, bytes]]
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

HOP_BY_HOP = frozenset(
    (
        b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-connection", b"te", b"trailer", b"transfer-encoding",
        b"upgrade",
    )
)  # fmt: skip
OURS = frozenset((b"server", b"date", b"x-streamward-id", b"x-streamward-error", b"x-vercel-id", b"x-vercel-error"))
FORWARDING = frozenset((b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"))
TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")


class Inbound(Struct):
    """Request headers as a function gets them, and what they say about the client."""

    fields: Fields
    client: tuple[str, int] | None
    scheme: str
    trace_id: str
    parent_span: str


def inbound(
    fields: Fields, *, client: tuple[str, int] | None, scheme: str, trusted: Iterable[Network], request_id: str
) -> Inbound:
    """Rewrite request headers: forwarding headers tell the truth, ours cannot be forged."""
    peer = client[0] if client else ""
    by_name: dict[bytes, bytes] = {}
    kept: Fields = []
    trusts = trusted_address(peer, trusted)
    for name, value in fields:
        if name in HOP_BY_HOP or name in (b"forwarded", b"traceparent", b"expect") or name.startswith(PRIVATE):
            by_name.setdefault(name, value)
            continue
        if name in FORWARDING:
            by_name[name] = by_name[name] + b", " + value if name in by_name else value
            continue
        by_name.setdefault(name, value)
        kept.append((name, value))
    real = peer
    if trusts:
        hops = [hop.strip() for hop in by_name.get(b"x-forwarded-for", b"").decode("latin-1").split(",") if hop.strip()]
        real = next((hop for hop in reversed(hops) if not trusted_address(hop, trusted)), hops[0] if hops else peer)
        scheme = by_name.get(b"x-forwarded-proto", scheme.encode()).decode("latin-1").split(",")[0].strip()
    truth = {
        b"x-forwarded-for": peer.encode(),
        b"x-forwarded-host": by_name.get(b"host", b""),
        b"x-forwarded-proto": scheme.encode(),
        b"x-real-ip": real.encode(),
    }
    for name, value in truth.items():
        kept.append((name, by_name.get(name, value) if trusts else value))
    found = TRACEPARENT.fullmatch(by_name.get(b"traceparent", b""))
    good = found is not None and found[1] != b"0" * 32 and found[2] != b"0" * 16
    trace = found[1].decode() if found is not None and good else secrets.token_hex(16)
    flags = found[3].decode() if found is not None and good else "01"
    kept.append((b"traceparent", f"00-{trace}-{secrets.token_hex(8)}-{flags}".encode()))
    kept.append((b"x-streamward-id", request_id.encode()))
    port = client[1] if client and real == peer else 0
    parent = found[2].decode() if found is not None and good else ""
    return Inbound(kept, (real, port) if client else None, scheme, trace, parent)


PRIVATE = (b"x-streamward-", b"x-vercel-")


def trusted_address(address: str, networks: Iterable[Network]) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    return any(parsed.version == network.version and parsed in network for network in networks)


def parse_networks(texts: Iterable[str]) -> tuple[Network, ...]:
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)


def outbound(fields: Fields, *, streamed: bool) -> Fields:
    """Response headers of a function with the host's defaults added where it said nothing."""
    out = [(n, v) for n, v in fields if n not in HOP_BY_HOP and n not in OURS and n != b"content-length"]
    names = {name for name, _ in out}
    cache = [value for name, value in out if name == b"cache-control"]
    if not cache:
        value = b"no-cache, no-transform" if streamed else b"public, max-age=0, must-revalidate"
        out.append((b"cache-control", value))
    elif streamed and not any(b"no-transform" in value.lower() for value in cache):
        at = max(index for index, (name, _) in enumerate(out) if name == b"cache-control")
        out[at] = (b"cache-control", out[at][1] + b", no-transform" if out[at][1] else b"no-transform")
    if streamed and b"x-accel-buffering" not in names:
        out.append((b"x-accel-buffering", b"no"))
    if b"x-content-type-options" not in names:
        out.append((b"x-content-type-options", b"nosniff"))
    if not any(name == b"server" for name, _ in fields):
        out.append((b"server", b"streamward"))
    else:
        out += [(name, value) for name, value in fields if name == b"server"]
    return out


def is_event_stream(fields: Fields) -> bool:
    return any(
        name == b"content-type" and value.split(b";")[0].strip().lower() == b"text/event-stream" for name, value in fields
    )


def event_boundary(tail: bytes) -> bool:
    """Whether *tail*, the last bytes of an event stream, ends between two events."""
    text = tail.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return text.endswith(b"\n\n")
