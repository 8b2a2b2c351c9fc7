"""The gateway in a thread of the test process: a real server on a free port, with the demo models and no key needed."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

START_TIMEOUT_S = 20.0


class RunningServer:
    """A served gateway. ``base_url`` is what OpenAI clients and ``STREAMWARD_BASE_URL`` want."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.url = f"http://127.0.0.1:{port}"
        self.base_url = f"{self.url}/v1"


@contextmanager
def running_server(config: str = "") -> Iterator[RunningServer]:
    """Serve a gateway with *config* (the text of a ``streamward.toml``) until the block is left."""
    import uvicorn

    from streamward.gateway.app import Gateway
    from streamward.gateway.config import parse
    from streamward.gateway.serve import HTTP_PROTOCOL

    text = config or '[logging]\nformat = "off"\n[storage]\nurl = "sqlite::memory:"\n'
    gateway = Gateway(parse(text, "test configuration", {}), environ={}, open_access=True)
    server = uvicorn.Server(uvicorn.Config(
        gateway, host="127.0.0.1", port=0, http=HTTP_PROTOCOL, log_config=None, access_log=False, lifespan="on",
        interface="asgi3", timeout_graceful_shutdown=1,
    ))  # type: ignore[arg-type,unused-ignore]  # fmt: skip
    ready = threading.Event()
    failure: list[BaseException] = []

    def serve() -> None:
        try:
            asyncio.run(run())
        except BaseException as exc:
            failure.append(exc)
        finally:
            ready.set()

    async def run() -> None:
        task = asyncio.ensure_future(server.serve())
        while not server.started and not task.done():  # noqa: ASYNC110 - uvicorn offers a flag, no event
            await asyncio.sleep(0.01)
        ready.set()
        await task

    thread = threading.Thread(target=serve, name="streamward test server", daemon=True)
    thread.start()
    if not ready.wait(START_TIMEOUT_S) or not server.started:
        raise RuntimeError(f"the test server did not start: {failure[0] if failure else 'timeout'}")
    try:
        yield RunningServer(server.servers[0].sockets[0].getsockname()[1])
    finally:
        server.should_exit = True
        thread.join(START_TIMEOUT_S)
