-- Shared by every script: the keys of one queue, the clock, and the way to tell watchers.
-- KEYS[1] is the queue's base key, "oncue:{<queue>}"; its hash tag keeps all keys of a queue in one slot.
-- runtime/ledger/keys.py builds the same names for reads; tests/ledger/test_keys.py holds the two together.
local base = KEYS[1]
local stream, due, index, dead = base .. ':stream', base .. ':due', base .. ':index', base .. ':dead'
local wake, news, orders = base .. ':wake', base .. ':news', base .. ':orders'
local parked, outbox, group = base .. ':parked', base .. ':outbox', 'workers'

local function record_key(id) return base .. ':inv:' .. id end
local function output_key(id) return base .. ':out:' .. id end
local function result_key(id) return base .. ':res:' .. id end
local function dedupe_key(digest) return base .. ':key:' .. digest end
local function cache_key(digest) return base .. ':cache:' .. digest end
local function event_key(id) return base .. ':event:' .. id end
local function index_key(name) return index .. ':' .. name end

-- Redis TIME is the only clock: milliseconds since 1970.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function drop_entry(entry)
  if entry and entry ~= '' then
    redis.call('XACK', stream, group, entry)
    redis.call('XDEL', stream, entry)
  end
end

local function tell(id, watched)
  if watched then redis.call('PUBLISH', news, id) end
end

-- Put an invocation into the sorted set of what waits; wake the promoter when it is now the earliest.
local function wait_until(id, due_ms)
  local head = redis.call('ZRANGE', due, 0, 0, 'WITHSCORES')
  redis.call('ZADD', due, due_ms, id)
  if not head[2] or tonumber(head[2]) > due_ms then
    redis.call('LPUSH', wake, '1')
    redis.call('LTRIM', wake, 0, 0)
  end
end

local function append_output(id, frames, ttl_ms)
  local key = output_key(id)
  for _, frame in ipairs(frames) do
    redis.call('XADD', key, 'MAXLEN', '~', 1000, '*', 'frame', frame)
  end
  if #frames > 0 then redis.call('PEXPIRE', key, ttl_ms) end
end

-- A failed invocation stays until retention; the set lists the failed ones by time.
local function bury(id, error_json, retention_ms)
  local key = record_key(id)
  redis.call('HSET', key, 'status', 'failed', 'ended_ms', now, 'error', error_json)
  redis.call('PEXPIRE', key, retention_ms)
  redis.call('ZADD', dead, now, id)
  redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - retention_ms)
end
