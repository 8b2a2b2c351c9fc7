"""One event loop in a thread of its own, for callers that have none.

Shared by every synchronous client of the process and begun on first use; a forked child begins its own.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

JOIN_S = 2.0
"""How long the end of the program waits for the thread."""


class BackgroundLoop:
    """A running event loop to call from other threads."""

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.run, name="streamward-client", daemon=True)
        self.thread.start()

    def run(self) -> None:
        asyncio.set_event_loop(self.loop)
        try:
            self.loop.run_forever()
        finally:
            self.loop.close()

    def call(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the loop and wait for it; an interruption of the waiting cancels it."""
        if threading.current_thread() is self.thread:
            work.close()
            raise RuntimeError("a synchronous client cannot be used inside the clients' own loop; use streamward.Client")
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def stop(self) -> None:
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(JOIN_S)


class Shared:
    """The process's background loop, once somebody needed it."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.background: BackgroundLoop | None = None

    def get(self) -> BackgroundLoop:
        with self.lock:
            if self.background is None:
                self.background = BackgroundLoop()
            return self.background

    def stop(self) -> None:
        background, self.background = self.background, None
        if background is not None:
            background.stop()

    def forget(self) -> None:
        """In a forked child: the thread did not come along."""
        self.lock = threading.Lock()
        self.background = None


SHARED = Shared()
atexit.register(SHARED.stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=SHARED.forget)
