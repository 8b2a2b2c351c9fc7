"""What one client key may use: the figures, and how a key's own stand beside the configuration's.

How they are counted lives in ``limits`` (one process) and ``limits_redis`` (several).
"""

from __future__ import annotations

import time
from typing import Annotated, Literal

from msgspec import Meta, Struct
from msgspec.structs import replace

Count = Annotated[int, Meta(ge=0)]
Amount = Annotated[float, Meta(ge=0)]
Period = Literal["total", "month", "day"]


class KeyLimits(Struct, frozen=True, omit_defaults=True):
    """Limits of one key. None: as ``[limits]`` says; 0: none."""

    requests_per_minute: Count | None = None
    tokens_per_minute: Count | None = None
    concurrent_streams: Count | None = None
    budget_usd: Amount | None = None
    budget_period: Period | None = None
    max_duration_s: Amount | None = None

    def over(self, defaults: KeyLimits) -> KeyLimits:
        """These limits, with *defaults* where nothing is said."""
        said = {name: own for name in KeyLimits.__struct_fields__ if (own := getattr(self, name)) is not None}
        return replace(defaults, **said)

    def any(self) -> bool:
        """Whether there is anything to count."""
        return bool(
            self.requests_per_minute or self.tokens_per_minute or self.concurrent_streams or self.budget_usd
            or self.max_duration_s
        )  # fmt: skip


def period_start(period: Period | None, now: float) -> str:
    """The first day (UTC) that counts into a budget of *period*; empty when all do."""
    if period == "day":
        return time.strftime("%Y-%m-%d", time.gmtime(now))
    return time.strftime("%Y-%m-01", time.gmtime(now)) if period == "month" else ""


def period_left_s(period: Period | None, now: float) -> float | None:
    """Seconds until the budget is whole again; None when it never is."""
    if period == "day":
        return 86400.0 - now % 86400.0
    if period != "month":
        return None
    today = time.gmtime(now)
    days = 1
    while time.gmtime(now + days * 86400.0).tm_mon == today.tm_mon:
        days += 1
    return days * 86400.0 - now % 86400.0
