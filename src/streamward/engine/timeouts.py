"""Deadlines of a generation: one timer that is armed rarely, however many tokens pass."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

import msgspec
from msgspec import Struct

from streamward.errors import ErrorInfo, InvalidRequest

FOREVER = float("inf")


class Timeout(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Seconds; ``None`` is none. ``total`` covers all steps with their tools, ``step`` each of them."""

    total: float | None = None
    step: float | None = None
    first_chunk: float | None = None
    """From the model call to its first event."""
    between_chunks: float | None = None


def timeout_of(value: Timeout | Mapping[str, float] | float | None) -> Timeout:
    """A number is the total.

    Raises:
        InvalidRequest: an unknown name or something that is no number.
    """
    if value is None:
        return Timeout()
    if isinstance(value, Timeout):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return Timeout(total=float(value))
    try:
        return msgspec.convert(value, Timeout)
    except msgspec.ValidationError as exc:
        names = ", ".join(Timeout.__struct_fields__)
        raise InvalidRequest(f"timeout: {exc}; give seconds, or a mapping of {names}", param="timeout") from None


class Deadlines:
    """Watches the four deadlines of one generation and calls *expired* once, with what to say."""

    def __init__(self, timeout: Timeout, expired: Callable[[ErrorInfo], None]) -> None:
        self.timeout = timeout
        self.expired = expired
        self.loop = asyncio.get_running_loop()
        self.timer: asyncio.TimerHandle | None = None
        self.armed_for = FOREVER
        self.total_at = self.at(timeout.total)
        self.step_at = FOREVER
        self.quiet_at = FOREVER
        self.got_chunk = False
        self.arm()

    def at(self, seconds: float | None) -> float:
        return FOREVER if seconds is None else self.loop.time() + seconds

    def step_began(self) -> None:
        self.step_at = self.at(self.timeout.step)
        self.quiet_at = self.at(self.timeout.first_chunk)
        self.got_chunk = False
        self.arm()

    def chunk(self) -> None:
        """Something came. Cheap: the timer is left where it is and looks again when it fires."""
        self.got_chunk = True
        between = self.timeout.between_chunks
        self.quiet_at = FOREVER if between is None else self.loop.time() + between
        if self.quiet_at < self.armed_for:
            self.arm()

    def model_done(self) -> None:
        self.quiet_at = FOREVER

    def close(self) -> None:
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None

    def arm(self) -> None:
        due = min(self.total_at, self.step_at, self.quiet_at)
        if due >= self.armed_for:
            return
        if self.timer is not None:
            self.timer.cancel()
        self.armed_for = due
        self.timer = self.loop.call_at(due, self.look)

    def look(self) -> None:
        self.timer, self.armed_for = None, FOREVER
        now = self.loop.time()
        for due, message in (
            (self.total_at, f"the generation took longer than {self.timeout.total} s (timeout.total)"),
            (self.step_at, f"a step took longer than {self.timeout.step} s (timeout.step)"),
            (self.quiet_at, self.silence()),
        ):
            if now >= due:
                self.expired(ErrorInfo("upstream_timeout", message, 504, safe_to_retry=True))
                return
        self.arm()

    def silence(self) -> str:
        if self.got_chunk:
            return f"the model fell silent for {self.timeout.between_chunks} s (timeout.between_chunks)"
        return f"the model sent nothing for {self.timeout.first_chunk} s (timeout.first_chunk)"
