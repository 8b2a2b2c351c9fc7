"""The Lua of the Redis store, and its keys.

    {st_..}:s   hash: the state of a stream            {st_..}:f   Redis Stream: its frames, entry 0-(offset + 1)
                the same hash tag, so the same Cluster slot: a write touches both in one atomic script

After the frames of an ended stream stands one more entry with field ``e``: readers that follow learn of the ending, and
that nothing is missing before it, from the log itself.
"""

from __future__ import annotations

from typing import Final

PREFIX: Final = "streamward:"


def state_key(stream_id: str) -> str:
    return f"{PREFIX}{{{stream_id}}}:s"


def frames_key(stream_id: str) -> str:
    return f"{PREFIX}{{{stream_id}}}:f"


def stream_of(key: bytes) -> str:
    """The stream id in a key."""
    return key[key.index(b"{") + 1 : key.rindex(b"}")].decode()


WORKERS: Final = PREFIX + "workers"
"""Set of workers that may have live streams; whether they are alive says their lease."""
ENDED: Final = PREFIX + "ended"
"""Sorted set of ended streams by the time they are to be forgotten. Written after the stream's own end: a worker that
dies in between leaves the stream in its ``live_key``, where ``orphans`` finds it and writes it here."""


def live_key(worker: str) -> str:
    """Set of the live streams of a worker."""
    return f"{PREFIX}live:{worker}"


def idempotency_key(tenant: str, key: str) -> str:
    return f"{PREFIX}key:{len(tenant)}:{tenant}:{key}"  # the length keeps ("a:b", "c") and ("a", "b:c") apart


def chat_key(tenant: str, chat: str) -> str:
    return f"{PREFIX}chat:{len(tenant)}:{tenant}:{chat}"


def lease_key(worker: str) -> str:
    return f"{PREFIX}worker:{worker}"


def control_key(worker: str) -> str:
    return f"{PREFIX}control:{{{worker}}}"


WRITE = """
-- KEYS state, frames. ARGV epoch, at, ending or '', result, now, expiry past retention in s, bound, trim to, frame...
local s = redis.call('HMGET', KEYS[1], 'epoch', 'next', 'ending', 'stop', 'size', 'retention')
if not s[1] then return {'missing'} end
if s[1] ~= ARGV[1] then return {'fenced', s[1]} end
local at, n, stored = tonumber(ARGV[2]), #ARGV - 8, tonumber(s[2])
if s[3] then
  if s[3] == ARGV[3] and at + n == stored then return {'ok', s[4] or '', s[6]} end
  return {'ended', s[3], s[2]}
end
if at ~= stored then
  if n > 0 and at + n <= stored and ARGV[3] == '' then return {'ok', s[4] or '', s[6]} end
  return {'offset', s[2]}
end
local size = tonumber(s[5])
for i = 1, n do
  local frame = ARGV[8 + i]
  redis.call('XADD', KEYS[2], string.format('0-%.0f', at + i), 'd', frame)
  size = size + #frame
end
local bound = tonumber(ARGV[7])
local earliest
if size > bound then
  local target = tonumber(ARGV[8])
  while size > target do
    local old = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', 64)
    if #old == 0 then break end
    for _, entry in ipairs(old) do
      if size <= target then break end
      size = size - #entry[2][2]
      redis.call('XDEL', KEYS[2], entry[1])
      earliest = tonumber(string.sub(entry[1], 3))
    end
  end
  if earliest then redis.call('HSET', KEYS[1], 'earliest', earliest) end
end
redis.call('HSET', KEYS[1], 'next', string.format('%.0f', at + n), 'size', string.format('%.0f', size))
if ARGV[3] ~= '' then
  redis.call('XADD', KEYS[2], string.format('0-%.0f', at + n + 1), 'e', ARGV[3])
  redis.call('HSET', KEYS[1], 'ending', ARGV[3], 'result', ARGV[4], 'ended', ARGV[5])
  local keep = string.format('%.0f', (tonumber(s[6]) + tonumber(ARGV[6])) * 1000)
  redis.call('PEXPIRE', KEYS[1], keep)
  redis.call('PEXPIRE', KEYS[2], keep)
end
return {'ok', s[4] or '', s[6]}
"""

CREATE = """
-- KEYS state. ARGV token, field, value, ...: the token tells a repeated call from a taken id
if redis.call('EXISTS', KEYS[1]) == 1 then
  return redis.call('HGET', KEYS[1], 'token') == ARGV[1] and 1 or 0
end
redis.call('HSET', KEYS[1], 'token', unpack(ARGV))
return 1
"""

CLAIM = """
-- KEYS state. ARGV epoch, worker, token
local s = redis.call('HMGET', KEYS[1], 'epoch', 'ending', 'token')
if s[3] == ARGV[3] and not s[2] then return 1 end
if s[1] ~= ARGV[1] or s[2] then return 0 end
redis.call('HSET', KEYS[1], 'epoch', s[1] + 1, 'owner', ARGV[2], 'token', ARGV[3])
return 1
"""

STOP = """
-- KEYS state. The owner to be told, or nothing when there is nothing to stop
local s = redis.call('HMGET', KEYS[1], 'owner', 'ending')
if not s[1] or s[2] then return false end
redis.call('HSET', KEYS[1], 'stop', 1)
return s[1]
"""

EVICT = """
-- KEYS state, frames: drop the content of an ended stream, keep what says that it existed. The bytes dropped
local s = redis.call('HMGET', KEYS[1], 'ending', 'size', 'next')
if not s[1] then return 0 end
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[1], 'size', 0, 'earliest', s[3])
return tonumber(s[2])
"""

REPLACE = """
-- KEYS any. ARGV old or '', new, ms: set to new if the value is still old. The value that stands now
local now = redis.call('GET', KEYS[1])
if (now or '') == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
  return ARGV[2]
end
return now
"""
