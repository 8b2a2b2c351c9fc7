"""One Redis connection, used by one task: many commands out in one write, raw replies in.

redis-py makes the connections (TLS, authentication, database, reconnects) and parses replies with hiredis; its command
layer, ten times the cost of a token, is left out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from redis.asyncio import ConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import (
    ClusterDownError,
    MasterDownError,
    NoScriptError,
    OutOfMemoryError,
    ReadOnlyError,
    RedisError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamward.durable.group import GIVE_UP_S, RETRY_S

SOCKET_S = 6.0  # an answer later than this is a dead server
Command: TypeAlias = tuple[Any, ...]
AWAY = (RedisConnectionError, RedisTimeoutError, OSError, TimeoutError)
"""The server is not there: starting, loading, restarting, unreachable. Worth another try."""
NOT_YET = (ReadOnlyError, OutOfMemoryError, MasterDownError, TryAgainError, ClusterDownError)
"""Replies that say the same: a fail-over is under way, or memory has to be freed."""


def pool_for(url: str) -> ConnectionPool:
    """Connections for :class:`Wire`, which has one deadline for a whole exchange: redis-py's own make a task of every write
    and a timer of every reply."""
    return ConnectionPool.from_url(
        url, protocol=2, socket_timeout=None, socket_connect_timeout=SOCKET_S, decode_responses=False
    )


class Wire:
    """A connection and the scripts it needs."""

    def __init__(self, pool: ConnectionPool, scripts: dict[str, str]) -> None:
        self._pool = pool
        self._scripts = scripts
        self._connection: AbstractConnection | None = None

    async def ask(self, commands: Sequence[Command]) -> list[Any]:
        """Send *commands*, return their replies in order; a refused command's reply is a ``ResponseError``.

        Raises:
            one of AWAY: it is unknown which commands were executed.
        """
        try:
            replies = await self._exchange(commands)
            if any(isinstance(reply, NoScriptError) for reply in replies):  # restarted: it forgot them
                await self._exchange([("SCRIPT", "LOAD", text) for text in self._scripts.values()])
                again = [i for i, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
                for i, reply in zip(again, await self._exchange([commands[i] for i in again]), strict=True):
                    replies[i] = reply
        except BaseException:
            await self.close()  # replies may be left on the wire
            raise
        for reply in replies:
            if isinstance(reply, NOT_YET) or (isinstance(reply, RedisError) and str(reply).startswith("MISCONF")):
                raise RedisConnectionError(str(reply))
        return replies

    async def _exchange(self, commands: Sequence[Command]) -> list[Any]:
        replies: list[Any] = []
        async with asyncio.timeout(SOCKET_S):
            connection = self._connection
            if connection is None:
                connection = self._connection = await self._pool.get_connection()  # type: ignore[no-untyped-call]
            await connection.send_packed_command(connection.pack_commands(commands))
            for _ in commands:
                try:
                    replies.append(await connection.read_response())
                except ResponseError as exc:
                    replies.append(exc)
        return replies

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.disconnect(nowait=True)
            await self._pool.release(connection)


Answer: TypeAlias = Callable[[list[Any] | BaseException], None]


class Asker:
    """Commands from anywhere in the worker, sent together by one task on one connection."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._inbox: list[tuple[Sequence[Command], Answer]] = []
        self._ready = asyncio.Event()

    def submit(self, commands: Sequence[Command], answer: Answer) -> None:
        self._inbox.append((commands, answer))
        self._ready.set()

    async def ask(self, *commands: Command) -> list[Any]:
        """Raises the first error among the replies; repeated while the server is away, up to GIVE_UP_S."""
        future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

        def answer(replies: list[Any] | BaseException) -> None:
            if future.done():
                return
            if isinstance(replies, BaseException):
                future.set_exception(replies)
                return
            error = next((reply for reply in replies if isinstance(reply, RedisError)), None)
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(replies)

        self.submit(commands, answer)
        return await future

    async def run(self) -> None:
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                asked, self._inbox = self._inbox, []
                await self._serve(asked)
        finally:
            await self._wire.close()

    async def _serve(self, asked: list[tuple[Sequence[Command], Answer]]) -> None:
        commands = [command for some, _ in asked for command in some]
        deadline = asyncio.get_running_loop().time() + GIVE_UP_S
        while True:
            try:
                replies = await self._wire.ask(commands)
                break
            except AWAY as exc:
                if asyncio.get_running_loop().time() > deadline:
                    for _, answer in asked:
                        answer(exc)
                    return
                await asyncio.sleep(RETRY_S)
        start = 0
        for some, answer in asked:
            answer(replies[start : start + len(some)])
            start += len(some)
