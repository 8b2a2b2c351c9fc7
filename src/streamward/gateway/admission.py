"""Limits in front of calls: what a call would use is reserved before it is made, and settled when it is over.

    CallExchange.launch -> Admission.admit -> (Grant on the call) run ... close -> Grant.settle, exactly once

Keys without limits never come here. Deciding takes no wait in one process; it waits (without holding up anybody else)
for Redis where workers count together, and once per key and period for what the key has spent so far.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Protocol

from streamward.call import Call
from streamward.errors import ErrorInfo, StreamwardError
from streamward.gateway.auth import Caller
from streamward.gateway.estimates import estimated_tokens
from streamward.gateway.key_limits import KeyLimits, period_left_s, period_start
from streamward.gateway.limits import Ask, Held, LocalLimiter, Verdict, share
from streamward.gateway.prices import Prices, cost_usd
from streamward.gateway.records import Record
from streamward.gateway.usage import Usage
from streamward.upstream.attempts import Target

BYTES_PER_TOKEN = 4
DEFAULT_OUTPUT_TOKENS = 1024
"""Reserved for answers whose length the request does not bound: most are shorter, and settling corrects it."""

MAX_COUNTED_BYTES = 256 << 10
"""Bodies up to this are estimated by their length; larger ones hold images or files and are looked into."""

SPENT_REFRESH_S = 5.0
"""How old a key's spending may be where other workers spend, too."""

Spawn = Callable[[Coroutine[Any, Any, None]], None]


class Limited(Protocol):
    """A call, as admission sees it."""

    caller: Caller
    record: Record
    asked: dict[str, Any]
    call: Call | None
    body_bytes: int
    over: bool
    grant: Grant | None
    upstream_fields: bytes

    def parsed(self) -> Call: ...

    def run_unless_gone(self, targets: list[Target], /) -> None: ...

    def refuse(self, error: ErrorInfo, /) -> None: ...

    def expire(self) -> None: ...


class SharedLimiter(Protocol):
    """Counters that several workers share."""

    async def take(self, ask: Ask, period: str) -> tuple[Verdict, Held] | None:
        """None: they cannot be reached. Raises StorageUnavailable when spending is not known."""

    def settle(self, held: Held, tokens: int, cost_usd: float) -> None: ...


class Grant:
    """What one call has taken. Settled once; one that is forgotten gives its slot back when it is freed."""

    __slots__ = ("fields", "held", "limiter", "timer")

    def __init__(self, limiter: LocalLimiter | SharedLimiter, held: Held, fields: bytes) -> None:
        self.limiter = limiter
        self.held: Held | None = held
        self.fields = fields
        self.timer: asyncio.TimerHandle | None = None

    def settle(self, tokens: int = 0, cost_usd: float = 0.0) -> None:
        """Give back what was reserved and count what was used."""
        held, self.held = self.held, None
        if self.timer is not None:
            self.timer.cancel()
            self.timer = None
        if held is not None:
            self.limiter.settle(held, tokens, cost_usd)

    def __del__(self) -> None:
        self.settle()


class Admission:
    """Decides which calls of limited keys are made, and holds what they take."""

    def __init__(
        self, usage: Usage, prices: Prices, spawn: Spawn, *, workers: int = 1, shared: SharedLimiter | None = None,
        clock: Callable[[], float] = time.monotonic, wall: Callable[[], float] = time.time,
    ) -> None:  # fmt: skip
        self.usage = usage
        self.prices = prices
        self.spawn = spawn
        self.workers = workers
        self.shared = shared
        self.clock = clock
        self.wall = wall
        self.local = LocalLimiter()
        self.shares: dict[KeyLimits, KeyLimits] = {}
        self.blocked: dict[str, float] = {}
        """Keys that are over their requests, and until when: they are told so before their body is read."""
        self.refusals = 0

    # -- before the body

    def refused_early(self, caller: Caller) -> ErrorInfo | None:
        until = self.blocked.get(caller.name)
        if until is None:
            return None
        wait = until - self.clock()
        if wait <= 0:
            del self.blocked[caller.name]
            return None
        self.refusals += 1
        limits = caller.limits or KeyLimits()
        return too_many(f"{limits.requests_per_minute} requests per minute", wait)

    # -- before the call

    def admit(self, call: Limited, targets: list[Target]) -> None:
        """Let *call* run, or refuse it; now, or as soon as it can be decided."""
        ask = self.ask(call, targets)
        if isinstance(ask, ErrorInfo):
            call.refuse(ask)
        elif self.shared is None and self.ready(ask):
            self.go_on(call, targets, self.decide(call, ask))
        else:
            self.spawn(self.admit_later(call, targets))

    async def admit_later(self, call: Limited, targets: list[Target]) -> None:
        self.go_on(call, targets, await self.admitted(call, targets))

    def go_on(self, call: Limited, targets: list[Target], error: ErrorInfo | None) -> None:
        if error is not None:
            call.refuse(error)
        else:
            call.run_unless_gone(targets)

    async def admitted(self, call: Limited, targets: Sequence[Target]) -> ErrorInfo | None:
        """Why *call* may not be made; None when it may, and has its grant. Never raises."""
        if call.caller.limits is None:
            return None
        try:
            ask = self.ask(call, targets)
            if isinstance(ask, ErrorInfo):
                return ask
            if self.shared is not None:
                whole = call.caller.limits
                period = period_start(whole.budget_period, self.wall())
                taken = await self.shared.take(Ask(ask.id, ask.tenant, whole, ask.tokens, ask.cost_usd), period)
                if taken is not None:
                    return self.decided(call, self.shared, whole, *taken)
            while not self.ready(ask):
                await self.read_spent(ask)
            return self.decide(call, ask)
        except StreamwardError as exc:
            return exc.info

    def ask(self, call: Limited, targets: Sequence[Target]) -> Ask | ErrorInfo:
        """What *call* would use at most, by whichever of *targets* is the dearest."""
        whole = call.caller.limits
        assert whole is not None
        limits = self.shares.get(whole)
        if limits is None:
            limits = self.shares[whole] = share(whole, self.workers)
        ask = Ask(call.record.id, call.caller.name, limits)
        if not (limits.tokens_per_minute or limits.budget_usd):
            return ask
        given, answer = input_tokens(call), output_tokens(call)
        ask.tokens = given + answer
        if limits.budget_usd:
            for target in targets:
                price = self.prices.of(target.name)
                if price is None:
                    return no_price(target.name)
                ask.cost_usd = max(ask.cost_usd, cost_usd(price, given, answer))
        return ask

    def ready(self, ask: Ask) -> bool:
        """Whether everything is known that a decision here needs."""
        if not ask.limits.budget_usd:
            return True
        if not self.local.knows_spent(ask, self.wall()):
            return False
        counters = self.local.of(ask.tenant)
        if self.workers > 1 and self.clock() - counters.read_at > SPENT_REFRESH_S:
            counters.read_at = self.clock()  # one reads, the others go on with what is known
            self.tell_spent(ask, None)
        return True

    async def read_spent(self, ask: Ask) -> None:
        """
        Raises:
            StorageUnavailable: a budget of which nobody can say whether it is spent.
        """
        done: asyncio.Future[StreamwardError | None] = asyncio.get_running_loop().create_future()
        self.tell_spent(ask, done)
        failure = await done
        if failure is not None:
            raise failure

    def tell_spent(self, ask: Ask, done: asyncio.Future[StreamwardError | None] | None) -> None:
        period = period_start(ask.limits.budget_period, self.wall())

        def told(spent: float | StreamwardError) -> None:
            failure = spent if isinstance(spent, StreamwardError) else None
            if not isinstance(spent, StreamwardError):
                self.local.set_spent(ask.tenant, period, spent, self.clock())
            if done is not None and not done.done():
                done.set_result(failure)

        self.usage.tell_spent(ask.tenant, period, told)

    def decide(self, call: Limited, ask: Ask) -> ErrorInfo | None:
        return self.decided(call, self.local, ask.limits, *self.local.take(ask, self.clock()))

    def decided(
        self, call: Limited, limiter: LocalLimiter | SharedLimiter, limits: KeyLimits, verdict: Verdict, held: Held
    ) -> ErrorInfo | None:
        fields = verdict_fields(limits, verdict)
        if not verdict.refused:
            grant = Grant(limiter, held, fields)
            if call.over:  # it left while we waited
                grant.settle()
                return None
            if limits.max_duration_s:
                grant.timer = asyncio.get_running_loop().call_later(limits.max_duration_s, call.expire)
            call.grant = grant
            call.upstream_fields = fields
            return None
        self.refusals += 1
        if verdict.refused == "requests":
            if len(self.blocked) >= MAX_BLOCKED:
                self.blocked.clear()
            self.blocked[call.caller.name] = self.clock() + verdict.retry_after_s
        error = self.refusal(limits, verdict)
        if verdict.refused == "budget" and not verdict.unsettled:
            fields += b"x-should-retry: false\r\n"  # OpenAI's clients would try again, in vain
        elif verdict.retry_after_s:
            fields += b"retry-after-ms: %d\r\n" % math.ceil(verdict.retry_after_s * 1000)
        call.upstream_fields = fields
        return error

    def refusal(self, limits: KeyLimits, verdict: Verdict) -> ErrorInfo:
        if verdict.refused == "budget":
            return over_budget(limits, verdict, self.wall())
        what = {
            "requests": f"{limits.requests_per_minute} requests per minute",
            "tokens": f"{limits.tokens_per_minute} tokens per minute",
            "streams": f"{limits.concurrent_streams} calls at a time",
        }[verdict.refused]
        return too_many(what, verdict.retry_after_s)


MAX_BLOCKED = 10_000


def input_tokens(call: Limited) -> int:
    if call.call is None and call.body_bytes <= MAX_COUNTED_BYTES:
        return call.body_bytes // BYTES_PER_TOKEN
    try:
        return estimated_tokens(call.parsed())
    except StreamwardError:  # only its own dialect can read it: by length, then
        return call.body_bytes // BYTES_PER_TOKEN


def output_tokens(call: Limited) -> int:
    asked = call.asked
    limit = call.call.max_output_tokens if call.call is not None else None
    limit = limit or asked.get("max_completion_tokens") or asked.get("max_tokens")
    answers = asked.get("n")
    each = limit if isinstance(limit, int) else DEFAULT_OUTPUT_TOKENS
    return each * (answers if isinstance(answers, int) and answers > 1 else 1)


def too_many(what: str, wait_s: float) -> ErrorInfo:
    wait = max(math.ceil(wait_s), 1)
    return ErrorInfo(
        "rate_limit_exceeded", f"this key may use {what}; retry in {wait} s", 429, retry_after_s=wait, safe_to_retry=True
    )


def over_budget(limits: KeyLimits, verdict: Verdict, now: float) -> ErrorInfo:
    budget = f"the budget of this key, {limits.budget_usd:g} US dollars" + {
        "day": " a day", "month": " a month"
    }.get(limits.budget_period or "", "")  # fmt: skip
    if verdict.unsettled:
        return ErrorInfo(
            "insufficient_quota", f"{budget}, is reserved by calls that are running; retry when they are over, or ask for "
            "fewer tokens", 429, retry_after_s=1, safe_to_retry=True,
        )  # fmt: skip
    return ErrorInfo(
        "insufficient_quota", f"{budget}, does not cover this call: lower its maximum of output tokens, or ask the operator "
        "for a larger budget", 429, retry_after_s=period_left_s(limits.budget_period, now),
    )  # fmt: skip


def no_price(target: str) -> ErrorInfo:
    return ErrorInfo(
        "insufficient_quota", f"the price of {target} is not known, so a key with a budget cannot use it: the operator can "
        f'state it in the configuration, as [prices."{target}"]', 429,
    )  # fmt: skip


def verdict_fields(limits: KeyLimits, verdict: Verdict) -> bytes:
    """Header lines in OpenAI's names: the limit, what is left of it, when it is whole again."""
    fields = b""
    if limits.requests_per_minute:
        fields += rate_fields(b"requests", limits.requests_per_minute, verdict.requests_left, verdict.requests_reset_s)
    if limits.tokens_per_minute:
        fields += rate_fields(b"tokens", limits.tokens_per_minute, verdict.tokens_left, verdict.tokens_reset_s)
    return fields


def rate_fields(what: bytes, limit: int, left: int, reset_s: float) -> bytes:
    return b"x-ratelimit-limit-%b: %d\r\nx-ratelimit-remaining-%b: %d\r\nx-ratelimit-reset-%b: %b\r\n" % (
        what, limit, what, left, what, duration_text(reset_s),
    )  # fmt: skip


def duration_text(seconds: float) -> bytes:
    """As OpenAI writes it: 17ms, 1.5s, 6m0s."""
    if seconds < 1:
        return b"%dms" % math.ceil(seconds * 1000)
    minutes, rest = divmod(seconds, 60)
    text = f"{rest:.3f}".rstrip("0").rstrip(".")
    return (f"{minutes:.0f}m{text}s" if minutes else f"{text}s").encode()
