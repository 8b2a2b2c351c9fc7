"""Threads of invocations: one of its own for each sync call, and the context carried into those user code starts."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import threading
from collections.abc import Callable
from typing import Any

from streamward.functions.worker.context import CURRENT, Invocation

STACK_BYTES = 2 << 20  # deep enough for Python's recursion limit; 100 of them must fit under a small memory limit


async def run_in_own_thread(invocation: Invocation, function: Callable[[], Any]) -> Any:
    """Run *function* in a thread of its own and wait for it; cancelling the wait does not stop the thread.

    While it runs the invocation counts as uninterruptible: the client's leaving reaches it through the channel.
    """
    future: asyncio.Future[Any] = invocation.loop.create_future()
    context = contextvars.copy_context()

    def deliver(result: Any, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error if not isinstance(error, StopIteration) else RuntimeError("StopIteration"))
        else:
            future.set_result(result)

    def body() -> None:
        result, failure = None, None
        try:
            result = context.run(function)
        except BaseException as exc:
            failure = exc
        try:
            invocation.loop.call_soon_threadsafe(deliver, result, failure)
        except RuntimeError:  # the loop has closed: the worker is exiting
            pass

    invocation.in_thread = True
    try:
        threading.Thread(target=body, name=f"streamward-{invocation.request_id}", daemon=True).start()
        return await future
    finally:
        invocation.in_thread = False


def follow_threads() -> None:
    """Carry the current invocation into ``threading.Thread`` and ``ThreadPoolExecutor``.

    Python copies the context into tasks and ``asyncio.to_thread`` only; log lines of other threads would have no owner.
    """
    plain_start = threading.Thread.start

    def start(self: threading.Thread) -> None:
        if CURRENT.get() is not None:
            context, run = contextvars.copy_context(), self.run
            self.run = lambda: context.run(run)  # type: ignore[method-assign]
        plain_start(self)

    plain_submit = concurrent.futures.ThreadPoolExecutor.submit

    def submit(self: Any, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        # Always a copy, also outside an invocation: a pool thread was started by some request and kept its context.
        return plain_submit(self, contextvars.copy_context().run, fn, *args, **kwargs)

    threading.Thread.start = start  # type: ignore[method-assign]
    concurrent.futures.ThreadPoolExecutor.submit = submit  # type: ignore[method-assign]
    threading.stack_size(STACK_BYTES)
