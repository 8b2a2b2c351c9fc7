"""What one turn of the event loop writes: the first write at once, the others together at the end of the turn.

Under load a turn serves many sockets. A write wakes the process at its other end, and if that sleeps, waking it is the
dearest part of the write (a third of the CPU of a short request); written one after the other at the end, most find
their reader awake. Nothing is held back: a turn with one ready socket writes as if this were not here, a busy one ends
as soon as the sockets that were ready are served.

    read A, write A, read B, read C ... write B, write C        instead of        read A, write A, read B, write B, ...
"""

from __future__ import annotations

import asyncio
from weakref import WeakKeyDictionary

LARGE_BYTES = 64 << 10
"""Data from this size on is written at once: it is what the transport's flow control has to hear of, and the wake-up
is little beside the copying."""


class Outbox:
    """The writes of one event loop that wait for the end of its turn.

    Data leaves in the order of :meth:`send`. Whoever is about to close a transport, or to write to it directly, calls
    :meth:`flush` first.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.waiting: list[tuple[asyncio.WriteTransport, bytes]] = []
        self.turn_has_written = False

    def send(self, transport: asyncio.WriteTransport, data: bytes) -> None:
        """Write *data* in this turn; dropped if *transport* is aborted before."""
        if not self.turn_has_written:
            self.turn_has_written = True
            self.loop.call_soon(self.end_turn)
            transport.write(data)
            return
        self.waiting.append((transport, data))
        if len(data) >= LARGE_BYTES:
            self.flush()

    def end_turn(self) -> None:
        self.turn_has_written = False
        if self.waiting:
            self.flush()

    def flush(self) -> None:
        """Write what waits, now."""
        waiting, self.waiting = self.waiting, []
        for transport, data in waiting:
            if not transport.is_closing():
                transport.write(data)


OUTBOXES: WeakKeyDictionary[asyncio.AbstractEventLoop, Outbox] = WeakKeyDictionary()


def outbox_of(loop: asyncio.AbstractEventLoop) -> Outbox:
    """The outbox of *loop*, made on first use."""
    outbox = OUTBOXES.get(loop)
    if outbox is None:
        outbox = OUTBOXES[loop] = Outbox(loop)
    return outbox
