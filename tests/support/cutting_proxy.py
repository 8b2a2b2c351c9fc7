"""A TCP hop that cuts connections: after so many bytes from the server, by a reset, as bad networks do."""

import asyncio
import struct
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from socket import SO_LINGER, SOL_SOCKET


class CuttingProxy:
    """Each connection takes the next number of *cuts*: bytes of answers it lets through; afterwards none is cut."""

    def __init__(self, target: int, cuts: Iterable[int]) -> None:
        self.target = target
        self.cuts = iter(cuts)
        self.port = 0
        self.connections = 0
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.tasks.add(task)
        self.connections += 1
        left = next(self.cuts, None)
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self.target)
        sending = asyncio.create_task(copy(reader, up_writer))
        try:
            while data := await up_reader.read(1 << 16):
                if left is not None:
                    data = data[:left]
                    left -= len(data)
                writer.write(data)
                await writer.drain()
                if left == 0:
                    # What was written must arrive before the reset, which would overtake it.
                    await asyncio.sleep(0.005)
                    writer.get_extra_info("socket").setsockopt(SOL_SOCKET, SO_LINGER, struct.pack("ii", 1, 0))
                    break
        except (ConnectionError, asyncio.CancelledError):
            pass  # one of the two is gone
        finally:
            sending.cancel()
            self.tasks.discard(task)
            up_writer.close()
            writer.close()


async def copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
        writer.close()
    except ConnectionError:
        writer.close()


@asynccontextmanager
async def cutting_proxy(target: int, cuts: Iterable[int]) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(target, cuts)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        for task in list(proxy.tasks):
            task.cancel()
        await asyncio.gather(*proxy.tasks)
