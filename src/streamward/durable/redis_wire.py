"""One Redis connection: many commands out in one write, their raw replies in one callback.

redis-py makes the connections (URL, TLS, authentication, database). From then on the transport is read here, by
hiredis, with no task and no reader between the socket and the caller: redis-py's own command layer costs ten times as
much as a token, and its waits are a large part of the time that a first frame takes to be stored.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from hiredis import ProtocolError, Reader, pack_command
from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamward.durable.group import GIVE_UP_S, RETRY_S

SOCKET_S = 6.0  # an answer later than this is a dead server
Command: TypeAlias = tuple[Any, ...]
Answer: TypeAlias = Callable[[list[Any] | BaseException], None]
"""Takes the replies of all commands in order, a refused one's as ``Refusal``; or why there are none. Called once."""

AWAY = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)
"""The server is not there: starting, loading, restarting, unreachable. It is unknown which commands were executed; worth
another try."""
NOT_YET = frozenset({"LOADING", "READONLY", "OOM", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "MISCONF"})
"""Refusals that say the same: a fail-over is under way, or memory or disk has to be freed."""


class Refusal(ResponseError):
    """The server's error reply to one command."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.code = message.partition(" ")[0]


class Channel(asyncio.Protocol):
    """The transport of a connection that is up. One exchange at a time."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self.open = True
        self._transport = transport
        self._loop = asyncio.get_running_loop()
        self._reader = Reader(replyError=Refusal)  # what is not there yet reads as False, which RESP2 cannot say
        self._replies: list[Any] = []
        self._missing = 0
        self._answer: Answer | None = None
        self._deadline: asyncio.TimerHandle | None = None
        transport.set_protocol(self)

    def exchange(self, commands: Sequence[Command], answer: Answer) -> None:
        """*answer* is not called before this returns."""
        assert self._answer is None, "one exchange at a time"
        self._answer = answer
        self._replies = []
        self._missing = len(commands)
        if self.open and commands:
            self._deadline = self._loop.call_later(SOCKET_S, self._late)
            self._transport.write(b"".join([pack_command(command) for command in commands]))
        else:
            self._loop.call_soon(self._over, None if self.open else RedisConnectionError("the connection was lost"))

    def data_received(self, data: bytes) -> None:
        reader, replies = self._reader, self._replies
        try:
            reader.feed(data)
            while self._missing:
                reply = reader.gets()
                if reply is False:
                    return
                replies.append(reply)
                self._missing -= 1
        except ProtocolError as exc:
            self.close(RedisConnectionError(f"what answers is no Redis: {exc}"))
            return
        self._over(None)

    def connection_lost(self, exc: Exception | None) -> None:
        self.close(RedisConnectionError(f"the connection was lost: {exc}" if exc else "the server closed the connection"))

    def _late(self) -> None:
        self.close(RedisTimeoutError(f"no answer within {SOCKET_S:g} s"))

    def close(self, why: BaseException) -> None:
        """Whoever waits is told *why*."""
        self.open = False
        self._transport.abort()
        self._over(why)

    def _over(self, error: BaseException | None) -> None:
        answer, self._answer = self._answer, None
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if answer is not None:
            answer(self._replies if error is None else error)


class Wire:
    """A connection that is made when it is needed, and the scripts it needs. One exchange at a time."""

    def __init__(self, url: str, scripts: dict[str, str]) -> None:
        self._connections = ConnectionPool.from_url(url, protocol=2, socket_connect_timeout=SOCKET_S, decode_responses=False)
        self._scripts = scripts
        self._connection: AbstractConnection | None = None
        self._channel: Channel | None = None
        self._dialing: asyncio.Task[None] | None = None

    def send(self, commands: Sequence[Command], answer: Answer) -> None:
        """Send *commands* at once if the connection is up. *answer* is not called before this returns."""
        channel = self._channel
        if channel is not None and channel.open:
            channel.exchange(commands, lambda replies: self._answered(commands, replies, answer))
        else:
            self._dialing = asyncio.create_task(self._dial(commands, answer), name="streamward-redis-connect")

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """The same for one task. When it is cancelled the connection is closed: replies may be left on the wire."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.send(commands, lambda replies: settle(future, replies))
        try:
            return await future
        except asyncio.CancelledError:
            await self.close()
            raise

    async def _dial(self, commands: Sequence[Command], answer: Answer) -> None:
        try:
            await self._hang_up()
            connection: Any = self._connections.make_connection()  # type: ignore[no-untyped-call]
            self._connection = connection
            async with asyncio.timeout(SOCKET_S):
                await connection.connect()
            self._channel = channel = Channel(connection._writer.transport)
        except Exception as exc:
            answer(exc)
            return
        channel.exchange(commands, lambda replies: self._answered(commands, replies, answer))

    def _answered(
        self, commands: Sequence[Command], replies: list[Any] | BaseException, answer: Answer, *, loaded: bool = False
    ) -> None:
        if isinstance(replies, BaseException):
            answer(replies)
            return
        again: list[int] = []
        for i, reply in enumerate(replies):
            if type(reply) is Refusal:
                if reply.code in NOT_YET:
                    answer(RedisConnectionError(str(reply)))
                    return
                if reply.code == "NOSCRIPT":
                    again.append(i)
        if not again or loaded:
            answer(replies)
            return
        assert self._channel is not None
        loads: list[Command] = [("SCRIPT", "LOAD", text) for text in self._scripts.values()]  # a restart forgets them

        def repeated(more: list[Any] | BaseException) -> None:
            if not isinstance(more, BaseException):
                for i, reply in zip(again, more[len(loads) :], strict=True):
                    replies[i] = reply
            self._answered(commands, more if isinstance(more, BaseException) else replies, answer, loaded=True)

        self._channel.exchange(loads + [commands[i] for i in again], repeated)

    async def close(self) -> None:
        if self._dialing is not None:
            self._dialing.cancel()
        await self._hang_up()

    async def _hang_up(self) -> None:
        channel, self._channel = self._channel, None
        connection, self._connection = self._connection, None
        if channel is not None:
            channel.close(RedisConnectionError("the connection was closed here"))
        if connection is not None:
            await connection.disconnect(nowait=True)


def settle(future: asyncio.Future[list[Any]], replies: list[Any] | BaseException) -> None:
    if future.done():
        return
    if isinstance(replies, BaseException):
        future.set_exception(replies)
    else:
        future.set_result(replies)


class Asker:
    """Commands from anywhere in the worker, sent together on one connection, and again while the server is away."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inbox: list[tuple[Sequence[Command], Answer]] = []
        self._asked: list[tuple[Sequence[Command], Answer]] = []
        self._deadline = 0.0
        self._pending: asyncio.Handle | None = None

    def submit(self, commands: Sequence[Command], answer: Answer) -> None:
        """*answer* is called within GIVE_UP_S, unless :meth:`close` comes first."""
        self._inbox.append((commands, answer))
        if not self._asked and self._pending is None:
            self._pending = asyncio.get_running_loop().call_soon(self._next)

    async def ask(self, *commands: Command) -> list[Any]:
        """Raises the first refusal among the replies."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        self.submit(commands, lambda replies: settle(future, replies))
        replies = await future
        for reply in replies:
            if isinstance(reply, RedisError):
                raise reply
        return replies

    def _next(self) -> None:
        self._pending = None
        if self._inbox:
            self._asked, self._inbox = self._inbox, []
            self._deadline = asyncio.get_running_loop().time() + GIVE_UP_S
            self._send()

    def _send(self) -> None:
        self._pending = None
        self._wire.send([command for some, _ in self._asked for command in some], self._answered)

    def _answered(self, replies: list[Any] | BaseException) -> None:
        loop = asyncio.get_running_loop()
        if isinstance(replies, AWAY) and loop.time() <= self._deadline:
            self._pending = loop.call_later(RETRY_S, self._send)
            return
        asked, self._asked = self._asked, []
        start = 0
        for some, answer in asked:
            answer(replies if isinstance(replies, BaseException) else replies[start : start + len(some)])
            start += len(some)
        if self._inbox and self._pending is None:
            self._next()

    async def close(self) -> None:
        if self._pending is not None:
            self._pending.cancel()
        self._pending = None
        await self._wire.close()
