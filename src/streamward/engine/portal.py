"""One event loop in a background thread, for callers that have none: the sync twin and WSGI."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

from streamward.errors import StreamwardError

T = TypeVar("T")


class Portal:
    """The background loop. Started on first use; a forked child starts its own."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread: threading.Thread | None = None
        self.pid = 0

    def running(self) -> asyncio.AbstractEventLoop:
        with self.lock:
            if self.loop is None or self.pid != os.getpid() or self.loop.is_closed():
                self.pid = os.getpid()
                self.loop = asyncio.new_event_loop()
                # A daemon: it must not keep a program alive that has reached its end.
                self.thread = threading.Thread(target=self.loop.run_forever, name="streamward-loop", daemon=True)
                self.thread.start()
            return self.loop

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the background loop and wait for it. Interrupting the wait (Ctrl-C) cancels it."""
        loop = self.running()
        if threading.current_thread() is self.thread:
            work.close()
            raise StreamwardError("the sync API was used inside the background event loop; use the async one there")
        future = asyncio.run_coroutine_threadsafe(work, loop)
        try:
            return future.result()
        except concurrent.futures.CancelledError:
            raise StreamwardError("the generation was cancelled", code="cancelled") from None
        except BaseException:
            future.cancel()
            raise


PORTAL = Portal()
