"""The invocation the running code belongs to, and what it may ask of it.

Carried by a context variable through tasks and, with ``capture.follow_threads``, through threads and executors.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import logging
import threading
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Any

from streamward.functions import link
from streamward.functions.worker.channel import Channel

CURRENT: contextvars.ContextVar[Invocation | None] = contextvars.ContextVar("streamward_invocation", default=None)

log = logging.getLogger("streamward.functions")


class Invocation:
    """One request being served by this worker."""

    def __init__(self, call: link.Invoke, channel: Channel, loop: asyncio.AbstractEventLoop) -> None:
        self.call = call
        self.request_id = call.request_id
        self.deadline = time.time() + call.limit
        self.channel = channel
        self.loop = loop
        self.task: asyncio.Task[None] | None = None
        self.background: set[asyncio.Task[Any]] = set()
        self.registering = 0  # wait_until calls on their way from threads
        self.gone = asyncio.Event()
        """Set when the client has left (or the limit is reached)."""
        self.reason: link.CancelReason | None = None
        self.in_thread = False
        self.on_gone: list[Callable[[], object]] = []
        self.patience_s = 0.0
        """How long the code may go on after it was told that the client left."""

    def cancel(self, reason: link.CancelReason) -> None:
        """The client left, or a limit was reached. Called on the loop; may come twice (disconnect, then timeout)."""
        self.reason = reason
        self.channel.closed = True
        if not self.gone.is_set():
            self.gone.set()
            for callback in self.on_gone:
                callback()
        if reason != "disconnect":
            for task in self.background:
                task.cancel()
        if self.task is None or self.task.done() or self.in_thread:
            return
        if self.patience_s and reason == "disconnect":
            self.loop.call_later(self.patience_s, self.task.cancel)
        else:
            self.task.cancel()

    def keep(self, awaitable: Awaitable[Any]) -> None:
        """Run *awaitable* to its end, whatever becomes of the response. Callable from any thread."""
        if threading.get_ident() == loop_thread(self.loop):
            self.start(awaitable)
            return
        self.registering += 1
        context = contextvars.copy_context()

        def register() -> None:
            self.registering -= 1
            self.start(awaitable)

        self.loop.call_soon_threadsafe(register, context=context)

    def start(self, awaitable: Awaitable[Any]) -> None:
        task = self.loop.create_task(report_failure(awaitable))
        self.background.add(task)
        task.add_done_callback(self.background.discard)

    async def finish_background(self) -> None:
        while self.background or self.registering:
            if self.background:
                await asyncio.wait(set(self.background))
            else:
                await asyncio.sleep(0)


async def report_failure(awaitable: Awaitable[Any]) -> None:
    try:
        await awaitable
    except Exception:
        log.exception("work registered with wait_until failed")


def loop_thread(loop: asyncio.AbstractEventLoop) -> int | None:
    """The thread *loop* runs in: the main thread of a worker."""
    return threading.main_thread().ident if loop.is_running() else None


def wait_until(awaitable: Awaitable[Any]) -> None:
    """Keep the current invocation alive until *awaitable* is done, after the response and after a disconnect.

    Bounded by ``max_duration``. Its exception is logged, not raised.

    Raises:
        TypeError: *awaitable* is not one (call the function first; wrap sync work in ``asyncio.to_thread``).
        RuntimeError: there is no current invocation.
    """
    if not inspect.isawaitable(awaitable):
        raise TypeError(f"wait_until takes an awaitable, got {type(awaitable).__name__}: call the function first")
    invocation = CURRENT.get()
    if invocation is None:
        if inspect.iscoroutine(awaitable):
            awaitable.close()
        raise RuntimeError("wait_until was called outside a request of the functions host")
    invocation.keep(awaitable)


def get_deadline() -> datetime | None:
    """When the current invocation ends at the latest, as an aware UTC datetime; None outside a request."""
    invocation = CURRENT.get()
    return None if invocation is None else datetime.fromtimestamp(invocation.deadline, UTC)
