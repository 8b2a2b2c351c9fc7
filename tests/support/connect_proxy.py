"""A forward proxy that only knows CONNECT, and leads every tunnel to where the test says."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class ConnectProxy:
    def __init__(self, target_port: int, answer: bytes) -> None:
        self.target_port = target_port
        self.answer = answer
        self.port = 0
        self.heads: list[bytes] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        onward: asyncio.StreamWriter | None = None
        try:
            self.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(self.answer)
            if b" 200 " in self.answer:
                back, onward = await asyncio.open_connection("127.0.0.1", self.target_port)
                await asyncio.gather(copy(reader, onward), copy(back, writer))
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass
        finally:
            self.tasks.discard(task)
            for each in (writer, onward):
                if each is not None:
                    each.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()


@asynccontextmanager
async def connect_proxy(
    target_port: int, *, answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n"
) -> AsyncIterator[ConnectProxy]:
    proxy = ConnectProxy(target_port, answer)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in proxy.tasks:
            task.cancel()
        await asyncio.gather(*proxy.tasks)
