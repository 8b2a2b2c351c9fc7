"""One pool of provider connections per event loop, made on first use and closed with its loop."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from weakref import WeakKeyDictionary

from streamward.dataplane.pool import Pool
from streamward.upstream.routes import Routes

POOLS: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[Pool, AsyncGenerator[None, None]]] = WeakKeyDictionary()
ROUTES: WeakKeyDictionary[asyncio.AbstractEventLoop, tuple[frozenset[tuple[str, str]], Routes]] = WeakKeyDictionary()


def pool() -> Pool:
    """The pool of the running loop."""
    loop = asyncio.get_running_loop()
    found = POOLS.get(loop)
    if found is None:
        made = Pool()
        closer = close_with_loop(made)
        # Run it up to its yield: from now on ``loop.shutdown_asyncgens``, which asyncio.run and every server call at the
        # end, closes the pool. An event loop offers no other hook.
        try:
            closer.__anext__().send(None)
        except StopIteration:
            pass
        found = POOLS[loop] = (made, closer)
    return found[0]


async def close_with_loop(opened: Pool) -> AsyncGenerator[None, None]:
    try:
        yield
    finally:
        await opened.aclose()


def routes(environ: dict[str, str]) -> Routes:
    """The providers that *environ* has keys for, over the running loop's pool."""
    loop = asyncio.get_running_loop()
    key = frozenset(environ.items())
    found = ROUTES.get(loop)
    if found is None or found[0] != key:
        found = ROUTES[loop] = (key, Routes(pool(), environ=environ))
    return found[1]
