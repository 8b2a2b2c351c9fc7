"""Gateways with keys of the database, in front of scripted upstreams."""

import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from streamward.gateway.key_limits import KeyLimits
from streamward.gateway.storage.keys import ClientKey, new_key
from support.gateway_server import Served, config_text, gateway_server
from support.raw_http import chat_request, request
from support.scripted_upstream import ScriptedUpstream, scripted_upstream

PATIENT = "timeouts = { connect = 5, first_byte = 60, idle = 60, total = 60 }\nretries = 0"
PRICED = 'input = 1000000.0\noutput = 1000000.0'
"""A dollar a token: sums that can be read."""


@asynccontextmanager
async def behind(*scripts, **tables: str) -> AsyncIterator[tuple[Served, ScriptedUpstream]]:
    """The gateway in front of an upstream with *scripts*; tables as in ``config_text``."""
    tables.setdefault("mock", PATIENT)
    extra = tables.pop("more", "")
    async with (
        scripted_upstream(*scripts) as upstream,
        gateway_server(config_text(upstream.base_url, **tables) + "\n" + extra) as served,
    ):
        yield served, upstream


async def add_key(served: Served, name: str = "", *, expires_at: float | None = None, **limits) -> tuple[ClientKey, str]:
    """A key in the gateway's own database, as ``streamward keys create`` writes it."""
    key, secret = new_key(name, now=time.time(), random=os.urandom, expires_at=expires_at, limits=KeyLimits(**limits))
    await served.gateway.storage.keys.add(key)
    return key, secret


def bearer(secret: str) -> dict[str, str]:
    return {"authorization": f"Bearer {secret}"}


def asking(secret: str, *, headers: dict[str, str] | None = None, **more) -> bytes:
    """A streamed chat request with this key."""
    return chat_request(headers={**bearer(secret), **(headers or {})}, **more)


def getting(path: str, secret: str) -> bytes:
    return request("GET", path, key=secret)
