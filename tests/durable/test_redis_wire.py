"""The Redis connection against a server that follows a script: cuts, refusals, silence. The store's own tests use a real one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError

from streamward.durable import redis_wire
from streamward.durable.redis_wire import AWAY, Asker, Refusal, Wire

Reply = Callable[[list[bytes]], bytes | None]


@asynccontextmanager
async def server(reply: Reply, cuts: tuple[int, ...] = ()) -> AsyncIterator[str]:
    """*reply* gives each command's answer; None closes the connection. *cuts* splits what answers one read."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                parts: list[bytes] = []
                for _ in range(int(line[1:])):
                    size = int((await reader.readline())[1:])
                    parts.append((await reader.readexactly(size + 2))[:-2])
                answer = b"+OK\r\n" if parts[0] == b"CLIENT" else reply(parts)
                if answer is None:
                    break
                at = 0
                for cut in (*(cuts if parts[0] != b"CLIENT" else ()), len(answer)):
                    writer.write(answer[at:cut])
                    await writer.drain()
                    await asyncio.sleep(0)
                    at = cut
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    listening = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"redis://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()


@asynccontextmanager
async def wire_to(reply: Reply, cuts: tuple[int, ...] = ()) -> AsyncIterator[Wire]:
    async with server(reply, cuts) as url:
        wire = Wire(url, {"ONE": "return 1"})
        try:
            yield wire
        finally:
            await wire.close()


ANSWERS = {b"A": b":7\r\n", b"B": b"*2\r\n$3\r\nx\r\n\r\n$-1\r\n", b"C": b"-ERR no such thing\r\n", b"D": b"*0\r\n"}


@pytest.mark.parametrize("cut", range(20))
async def test_replies_come_in_order_however_they_are_cut(cut: int):
    async with wire_to(lambda parts: ANSWERS[parts[0]], (cut,)) as wire:
        seven, pair, refused, empty = await wire.ask([("A",), ("B", 1, "é", 0.5), ("C",), ("D",)])

    assert (seven, pair, empty) == (7, [b"x\r\n", None], [])
    assert isinstance(refused, Refusal)
    assert (refused.code, str(refused)) == ("ERR", "ERR no such thing")


async def test_an_exchange_that_is_cut_fails_and_the_next_one_connects_again():
    asked: list[bytes] = []

    def reply(parts: list[bytes]) -> bytes | None:
        asked.append(parts[0])
        return None if asked == [b"A", b"B"] else ANSWERS[parts[0]]

    async with wire_to(reply) as wire:
        with pytest.raises(RedisConnectionError, match="closed the connection"):
            await wire.ask([("A",), ("B",)])
        assert await wire.ask([("A",)]) == [7]


async def test_a_connection_closed_between_two_exchanges_is_made_again():
    connections: list[Any] = []
    async with wire_to(lambda parts: ANSWERS[parts[0]]) as wire:
        for _ in range(2):
            assert await wire.ask([("A",)]) == [7]
            connections.append(wire._channel)
            assert wire._channel is not None
            wire._channel._transport.abort()
            await asyncio.sleep(0)

    assert connections[0] is not connections[1]


async def test_what_is_no_redis_is_away():
    async with wire_to(lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n") as wire:
        with pytest.raises(AWAY, match="no Redis"):
            await wire.ask([("A",)])


async def test_silence_is_away(monkeypatch: pytest.MonkeyPatch):
    async with wire_to(lambda parts: ANSWERS.get(parts[0], b"")) as wire:
        assert await wire.ask([("A",)]) == [7]  # connected, which may take its time
        monkeypatch.setattr(redis_wire, "SOCKET_S", 0.05)
        with pytest.raises(RedisTimeoutError, match="no answer within"):
            await wire.ask([("SILENT",)])


async def test_nobody_listens_is_away():
    async with server(lambda _: b"") as url:
        pass
    with pytest.raises(AWAY):
        await Wire(url, {}).ask([("A",)])


@pytest.mark.parametrize("why", ["LOADING not yet", "READONLY a replica", "OOM no memory", "MISCONF disk full"])
async def test_a_server_that_cannot_write_now_is_away(why: str):
    async with wire_to(lambda _: f"-{why}\r\n".encode()) as wire:
        with pytest.raises(RedisConnectionError, match=why.split()[0]):
            await wire.ask([("A",)])


async def test_forgotten_scripts_are_loaded_and_only_their_calls_repeated():
    asked: list[bytes] = []

    def reply(parts: list[bytes]) -> bytes:
        asked.append(parts[0])
        if parts[0] == b"SCRIPT":
            return b"$3\r\nsha\r\n"
        if parts[0] == b"EVALSHA":
            return b":1\r\n" if b"SCRIPT" in asked else b"-NOSCRIPT No matching script\r\n"
        return b":7\r\n"

    async with wire_to(reply) as wire:
        assert await wire.ask([("A",), ("EVALSHA", "sha", 0), ("A",)]) == [7, 1, 7]

    assert asked == [b"A", b"EVALSHA", b"A", b"SCRIPT", b"EVALSHA"]


async def test_a_server_that_keeps_no_script_is_asked_twice_at_most():
    async with wire_to(lambda parts: b"-NOSCRIPT No matching script\r\n") as wire:
        (refused,) = await wire.ask([("EVALSHA", "sha", 0)])
        assert isinstance(refused, Refusal)
        assert refused.code == "NOSCRIPT"


async def test_replies_of_a_cancelled_exchange_do_not_answer_the_next():
    arrived = asyncio.Event()

    def reply(parts: list[bytes]) -> bytes:
        if parts[0] == b"SLOW":
            arrived.set()
            return b""
        return ANSWERS[parts[0]]

    async with wire_to(reply) as wire:
        slow = asyncio.create_task(wire.ask([("SLOW",)]))
        await arrived.wait()
        slow.cancel()
        with pytest.raises(asyncio.CancelledError):
            await slow

        assert await wire.ask([("A",)]) == [7]


async def test_what_was_submitted_together_shares_an_exchange_and_each_gets_its_own_replies():
    async with server(lambda parts: ANSWERS[parts[0]]) as url:
        asker = Asker(Wire(url, {}))
        first, second = await asyncio.gather(asker.ask(("A",), ("B",)), asker.ask(("D",)))
        with pytest.raises(Refusal, match="no such thing"):
            await asker.ask(("A",), ("C",))
        await asker.close()

    assert (first, second) == ([7, [b"x\r\n", None]], [[]])


async def test_the_asker_waits_for_a_server_that_comes_back(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_wire, "RETRY_S", 0.001)
    refusals = iter([b"-LOADING not yet\r\n", None])
    async with server(lambda _: next(refusals, b":7\r\n")) as url:
        asker = Asker(Wire(url, {}))
        assert await asker.ask(("A",)) == [7]
        await asker.close()


async def test_the_asker_gives_up_in_time(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(redis_wire, "RETRY_S", 0.001)
    monkeypatch.setattr(redis_wire, "GIVE_UP_S", 0.01)
    async with server(lambda _: b"-LOADING not yet\r\n") as url:
        asker = Asker(Wire(url, {}))
        with pytest.raises(RedisConnectionError, match="LOADING"):
            await asker.ask(("A",))
        await asker.close()
