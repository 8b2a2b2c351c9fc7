"""Counting what keys use, in one process: requests and tokens per minute, streams at once, money.

Rates are GCRA: one number per rate, the time at which the key would be back at rest, instead of a list of requests. A
minute's worth may come at once; then it comes back evenly. Everything is asked for before a call (``take``) and put
right after it (``settle``), so that running calls count, and a call that is cut counts what it really used.

    limits of a key -> Ask -> Counters.take -> Verdict (what is left, or which limit says no) ... settle(real figures)
"""

from __future__ import annotations

from typing import Literal

from msgspec import Struct
from msgspec.structs import replace

from streamward.gateway.key_limits import KeyLimits, period_start

MINUTE_S = 60.0
Which = Literal["", "requests", "tokens", "streams", "budget"]

CENT_OF_A_CENT = 1e-9
"""Sums of floating-point dollars differ by less than this from what they stand for."""


class Ask(Struct):
    """What one call would use at most."""

    id: str
    tenant: str
    limits: KeyLimits
    tokens: int = 0
    cost_usd: float = 0.0


class Verdict(Struct, frozen=True):
    """Whether a call may be made. ``refused`` names the limit that says no; the rest is what is left afterwards."""

    refused: Which = ""
    retry_after_s: float = 0.0
    requests_left: int = 0
    requests_reset_s: float = 0.0
    """Until the whole rate is there again."""
    tokens_left: int = 0
    tokens_reset_s: float = 0.0
    unsettled: bool = False
    """``budget``: there would be money if the calls that run end up cheap."""


class Held(Struct):
    """What a call has taken and must give back."""

    ask: Ask
    period: str = ""


class Counters(Struct):
    """What one key is using. Times are of one clock, in seconds."""

    requests_at: float = 0.0
    tokens_at: float = 0.0
    open: int = 0
    reserved_usd: float = 0.0
    spent_usd: float = 0.0
    period: str = ""
    known: bool = False
    """Whether ``spent_usd`` was read from the database, for ``period``."""
    read_at: float = 0.0

    def take(self, ask: Ask, now: float) -> Verdict:
        """Take what *ask* says if every limit allows it, else nothing."""
        limits = ask.limits
        per_request = MINUTE_S / limits.requests_per_minute if limits.requests_per_minute else 0.0
        per_token = MINUTE_S / limits.tokens_per_minute if limits.tokens_per_minute else 0.0
        requests_at, tokens_at = max(self.requests_at, now), max(self.tokens_at, now)
        tokens = within(ask.tokens, limits.tokens_per_minute)
        wait_requests = requests_at + per_request - MINUTE_S - now
        wait_tokens = tokens_at + tokens * per_token - MINUTE_S - now
        refused: Which = ""
        wait = 0.0
        if limits.concurrent_streams and self.open >= limits.concurrent_streams:
            refused, wait = "streams", 1.0
        elif per_request and wait_requests > EPSILON_S:
            refused, wait = "requests", wait_requests
        elif per_token and wait_tokens > EPSILON_S:
            refused, wait = "tokens", wait_tokens
        elif limits.budget_usd and self.spent_usd + self.reserved_usd + ask.cost_usd > limits.budget_usd + CENT_OF_A_CENT:
            refused, wait = "budget", 1.0
        if not refused:
            requests_at += per_request
            tokens_at += tokens * per_token
            self.requests_at, self.tokens_at = requests_at, tokens_at
            self.open += 1
            self.reserved_usd += ask.cost_usd
        return Verdict(
            refused, wait,
            requests_left=left(requests_at, per_request, now), requests_reset_s=requests_at - now if per_request else 0.0,
            tokens_left=left(tokens_at, per_token, now), tokens_reset_s=tokens_at - now if per_token else 0.0,
            unsettled=refused == "budget" and self.spent_usd + ask.cost_usd <= (limits.budget_usd or 0.0),
        )  # fmt: skip

    def settle(self, held: Held, tokens: int, cost_usd: float) -> None:
        """Give back what *held* took, and count what it really used."""
        ask = held.ask
        self.open -= 1
        self.reserved_usd = max(self.reserved_usd - ask.cost_usd, 0.0) if self.open else 0.0
        if held.period == self.period:
            self.spent_usd += cost_usd
        per_minute = ask.limits.tokens_per_minute
        if per_minute:
            self.tokens_at += (tokens - within(ask.tokens, per_minute)) * MINUTE_S / per_minute


EPSILON_S = 1e-6


def share(limits: KeyLimits, workers: int) -> KeyLimits:
    """The part of *limits* that each of *workers* processes may allow when they cannot count together.

    Budgets are not divided: spending is read from the database that all of them write to.
    """
    if workers == 1:
        return limits

    def part(whole: int | None) -> int | None:
        return -(-whole // workers) if whole else whole

    return replace(
        limits, requests_per_minute=part(limits.requests_per_minute), tokens_per_minute=part(limits.tokens_per_minute),
        concurrent_streams=part(limits.concurrent_streams),
    )  # fmt: skip


def within(tokens: int, per_minute: int | None) -> int:
    """What is reserved of *tokens*: never more than a minute's worth, for that could never be had."""
    return min(tokens, per_minute) if per_minute else tokens


def left(at: float, per: float, now: float) -> int:
    """How many more would be allowed at once."""
    return max(int((MINUTE_S - (at - now)) / per + EPSILON_S), 0) if per else 0


class LocalLimiter:
    """The counters of all keys of this process."""

    def __init__(self) -> None:
        self.counters: dict[str, Counters] = {}

    def of(self, tenant: str) -> Counters:
        counters = self.counters.get(tenant)
        if counters is None:
            if len(self.counters) >= MAX_TENANTS:
                self.forget_idle()
            counters = self.counters[tenant] = Counters()
        return counters

    def forget_idle(self) -> None:
        """Drop keys that run nothing. Rates they used up within the last minute are lost: rare, and harmless."""
        self.counters = {name: counters for name, counters in self.counters.items() if counters.open}

    def take(self, ask: Ask, now: float) -> tuple[Verdict, Held]:
        counters = self.of(ask.tenant)
        return counters.take(ask, now), Held(ask, counters.period)

    def settle(self, held: Held, tokens: int, cost_usd: float) -> None:
        self.of(held.ask.tenant).settle(held, tokens, cost_usd)

    def knows_spent(self, ask: Ask, wall: float) -> bool:
        """Whether the key's spending in its present period has been read; a new period begins unread."""
        counters = self.of(ask.tenant)
        period = period_start(ask.limits.budget_period, wall)
        return counters.known and counters.period == period

    def set_spent(self, tenant: str, period: str, usd: float, now: float) -> None:
        counters = self.of(tenant)
        counters.spent_usd, counters.period, counters.known, counters.read_at = usd, period, True, now


MAX_TENANTS = 100_000
"""Keys counted at once, about 20 MB."""
