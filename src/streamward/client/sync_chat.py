"""``Chat`` for code without an event loop: the same names, which return when the answer is there.

The work is done by ``streamward.client.Chat`` on the background loop that all synchronous clients share; callbacks run
in the thread that waits for the answer, so they may block, raise, and call ``stop``.
"""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextvars import ContextVar
from typing import Any, Self, TypeAlias, TypeVar

from streamward.client.background import SHARED
from streamward.client.chat import Chat, Status
from streamward.client.chat_protocol import Json, ProtocolName
from streamward.client.chat_turn import Backend, Model
from streamward.client.policy import Retries, Timeouts
from streamward.client.sync import SyncClient
from streamward.errors import StreamwardError
from streamward.wire.ui_message import Number

T = TypeVar("T")

Told: TypeAlias = "queue.SimpleQueue[tuple[Callable[..., Any], tuple[Any, ...]] | None]"

TOLD: ContextVar[Told] = ContextVar("TOLD")
"""Where the callbacks of the answer that runs are waited for."""


class SyncChat:
    """The twin of :class:`streamward.Chat`, with the same arguments::

        with Chat("http://127.0.0.1:3000/api/chat", on_text=print) as chat:
            chat.append("hello")

    One answer runs at a time. ``stop`` may be called by a callback, or by another thread. Callbacks come in order, a
    little after what they tell of: ``on_change`` may find the chat further on.
    """

    def __init__(
        self, url: str = "", *, protocol: ProtocolName = "ui", version: Number = 7, id: str | None = None,  # noqa: A002
        messages: Sequence[Json] = (), headers: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None,
        timeouts: Timeouts | None = None, retries: Retries | None = None, resumable: bool = False,
        backend: Backend | None = None, generate_id: Callable[[], str] | None = None, **callbacks: Any,
    ) -> None:  # fmt: skip
        on_change = callbacks.pop("on_change", None)
        told = {name: teller(callback) for name, callback in callbacks.items() if callback is not None}
        if on_change is not None:
            told["on_change"] = teller(lambda _: on_change(self))
        self.chat = Chat(
            url, protocol=protocol, version=version, id=id, messages=messages, headers=headers, body=body,
            timeouts=timeouts, retries=retries, resumable=resumable, backend=backend, generate_id=generate_id, **told,
        )  # fmt: skip
        self.background = SHARED.get()

    @classmethod
    def over(
        cls, client: SyncClient, model: str, *, system: str | None = None, dialect: str = "chat",
        settings: Mapping[str, Any] | None = None, **options: Any,
    ) -> SyncChat:  # fmt: skip
        """A chat with a model behind *client*; see :meth:`streamward.Chat.over`."""
        backend = Model(client.client, model, system=system, dialect=dialect, settings=settings or {})
        return cls(backend=backend, **options)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection of a running answer, and all others."""
        self.background.call(self.chat.aclose())

    # -- state

    @property
    def id(self) -> str:
        return self.chat.id

    @property
    def status(self) -> Status:
        return self.chat.status

    @property
    def error(self) -> StreamwardError | None:
        """Why the last answer failed."""
        return self.chat.error

    @property
    def messages(self) -> list[Json]:
        """The conversation, the answer in the making included. Copies: changing them changes nothing here."""
        return self.background.call(self.copied())

    async def copied(self) -> list[Json]:
        return self.chat.messages

    def set_messages(self, messages: Sequence[Json]) -> None:
        """Replace the conversation, while no answer runs."""

        async def replace() -> None:
            self.chat.set_messages(messages)

        self.wait(replace())

    # -- actions

    def append(self, message: str | Json | None = None) -> Json | None:
        """Add a user message (None: none) and read the answer to its end; see :meth:`streamward.Chat.append`."""
        return self.wait(self.chat.append(message))

    def reload(self, message_id: str | None = None) -> Json | None:
        """Ask again for the last answer, or the one with this id."""
        return self.wait(self.chat.reload(message_id))

    def resume(self) -> Json | None:
        """Read on an answer that runs in this chat on the server, from its start; None when none does."""
        return self.wait(self.chat.resume())

    def stop(self) -> None:
        """End the running answer: its connection is closed before this returns, what has come of it stays."""
        self.background.call(self.chat.stop())

    def add_tool_output(self, tool_call_id: str, output: Any = None, *, error: str | None = None) -> None:
        """Give the result (or *error*) of a call that the server left to us; ``append()`` then sends it."""
        self.wait(self.chat.add_tool_output(tool_call_id, output, error=error))

    def answer_approval(self, approval_id: str, *, approved: bool, reason: str | None = None) -> None:
        """Approve or deny a tool call that waits for it; ``append()`` then sends the answer."""
        self.wait(self.chat.answer_approval(approval_id, approved=approved, reason=reason))

    # -- waiting

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Run *work* on the background loop, and what it tells here. An interruption, or a callback that raises, ends it."""
        told: Told = queue.SimpleQueue()
        task = self.background.call(begin(work, told))
        ended = False
        try:
            while (item := told.get()) is not None:
                callback, args = item
                callback(*args)
            ended = True
            return self.background.call(result_of(task))
        finally:
            if not ended:
                task.get_loop().call_soon_threadsafe(task.cancel)
                while told.get() is not None:  # it has ended once this thread goes on; nothing of it is told any more
                    pass


def teller(callback: Callable[..., Any]) -> Callable[..., None]:
    """Leaves the call of *callback* to the thread that waits."""

    def tell(*args: Any) -> None:
        TOLD.get().put((callback, args))

    return tell


async def begin(work: Coroutine[Any, Any, T], told: Told) -> asyncio.Task[T]:
    """*work* as a task of its own, what it tells and its end going to *told*."""
    TOLD.set(told)  # this call's context, which the task inherits
    task = asyncio.get_running_loop().create_task(work, name="streamward chat")

    def ended(task: asyncio.Task[T]) -> None:
        if not task.cancelled():
            task.exception()  # looked at: where a callback raised, that is what the caller hears
        told.put(None)

    task.add_done_callback(ended)
    return task


async def result_of(task: asyncio.Task[T]) -> T:
    return await task
