"""One coarse clock per event loop for all deadlines.

Arming a timer per token, or even per request, costs more than the work it guards. Objects with deadlines register
here and are asked a few times a second; a deadline is met within ``TICK_S`` after it is due.
"""

from __future__ import annotations

import asyncio
from typing import Protocol
from weakref import WeakKeyDictionary

TICK_S = 0.2
"""How late a deadline may be noticed: short beside any timeout users set, 5 passes a second over plain floats."""


class Ticking(Protocol):
    def tick(self, now: float, /) -> None:
        """Called about every TICK_S with ``loop.time()``."""


class Ticker:
    """Calls ``tick`` of everything registered; idle when nothing is."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.members: set[Ticking] = set()
        self.timer: asyncio.TimerHandle | None = None

    def add(self, member: Ticking) -> None:
        self.members.add(member)
        if self.timer is None:
            self.timer = self.loop.call_later(TICK_S, self.run)

    def discard(self, member: Ticking) -> None:
        self.members.discard(member)

    def run(self) -> None:
        now = self.loop.time()
        for member in list(self.members):
            member.tick(now)
        self.timer = self.loop.call_later(TICK_S, self.run) if self.members else None


TICKERS: WeakKeyDictionary[asyncio.AbstractEventLoop, Ticker] = WeakKeyDictionary()


def ticker_of(loop: asyncio.AbstractEventLoop) -> Ticker:
    """The ticker of *loop*, made on first use."""
    ticker = TICKERS.get(loop)
    if ticker is None:
        ticker = TICKERS[loop] = Ticker(loop)
    return ticker
