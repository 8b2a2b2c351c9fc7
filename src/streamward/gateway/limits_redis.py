"""Counting what keys use, in Redis or Valkey: one truth for all workers and machines.

The same arithmetic as ``limits``, as one Lua script over three keys per client key. What a call holds has a lease that
its worker renews: a worker that dies gives its slots back when they run out. Spending is read from the database now and
then, and counted here in between. Needs ``streamward[redis]``; used when ``streams.store`` is a Redis URL.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import time
from collections.abc import Callable
from typing import Any, Self

from redis.exceptions import RedisError

from streamward.durable.redis_wire import Asker, Command, Wire
from streamward.errors import StreamwardError
from streamward.gateway.limits import Ask, Held, Verdict, Which, within
from streamward.gateway.usage import Usage

LEASE_S = 30.0
RENEW_S = LEASE_S / 3
ANSWER_S = 1.0
"""A decision later than this is made by this worker alone: callers do not wait for a counter."""

AWAY_S = 5.0  # and so are the following ones, for this long
RESEED_S = 300.0
"""How often spending is read from the database again: rounding, and what died between here and there, is put right."""

KEEP_MS = 2 * 86_400_000  # idle counters
MICRO = 1_000_000  # of a dollar: integers, which Redis adds exactly

log = logging.getLogger("streamward.limits")


class RedisLimiter:
    """See :class:`streamward.gateway.admission.SharedLimiter`. Use with ``async with``."""

    def __init__(self, url: str, usage: Usage, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url.replace("valkey", "redis", 1)
        self.usage = usage
        self.clock = clock
        self.held: dict[str, Held] = {}
        """Of this worker, by the call's id: what has to be renewed."""
        self.away_until = 0.0
        self.failures = 0

    async def __aenter__(self) -> Self:
        self.asker = Asker(Wire(self.url, {"limits": SCRIPT}))
        self.renewing = asyncio.create_task(self.renew(), name="streamward-limits-renew")
        return self

    async def __aexit__(self, *exc: object) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                await self.asker.ask(("PING",))  # after it, everything settled before has arrived
        except (RedisError, OSError, TimeoutError):
            pass  # leases run out by themselves
        self.renewing.cancel()
        await asyncio.wait({self.renewing})
        await self.asker.close()

    # -- decisions

    async def take(self, ask: Ask, period: str) -> tuple[Verdict, Held] | None:
        held = Held(ask, period)
        reply = await self.ask(self.taking(ask, period, ""))
        if reply == SEED:
            spent = await self.spent(ask.tenant, period)
            reply = await self.ask(self.taking(ask, period, str(micro(spent))))
        if reply is None or reply == SEED:
            return None
        refused, wait, requests_left, requests_reset, tokens_left, tokens_reset, unsettled = map(int, reply)
        if not refused:
            self.held[ask.id] = held
        verdict = Verdict(
            WHICH[refused], wait / 1000, requests_left, requests_reset / 1000, tokens_left, tokens_reset / 1000,
            bool(unsettled),
        )  # fmt: skip
        return verdict, held

    def taking(self, ask: Ask, period: str, seed: str) -> Command:
        limits = ask.limits
        return command(
            ask.tenant, "take", ask.id, limits.requests_per_minute or 0, limits.tokens_per_minute or 0,
            within(ask.tokens, limits.tokens_per_minute), limits.concurrent_streams or 0, micro(limits.budget_usd or 0.0),
            micro(ask.cost_usd), period, round(LEASE_S * 1000), seed, round(RESEED_S * 1000),
        )  # fmt: skip

    def settle(self, held: Held, tokens: int, cost_usd: float) -> None:
        ask = held.ask
        self.held.pop(ask.id, None)
        per_minute = ask.limits.tokens_per_minute
        more_ms = (tokens - within(ask.tokens, per_minute)) * 60_000 / per_minute if per_minute else 0.0
        self.asker.submit(
            [command(ask.tenant, "settle", ask.id, f"{more_ms:.3f}", held.period, micro(cost_usd))], self.settled
        )

    def settled(self, replies: list[Any] | BaseException) -> None:
        if isinstance(replies, BaseException) or isinstance(replies[0], RedisError):
            self.failures += 1
            reason = replies if isinstance(replies, BaseException) else replies[0]
            log.error("limits_settle_failed", extra={"reason": f"{type(reason).__name__}: {reason!s:.200}"})

    async def spent(self, tenant: str, period: str) -> float:
        """Raises StorageUnavailable."""
        done: asyncio.Future[float | StreamwardError] = asyncio.get_running_loop().create_future()
        self.usage.tell_spent(tenant, period, lambda spent: None if done.done() else done.set_result(spent))
        spent = await done
        if isinstance(spent, StreamwardError):
            raise spent
        return spent

    async def ask(self, asked: Command) -> Any:
        """The reply; None when there is none in time, or the server is away."""
        if self.clock() < self.away_until:
            return None
        try:
            async with asyncio.timeout(ANSWER_S):
                return (await self.asker.ask(asked))[0]
        except (RedisError, OSError, TimeoutError) as exc:
            self.failures += 1
            self.away_until = self.clock() + AWAY_S
            log.error("limits_not_shared", extra={"reason": f"{type(exc).__name__}: {exc!s:.200}", "for_s": AWAY_S})
            return None

    async def renew(self) -> None:
        while True:
            await asyncio.sleep(RENEW_S)
            by_tenant: dict[str, list[str]] = {}
            for identity, held in self.held.items():
                by_tenant.setdefault(held.ask.tenant, []).append(identity)
            for tenant, ids in by_tenant.items():
                for at in range(0, len(ids), RENEW_AT_ONCE):
                    self.asker.submit(
                        [command(tenant, "renew", round(LEASE_S * 1000), *ids[at : at + RENEW_AT_ONCE])], lambda _: None
                    )


RENEW_AT_ONCE = 500


def micro(usd: float) -> int:
    return round(usd * MICRO)


def command(tenant: str, *arguments: Any) -> Command:
    keys = [f"streamward:{{limits:{tenant}}}:{part}" for part in ("state", "open", "held")]
    return ("EVALSHA", SHA, 3, *keys, *arguments)


WHICH: tuple[Which, ...] = ("", "requests", "tokens", "streams", "budget")
SEED = b"seed"

SCRIPT = """
-- KEYS state hash, open zset (call -> end of its lease), held hash (call -> reserved micro-dollars). ARGV operation, ...
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000

if ARGV[1] == 'renew' then  -- lease, call...
  for i = 3, #ARGV do redis.call('ZADD', KEYS[2], 'XX', now + ARGV[2], ARGV[i]) end
  return 0
end

local function give_back(call)
  if redis.call('ZREM', KEYS[2], call) == 0 then return false end
  local reserved = redis.call('HGET', KEYS[3], call)
  if reserved then
    redis.call('HDEL', KEYS[3], call)
    redis.call('HINCRBY', KEYS[1], 'reserved', -reserved)
  end
  return true
end

if ARGV[1] == 'settle' then  -- call, more token time, period, spent
  if not give_back(ARGV[2]) then return 0 end  -- settled before, or its lease ran out
  if ARGV[3] ~= '0.000' then redis.call('HINCRBYFLOAT', KEYS[1], 'tokens', ARGV[3]) end
  if redis.call('HEXISTS', KEYS[1], 'spent:' .. ARGV[4]) == 1 then
    redis.call('HINCRBY', KEYS[1], 'spent:' .. ARGV[4], ARGV[5])
  end
  return 1
end

-- take: call, requests a minute, tokens a minute, tokens, streams, budget, cost, period, lease, seed or '', reseed after
local call, per_minute, tokens_per_minute, tokens = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local streams, budget, cost, period = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), ARGV[9]
for _, lost in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now)) do give_back(lost) end
if budget > 0 then
  if ARGV[11] ~= '' then
    redis.call('HSET', KEYS[1], 'spent:' .. period, ARGV[11], 'seeded', now)
  else
    local seeded = redis.call('HMGET', KEYS[1], 'spent:' .. period, 'seeded')
    if not seeded[1] or now - seeded[2] > tonumber(ARGV[12]) then return 'seed' end
  end
end
local state = redis.call('HMGET', KEYS[1], 'requests', 'tokens', 'reserved', 'spent:' .. period)
local requests_at, tokens_at = math.max(tonumber(state[1] or 0), now), math.max(tonumber(state[2] or 0), now)
local reserved, spent = tonumber(state[3] or 0), tonumber(state[4] or 0)
local per_request = per_minute > 0 and 60000 / per_minute or 0
local per_token = tokens_per_minute > 0 and 60000 / tokens_per_minute or 0
local wait_requests = requests_at + per_request - 60000 - now
local wait_tokens = tokens_at + tokens * per_token - 60000 - now
local refused, wait = 0, 0
if streams > 0 and redis.call('ZCARD', KEYS[2]) >= streams then refused, wait = 3, 1000
elseif per_request > 0 and wait_requests > 0.001 then refused, wait = 1, wait_requests
elseif per_token > 0 and wait_tokens > 0.001 then refused, wait = 2, wait_tokens
elseif budget > 0 and spent + reserved + cost > budget then refused, wait = 4, 1000 end
if refused == 0 then
  if per_request > 0 then requests_at = requests_at + per_request end
  tokens_at = tokens_at + tokens * per_token
  redis.call('HSET', KEYS[1], 'requests', string.format('%.3f', requests_at), 'tokens', string.format('%.3f', tokens_at))
  redis.call('ZADD', KEYS[2], now + ARGV[10], call)
  if cost > 0 then
    redis.call('HSET', KEYS[3], call, ARGV[8])
    redis.call('HINCRBY', KEYS[1], 'reserved', ARGV[8])
  end
end
for _, key in ipairs(KEYS) do redis.call('PEXPIRE', key, KEEP) end
local function left(at, per) return per > 0 and math.max(math.floor((60000 - (at - now)) / per + 0.001), 0) or 0 end
return {refused, math.ceil(wait), left(requests_at, per_request), per_request > 0 and math.ceil(requests_at - now) or 0,
  left(tokens_at, per_token), per_token > 0 and math.ceil(tokens_at - now) or 0,
  (refused == 4 and spent + cost <= budget) and 1 or 0}
""".replace("KEEP", str(KEEP_MS))
SHA = hashlib.sha1(SCRIPT.encode(), usedforsecurity=False).hexdigest()
