"""``Chat``: what ``useChat`` is in React, for Python."""

from __future__ import annotations

import copy
import secrets
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, Self, TypeAlias

from streamward.client.chat_protocol import ChatProtocol, Json, ProtocolName, Trigger, with_approval, with_tool_output
from streamward.client.chat_turn import Backend, Endpoint, Model, Turn
from streamward.client.client import Client
from streamward.client.policy import Retries, Timeouts
from streamward.errors import Conflict, InvalidRequest, StreamwardError
from streamward.wire.ui_message import Number

Status: TypeAlias = Literal["ready", "submitted", "streaming", "error"]


class Callbacks:
    """What a chat tells while it runs; each may be left out. Called on the event loop: they must not block."""

    def __init__(
        self, *, on_change: Callable[[Chat], None] | None = None, on_text: Callable[[str], None] | None = None,
        on_data: Callable[[Any], None] | None = None, on_finish: Callable[[Json | None, str | None], None] | None = None,
        on_error: Callable[[StreamwardError], None] | None = None,
    ) -> None:  # fmt: skip
        self.on_change = on_change
        """After every change of ``messages`` or ``status``."""
        self.on_text = on_text
        """Each piece of the answer's text, once, also when a lost connection makes the server replay it."""
        self.on_data = on_data
        """The application's own data parts, transient ones included."""
        self.on_finish = on_finish
        """The complete message and its finish reason."""
        self.on_error = on_error


class Chat:
    """A conversation with a chat endpoint, or with a model (:meth:`over`)::

        async with Chat("http://127.0.0.1:3000/api/chat", on_text=print) as chat:
            await chat.append("hello")
            chat.messages

    Messages are UI messages as the AI SDK has them: with ``parts`` (``ui``, ``text``), and with ``content`` beside them
    (``data``, AI SDK 4). One answer runs at a time.

    Args:
        protocol: ``ui`` for endpoints of AI SDK 5 to 7, ``data`` for 4, ``text`` for plain text.
        body: the application's own fields, sent with every request.
        resumable: the endpoint keeps its streams: a lost connection is made good by reading the running answer again,
            and ``stop`` is told to the server.
    """

    def __init__(
        self, url: str = "", *, protocol: ProtocolName = "ui", version: Number = 7, id: str | None = None,  # noqa: A002
        messages: Sequence[Json] = (), headers: Mapping[str, str] | None = None, body: Mapping[str, Any] | None = None,
        timeouts: Timeouts | None = None, retries: Retries | None = None, resumable: bool = False,
        backend: Backend | None = None, generate_id: Callable[[], str] | None = None, **callbacks: Any,
    ) -> None:  # fmt: skip
        if protocol not in ("ui", "data", "text"):
            raise InvalidRequest(f'protocol is "ui", "data" or "text", not {protocol!r}', param="protocol")
        self.backend: Backend = backend or Endpoint(
            url, ChatProtocol(protocol, version=version), headers=headers or {}, body=body or {},
            timeouts=timeouts or Timeouts(), retries=retries or Retries(), resumable=resumable,
        )  # fmt: skip
        self.generate_id = generate_id or (lambda: secrets.token_hex(8))
        self.id = id or self.generate_id()
        self.callbacks = Callbacks(**callbacks)
        self.history: list[Json] = [copy.deepcopy(message) for message in messages]
        self.turn: Turn | None = None
        self.current_status: Status = "ready"
        self.error: StreamwardError | None = None
        """Why the last answer failed."""

    @classmethod
    def over(
        cls, client: Client, model: str, *, system: str | None = None, dialect: str = "chat",
        settings: Mapping[str, Any] | None = None, **options: Any,
    ) -> Chat:  # fmt: skip
        """A chat with a model behind *client*, which stays open; the conversation is kept here.

        *settings* go out with every request, *options* are those of :class:`Chat`.
        """
        backend = Model(client, model, system=system, dialect=dialect, settings=settings or {})
        return cls(backend=backend, **options)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *exc: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connection of a running answer, and all others."""
        if self.turn is not None:
            self.turn.close()
        await self.backend.aclose()

    # -- state

    @property
    def status(self) -> Status:
        """``submitted`` until something of the answer is there, then ``streaming``."""
        return self.current_status

    @property
    def messages(self) -> list[Json]:
        """The conversation, the answer in the making included. Copies: changing them changes nothing here."""
        message = self.turn.message if self.turn is not None else None
        history = copy.deepcopy(self.history)
        return history if message is None else joined(history, message)

    def set_messages(self, messages: Sequence[Json]) -> None:
        """Replace the conversation, while no answer runs."""
        self.refuse_while_running()
        self.history = [copy.deepcopy(message) for message in messages]
        self.changed()

    # -- actions

    async def append(self, message: str | Json | None = None) -> Json | None:
        """Add a user message (None: none) and read the answer to its end; the assistant's message.

        Raises:
            Conflict: an answer is running already.
            StreamInterrupted: it broke off; what had come stays in ``messages``.
            StreamwardError: it failed otherwise. ``error`` and ``status`` say so, too.
        """
        self.refuse_while_running()
        if message is not None:
            new = self.backend.protocol.user_message(self.generate_id(), message) if isinstance(message, str) else message
            self.history.append({"id": self.generate_id(), **copy.deepcopy(new)})
        return await self.ask("submit-message", None)

    async def reload(self, message_id: str | None = None) -> Json | None:
        """Ask again for the last answer, or the one with this id; it and everything after it are dropped.

        Raises:
            InvalidRequest: there is no such message. Otherwise as :meth:`append`.
        """
        self.refuse_while_running()
        at = len(self.history) - 1
        if message_id is not None:
            at = next((n for n, message in enumerate(self.history) if message.get("id") == message_id), -1)
        if at < 0:
            raise InvalidRequest("there is no message to answer again", param="message_id")
        keep = at if self.history[at].get("role") == "assistant" else at + 1
        self.history = self.history[:keep]
        return await self.ask("regenerate-message", message_id)

    async def resume(self) -> Json | None:
        """Read on an answer that runs in this chat on the server, from its start; None when none does."""
        self.refuse_while_running()
        self.error = None
        self.set_status("submitted")
        try:
            # Replayed from its start: what we hold of the same answer is replaced, not continued.
            last = self.last() or {}
            begun = last.get("id") if last.get("role") == "assistant" else None
            turn = await self.backend.resume(self.id, None, begun or self.generate_id())
        except StreamwardError as exc:
            self.failed(exc)
            raise
        except BaseException:
            self.set_status("ready")
            raise
        if turn is None:
            self.set_status("ready")
            return None
        return await self.run(turn)

    async def stop(self) -> None:
        """End the running answer: its connection is closed at once, what has come of it stays."""
        turn = self.turn
        if turn is None:
            return
        turn.close()
        await self.backend.stop(self.id)

    async def add_tool_output(self, tool_call_id: str, output: Any = None, *, error: str | None = None) -> None:
        """Give the result (or *error*) of a call that the server left to us; ``append()`` then sends it.

        Raises:
            InvalidRequest: the last message holds no such call.
        """
        self.replace_last(
            with_tool_output(self.last() or {}, tool_call_id, {"output": output} if error is None else {"error": error}),
            f"no tool call {tool_call_id!r} in the last message",
        )

    async def answer_approval(self, approval_id: str, *, approved: bool, reason: str | None = None) -> None:
        """Approve or deny a tool call that waits for it; ``append()`` then sends the answer.

        Raises:
            InvalidRequest: the last message holds no such request.
        """
        changed = with_approval(self.last() or {}, approval_id, approved, reason)
        self.replace_last(changed, f"no approval request {approval_id!r} in the last message")

    # -- running

    async def ask(self, trigger: Trigger, message_id: str | None) -> Json | None:
        self.error = None
        self.set_status("submitted")
        try:
            turn = self.backend.send(self.id, self.history, trigger, message_id, self.generate_id())
        except StreamwardError as exc:
            self.failed(exc)
            raise
        return await self.run(turn)

    async def run(self, turn: Turn) -> Json | None:
        """Read *turn* to its end and book it."""
        self.turn = turn
        try:
            while await turn.read():
                self.tell(turn)
        except StreamwardError as exc:
            self.keep(turn)
            self.failed(exc)
            raise
        except BaseException:
            self.keep(turn)
            self.set_status("ready")
            raise
        self.tell(turn)
        message = self.keep(turn)
        self.set_status("ready")
        if self.callbacks.on_finish is not None:
            self.callbacks.on_finish(copy.deepcopy(message), turn.finish_reason)
        return message

    def tell(self, turn: Turn) -> None:
        """Pass on what the last read brought."""
        if self.callbacks.on_text is not None:
            for text in turn.texts:
                self.callbacks.on_text(text)
        if self.callbacks.on_data is not None:
            for item in turn.data:
                self.callbacks.on_data(item)
        self.current_status = "streaming"
        self.changed()

    def keep(self, turn: Turn) -> Json | None:
        """The turn is over: what it brought becomes part of the conversation."""
        turn.close()
        message = turn.message
        if message is not None:
            self.history = joined(self.history, message)
        self.turn = None
        return copy.deepcopy(message)

    def last(self) -> Json | None:
        return self.history[-1] if self.history else None

    def replace_last(self, message: Json | None, otherwise: str) -> None:
        self.refuse_while_running()
        if message is None:
            raise InvalidRequest(otherwise)
        self.history[-1] = message
        self.changed()

    def refuse_while_running(self) -> None:
        if self.current_status in ("submitted", "streaming"):
            raise Conflict("an answer is running in this chat; stop it or wait for it")

    def failed(self, error: StreamwardError) -> None:
        self.error = error
        self.set_status("error")
        if self.callbacks.on_error is not None:
            self.callbacks.on_error(error)

    def set_status(self, status: Status) -> None:
        self.current_status = status
        self.changed()

    def changed(self) -> None:
        if self.callbacks.on_change is not None:
            self.callbacks.on_change(self)


def joined(history: list[Json], message: Json) -> list[Json]:
    """*history* with *message*: in place of its last one when the answer continues that, else after it."""
    if history and history[-1].get("role") == "assistant" and history[-1].get("id") == message.get("id"):
        return [*history[:-1], message]
    return [*history, message]
