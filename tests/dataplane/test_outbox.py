"""The outbox: the first write of a turn leaves at once, the others at its end, in order."""

from __future__ import annotations

import asyncio

from streamward.dataplane.outbox import LARGE_BYTES, Outbox, outbox_of


class FakeTransport(asyncio.WriteTransport):
    """Keeps what is written to it, in one log shared by several."""

    def __init__(self, name: str, log: list[tuple[str, bytes]]) -> None:
        super().__init__()
        self.name, self.log, self.closing = name, log, False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.log.append((self.name, bytes(data)))

    def is_closing(self) -> bool:
        return self.closing


def fakes() -> tuple[Outbox, FakeTransport, FakeTransport, list[tuple[str, bytes]]]:
    log: list[tuple[str, bytes]] = []
    return Outbox(asyncio.get_running_loop()), FakeTransport("a", log), FakeTransport("b", log), log


async def test_a_lone_write_does_not_wait() -> None:
    """With one ready socket in a turn nothing is added to its latency, turn after turn."""
    outbox, a, _, log = fakes()

    outbox.send(a, b"1")
    first = list(log)
    await asyncio.sleep(0)
    outbox.send(a, b"2")

    assert first == [("a", b"1")]
    assert log == [("a", b"1"), ("a", b"2")]


async def test_later_writes_of_a_turn_leave_at_its_end_in_order() -> None:
    outbox, a, b, log = fakes()

    for transport, data in ((a, b"1"), (b, b"2"), (a, b"3"), (b, b"4")):
        outbox.send(transport, data)
    within = list(log)
    await asyncio.sleep(0)

    assert within == [("a", b"1")]
    assert log == [("a", b"1"), ("b", b"2"), ("a", b"3"), ("b", b"4")]


async def test_large_data_is_written_at_once_after_what_waits() -> None:
    """Flow control must hear of it before more is read."""
    outbox, a, b, log = fakes()
    large = b"x" * LARGE_BYTES

    for transport, data in ((a, b"1"), (b, b"2"), (a, large)):
        outbox.send(transport, data)

    assert [("a", b"1"), ("b", b"2"), ("a", large)] == log


async def test_nothing_is_written_to_an_aborted_transport() -> None:
    outbox, a, b, log = fakes()

    outbox.send(a, b"1")
    outbox.send(b, b"2")
    b.closing = True
    outbox.flush()

    assert log == [("a", b"1")]


async def test_each_loop_has_one_outbox() -> None:
    loop = asyncio.get_running_loop()

    assert outbox_of(loop) is outbox_of(loop)
