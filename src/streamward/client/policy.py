"""How patient a client is: deadlines, and how often and how fast it tries again."""

from __future__ import annotations

import random

from msgspec import Struct

from streamward.errors import ErrorInfo

LOST_FOR_GOOD = frozenset({400, 401, 403, 404, 409, 410, 422})
"""Answers to a resume after which asking again is pointless: the server will not give this stream to us any more."""


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds; 0 is none.

    ``between_frames`` is silence on the connection: a keep-alive comment is a sign of life. ``total`` covers the whole
    answer, every retry, reconnection and pause between them included.
    """

    connect: float = 5.0
    first_byte: float = 60.0
    between_frames: float = 60.0
    total: float = 900.0


class Retries(Struct, frozen=True, kw_only=True):
    """Bounds of trying again. The pause doubles from ``pause_s`` to ``max_pause_s``, with jitter."""

    attempts: int = 2
    """Repetitions of a request of whose answer nothing was shown yet."""
    reconnects: int = 5
    """Reconnections to a durable stream without a new frame in between; each new frame starts the count again."""
    pause_s: float = 0.2
    max_pause_s: float = 5.0
    max_retry_after_s: float = 60.0
    """A server that asks for more patience (``Retry-After``) is not waited for: the error goes to the caller."""

    def pause(self, failures: int, error: ErrorInfo) -> float | None:
        """Seconds to wait after this many failures in a row; None when the server asks for more than we have."""
        if error.retry_after_s is not None:
            return error.retry_after_s if error.retry_after_s <= self.max_retry_after_s else None
        bound = min(self.pause_s * float(2 ** min(failures - 1, 20)), self.max_pause_s)
        return random.uniform(0.5, 1.0) * bound  # noqa: S311 - spreads clients, hides nothing
