"""Adjustments of libraries that run inside a worker, each with the reason it is needed."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import AsyncIterator, Iterable
from typing import Any

import anyio.to_thread
import starlette.responses
from starlette.responses import StreamingResponse

from streamward.functions.worker.context import CURRENT, get_deadline, wait_until


class Exhausted(Exception):
    """StopIteration cannot cross a thread."""


async def iterate_in_thread(iterable: Iterable[Any]) -> AsyncIterator[Any]:
    """Starlette's ``iterate_in_threadpool``, closing the iterator when the response ends early.

    The original leaves a sync generator to the garbage collector: its ``finally`` would run who knows when.
    """
    iterator = iter(iterable)

    def step() -> Any:
        try:
            return next(iterator)
        except StopIteration:
            raise Exhausted from None

    task: asyncio.Task[Any] | None = None
    try:
        while True:
            task = asyncio.ensure_future(anyio.to_thread.run_sync(step))
            try:
                yield await asyncio.shield(task)
            except Exhausted:
                return
    finally:
        if task is not None and not task.done():  # a step cannot be interrupted, and must be over before closing
            with anyio.CancelScope(shield=True):
                await asyncio.wait({task})
            task.exception()
        close = getattr(iterator, "close", None)
        if close is not None:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(close)


def close_streams_at_once() -> None:
    """A StreamingResponse whose client left closes its body iterator then, not when memory is collected."""
    plain = StreamingResponse.stream_response

    async def stream_response(self: StreamingResponse, send: Any) -> None:
        try:
            await plain(self, send)
        finally:
            close = getattr(self.body_iterator, "aclose", None)
            if close is not None:
                with anyio.CancelScope(shield=True):
                    await close()

    StreamingResponse.stream_response = stream_response  # type: ignore[method-assign]
    starlette.responses.iterate_in_threadpool = iterate_in_thread  # type: ignore[attr-defined,assignment]


def answer_vercel_imports() -> None:
    """Let an installed ``vercel.functions`` find its runtime: it looks for ``vercel_runtime.get_deadline``."""
    if "vercel_runtime" not in sys.modules:
        runtime = types.ModuleType("vercel_runtime")
        runtime.get_deadline = get_deadline  # type: ignore[attr-defined]
        runtime.wait_until = wait_until  # type: ignore[attr-defined]
        sys.modules["vercel_runtime"] = runtime


def enter_vercel_context(headers: list[tuple[bytes, bytes]]) -> None:
    """Make ``vercel.functions.wait_until`` and friends work in the current context, if the package was imported."""
    module = sys.modules.get("vercel.cache.context")
    set_context = getattr(module, "set_context", None)
    if set_context is None or CURRENT.get() is None:
        return
    table = {name.decode("latin-1"): value.decode("latin-1") for name, value in headers}
    try:
        set_context(wait_until=wait_until, headers=table)
    except TypeError:  # an older release with other keywords
        set_context(wait_until=wait_until)


def widen_thread_pool(total: int) -> None:
    """anyio runs Starlette's sync code in 40 threads by default; a function's cap is ``max_concurrency``."""
    anyio.to_thread.current_default_thread_limiter().total_tokens = max(total, 40)


def widen_executor(loop: Any, total: int) -> None:
    """``asyncio.to_thread`` and ``run_in_executor(None, ...)``: as many threads as there may be requests."""
    from concurrent.futures import ThreadPoolExecutor

    loop.set_default_executor(ThreadPoolExecutor(max_workers=max(total, 40), thread_name_prefix="executor"))
